package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/client"
)

// verification is one run of `hexrd audit verify`.
type verification struct {
	allowMissing bool
	note         []byte            // a signed checkpoint that was kept, or nil
	before       *audit.Checkpoint // what it says

	verifier *audit.Verifier
	now      audit.Checkpoint
	agree    []string // nodes
	absent   []string
	signers  []string // of the checkpoint
	members  int      // when it was made
}

func (v *verification) load(file string) error {
	note, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	c, err := audit.ReadCheckpoint(note)
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", file, err)
	}
	v.note, v.before = note, &c
	return nil
}

func (v *verification) run(ctx context.Context, c *client.Client) error {
	var sizes []uint64
	if v.before != nil {
		sizes = []uint64{v.before.Size}
	}
	if err := c.AuditVerify(ctx, sizes, v.header, func(row []byte) error { return v.verifier.Add(row) }); err != nil {
		return fmt.Errorf("audit verify: %w", err)
	}
	root, err := v.verifier.Finish()
	if err != nil {
		return fmt.Errorf("audit verify: %w", err)
	}
	v.now.Root = root
	if v.verifier.Rows != v.now.Size {
		return fmt.Errorf("audit verify: %d rows came, %d were promised", v.verifier.Rows, v.now.Size)
	}
	if len(v.absent) > 0 && !v.allowMissing {
		return fmt.Errorf("audit verify: no root from %q: is the node down? (--allow-missing goes on without)", v.absent)
	}
	return nil
}

// header begins anew: a client that moves on to another node starts over.
func (v *verification) header(h *hexrv1.VerifyHeader) error {
	v.verifier, v.agree, v.absent = audit.NewVerifier(), nil, nil
	if len(h.GetClusterId()) != 16 {
		return errors.New("audit verify: the node names no cluster")
	}
	v.now = audit.Checkpoint{Cluster: [16]byte(h.GetClusterId()), Size: h.GetSize(), RaftIndex: h.GetRaftIndex()}
	for _, r := range h.GetRoots() {
		if len(r.GetRoot()) != 32 {
			v.absent = append(v.absent, r.GetNode())
			continue
		}
		v.verifier.Expect(r.GetNode(), r.GetSize(), [32]byte(r.GetRoot()))
		if !slices.Contains(v.agree, r.GetNode()) {
			v.agree = append(v.agree, r.GetNode())
		}
	}
	if v.before == nil {
		return nil
	}
	if v.before.Cluster != v.now.Cluster {
		return errors.New("audit verify: the checkpoint is of another cluster")
	}
	if err := v.signed(h.GetMembers()); err != nil {
		return err
	}
	if v.before.Size > v.now.Size {
		return fmt.Errorf("audit verify: %d rows were seen before, the cluster has %d: rows are lost", v.before.Size, v.now.Size)
	}
	v.verifier.Expect("the checkpoint", v.before.Size, v.before.Root)
	return nil
}

// signed: more than half of who was a member at the checkpoint's size signed it.
func (v *verification) signed(members []*hexrv1.MemberKey) error {
	keys := map[string]ed25519.PublicKey{}
	for _, m := range members {
		was := m.GetJoinedRow() < v.before.Size && (m.RemovedRow == nil || m.GetRemovedRow() >= v.before.Size)
		if was && len(m.GetAuditKey()) == ed25519.PublicKeySize {
			keys[m.GetNode()] = m.GetAuditKey()
		}
	}
	v.members = len(keys)
	var err error
	if _, v.signers, err = audit.VerifyCheckpoint(v.note, keys, v.members/2+1); err != nil {
		return fmt.Errorf("audit verify: %w", err)
	}
	return nil
}

func (v *verification) show(o output) error {
	slices.Sort(v.agree)
	if o.json {
		return o.object(map[string]any{
			"size": v.now.Size, "root": hex.EncodeToString(v.now.Root[:]), "raft_index": v.now.RaftIndex,
			"cluster_id": hex.EncodeToString(v.now.Cluster[:]), "nodes": v.agree, "missing": v.absent,
			"checkpoint_signers": v.signers,
		})
	}
	if v.before != nil {
		if _, err := fmt.Fprintf(o.w, "the checkpoint of %d rows, signed by %d of %d members %q, is their beginning\n",
			v.before.Size, len(v.signers), v.members, v.signers); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(o.w, "verified %d rows; root %x; %d nodes agree %q\n", v.now.Size, v.now.Root, len(v.agree), v.agree)
	return err
}
