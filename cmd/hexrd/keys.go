package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

func newKeysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "The cluster's keyring: what seals, and what is sealed with it"}
	rotate := clientCommand("rotate value|storage|both", "Begin a rotation; it completes by itself",
		cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		func(ctx context.Context, o output, c *client.Client, args []string) error {
			keys, err := c.RotateKeys(ctx, args[0])
			if err != nil {
				return err
			}
			for _, k := range keys {
				if err := o.one(k, "%s key %s is pending: `hexrd keys status` shows how far it is", k.GetKind(), k.GetId()); err != nil {
					return err
				}
			}
			return nil
		})
	rotate.ValidArgs = []string{"value", "storage", "both"}
	rotate.Long = `Begin a rotation. The leader makes the key, every member gets it over mTLS and makes
it durable, and only then it seals. Value keys: every version's data key is then
put under it, at the cluster's rewrap_per_second. Storage keys: every node seals
its own rows anew; the raft log and snapshots follow as they are replaced.`
	cmd.AddCommand(clientCommand("status", "Show every key: who holds it, what is still sealed with it", cobra.NoArgs, keysStatus), rotate)
	return cmd
}

func keysStatus(ctx context.Context, o output, c *client.Client, _ []string) error {
	keys, err := c.KeysStatus(ctx)
	if err != nil {
		return err
	}
	t := o.table("KIND\tID\tSTATE\tCREATED\tACTIVATED\tRETIRED\tHELD BY\tSEALS")
	for _, k := range keys {
		if err := t.row(k, k.GetKind(), k.GetId(), k.GetState(), when(k.GetCreatedAt()), when(k.GetActivatedAt()),
			when(k.GetRetiredAt()), strings.Join(k.GetHeldBy(), ","), sealedWith(k)); err != nil {
			return err
		}
	}
	if err := t.end(); err != nil || o.json {
		return err
	}
	for _, line := range keyNotes(keys) {
		if _, err := fmt.Fprintln(o.w, line); err != nil {
			return err
		}
	}
	return nil
}

func sealedWith(k *hexrv1.Key) string {
	switch {
	case k.GetKind() == "value":
		return fmt.Sprintf("%d versions", k.GetVersions())
	case k.GetState() == "active":
		return "all that is new"
	case k.GetState() != "replaced":
		return "-"
	}
	rows, entries, snapshots := uint64(0), uint64(0), uint32(0)
	for _, n := range k.GetNodes() {
		rows, entries, snapshots = rows+n.GetRows(), entries+n.GetLogEntries(), snapshots+n.GetSnapshots()
	}
	return fmt.Sprintf("%d rows, %d log entries, %d snapshots", rows, entries, snapshots)
}

// keyNotes says what is still under way, and what it waits for.
func keyNotes(keys []*hexrv1.Key) []string {
	var notes []string
	done, all := uint64(0), uint64(0)
	for _, k := range keys {
		if k.GetKind() == "value" {
			all += k.GetVersions()
			if k.GetState() == "active" {
				done = k.GetVersions()
			}
		}
		if k.GetState() == "pending" {
			notes = append(notes, fmt.Sprintf("%s key %s waits for %s: bring them back, or `hexrd members remove` them",
				k.GetKind(), k.GetId(), strings.Join(k.GetWaitingFor(), ", ")))
		}
		for _, n := range k.GetNodes() {
			if !n.GetAnswered() {
				notes = append(notes, fmt.Sprintf("%s does not answer: what it has sealed with storage key %s is not known", n.GetNode(), k.GetId()))
				continue
			}
			if n.GetRows()+n.GetLogEntries()+uint64(n.GetSnapshots()) > 0 {
				notes = append(notes, fmt.Sprintf("%s has %d rows, %d log entries and %d snapshots sealed with storage key %s",
					n.GetNode(), n.GetRows(), n.GetLogEntries(), n.GetSnapshots(), k.GetId()))
			}
		}
	}
	if all > done {
		notes = append(notes, fmt.Sprintf("%d of %d versions are under the active value key (%d %%)", done, all, 100*done/all))
	}
	return notes
}
