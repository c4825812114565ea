package nemesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
)

const (
	changeLimit  = 40 * time.Second
	refusalLimit = 30 * time.Second
)

// Where a node dies that joins, and one whose keys are rotated.
var (
	joinPoints    = []string{"keyring.made", "start.raft", "snapshot.written", "restore.moved", "restore.restored", "log.stored", "start.checked"}
	keyringPoints = []string{"keyring.changed", "keyring.saved"}
)

func membershipFaults() []Fault {
	return []Fault{
		{"transfer", Membership, 4, transferred},
		{"replace-node", Membership, 2, replaced},
		{"rotate-keys", Membership, 2, rotated},
		{"old-disk", Membership, 1, oldDisk},
		{"empty-disk", Membership, 1, emptyDisk},
	}
}

// transferred moves leadership to a random member.
func transferred(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	n := some(t, r, 1)[0]
	op, err := t.Cluster.Operator(ctx)
	if err != nil {
		return n.ID, err
	}
	defer func() { _ = op.Close() }()
	_, err = op.TransferLeadership(ctx, n.ID)
	return "to " + n.ID, err
}

// armed restarts a node so that it dies when it writes its keyring.
func armed(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	t.hands.RLock()
	defer t.hands.RUnlock()
	n, point := some(t, r, 1)[0], keyringPoints[r.IntN(len(keyringPoints))]
	n.Kill(false)
	n.CrashAt(point)
	if err := n.Start(); err != nil {
		return n.ID, err
	}
	return n.ID + " at " + point, n.WaitHealthy(ctx)
}

// rotated begins a rotation of the keys that seal everything; every second time a
// node dies in the midst of it.
func rotated(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	kind := []string{"value", "storage", "both"}[r.IntN(3)]
	op, err := t.Cluster.Operator(ctx)
	if err != nil {
		return kind, err
	}
	defer func() { _ = op.Close() }()
	detail := kind
	if r.IntN(2) == 0 {
		who, err := armed(ctx, t, r)
		if detail += ", " + who; err != nil {
			return detail, err
		}
	}
	_, err = op.RotateKeys(ctx, kind)
	return detail, err
}

// replaced lets a new node join, and removes another.
func replaced(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*changeLimit)
	defer cancel()
	if err := t.Cluster.Settle(ctx); err != nil {
		return "", err
	}
	old := some(t, r, 1)[0]
	point := ""
	if r.IntN(2) == 0 {
		point = joinPoints[r.IntN(len(joinPoints))]
	}
	joined, err := t.Cluster.Join(ctx, point)
	if err != nil {
		return point, err
	}
	detail := joined.ID + " for " + old.ID
	if point != "" {
		detail += ", which dies at " + point
	}
	hold(ctx, r, down)
	return detail, t.Cluster.Remove(ctx, old.ID)
}

// oldDisk replaces a node's directory by an older copy of itself. The node must
// refuse it; what it advises is done.
func oldDisk(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*changeLimit)
	defer cancel()
	if err := t.Cluster.Settle(ctx); err != nil {
		return "", err
	}
	n := some(t, r, 1)[0]
	aside := filepath.Join(filepath.Dir(n.Data()), "old")
	defer func() { _ = os.RemoveAll(aside) }()
	if err := setAside(t, n, aside); err != nil {
		return n.ID, err
	}
	if err := n.WaitHealthy(ctx); err != nil {
		return n.ID, err
	}
	if err := t.Cluster.Tell(ctx, n); err != nil { // else nobody knows that the copy is old
		return n.ID, err
	}
	return n.ID, comeBack(ctx, t, n, aside, "members remove")
}

// setAside copies a node's directory while it does not run.
func setAside(t *Target, n *arena.Node, to string) error {
	t.hands.Lock()
	defer t.hands.Unlock()
	n.Kill(false)
	return errors.Join(os.CopyFS(to, os.DirFS(n.Data())), n.Start())
}

// emptyDisk empties a node's directory. A start must refuse.
func emptyDisk(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*changeLimit)
	defer cancel()
	if err := t.Cluster.Settle(ctx); err != nil {
		return "", err
	}
	n := some(t, r, 1)[0]
	return n.ID, comeBack(ctx, t, n, "", "hexrd join")
}

// comeBack starts a node with other content on its disk, sees it refuse with the
// advice, and follows that: out of the cluster, and a new node in its place. Once
// begun it is finished, also when the run ends.
func comeBack(ctx context.Context, t *Target, n *arena.Node, content, advice string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*changeLimit)
	defer cancel()
	if err := refuses(ctx, t, n, content, advice); err != nil {
		return err
	}
	return t.Cluster.Settle(ctx)
}

func refuses(ctx context.Context, t *Target, n *arena.Node, content, advice string) error {
	t.hands.Lock()
	defer t.hands.Unlock()
	n.Kill(false)
	defer n.Abandon()
	if err := replaceContent(n.Data(), content); err != nil {
		return err
	}
	before, err := os.ReadFile(n.LogFile())
	if err != nil {
		return err
	}
	if err := n.Try(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, refusalLimit)
	defer cancel()
	exited := n.WaitExit(wait)
	after, err := os.ReadFile(n.LogFile())
	if err != nil {
		return err
	}
	said := bytes.TrimPrefix(after, before)
	switch {
	case exited != nil && healthyNow(ctx, n):
		return fmt.Errorf("%w: %s takes part with a disk that is not what it was", ErrViolation, n.ID)
	case exited == nil && !bytes.Contains(said, []byte(advice)):
		return fmt.Errorf("%w: %s does not advise %q: %s", ErrViolation, n.ID, advice, said)
	}
	return nil
}

func healthyNow(ctx context.Context, n *arena.Node) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return n.WaitHealthy(ctx) == nil
}

// replaceContent leaves the directory itself: it may be a mount point.
func replaceContent(dir, from string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if from == "" {
		return nil
	}
	return os.CopyFS(dir, os.DirFS(from))
}
