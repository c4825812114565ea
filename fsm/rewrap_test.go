package fsm

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// putSealed puts a value as the API does.
func (b *bench) putSealed(path, text string) *fsmpb.Access {
	b.t.Helper()
	a := b.access(mainID, put(path, agentScope, text))
	s, err := parseFullScope(agentScope, td)
	if err != nil {
		b.t.Fatal(err)
	}
	key := RecordKey(b.keys, s, Path(path))
	sealed, err := b.keys.SealValue(seal.ValueContext{Cluster: b.keys.ClusterID(), Record: key[:], RequestID: [16]byte(a.GetRequestId())},
		seal.NewPlaintext([]byte(text)))
	if err != nil {
		b.t.Fatal(err)
	}
	a.GetPut().Sealed = sealed
	return a
}

// activateIn makes the keyring seal with a new key, as the nodes do.
func (b *bench) activateIn(kind seal.KeyKind, id uint32) {
	b.t.Helper()
	for _, err := range []error{b.keys.NewCandidate(kind, id), b.keys.Promote(kind, id), b.keys.Activate(kind, id)} {
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// stale are rewraps of all versions that are not under key 7.
func (b *bench) stale() *fsmpb.KeyRewrap {
	b.t.Helper()
	const key = 7
	op := &fsmpb.KeyRewrap{KeyId: key}
	for from := []byte(nil); ; {
		page, err := b.store.StaleVersions(b.t.Context(), from, key, 2, 1<<20)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, v := range page.Versions {
			place := seal.ValueContext{Cluster: b.keys.ClusterID(), Record: v.Record, RequestID: v.RequestID}
			wrapped, err := b.keys.Rewrap(place, v.Sealed)
			if err != nil {
				b.t.Fatal(err)
			}
			op.Items = append(op.Items, &fsmpb.Rewrap{Record: v.Record, Version: v.Version, Digest: v.Digest, Wrapped: wrapped})
		}
		if from = page.Next; from == nil {
			return op
		}
	}
}

func rewrapAccess(op *fsmpb.KeyRewrap) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_KeyRewrap{KeyRewrap: op}}
}

func uses(s *Store) map[uint32]uint64 {
	out := map[uint32]uint64{}
	for _, u := range s.ValueKeyUses() {
		out[u.GetKeyId()] = u.GetVersions()
	}
	return out
}

// TestRewrap: versions move under the new key as they stand; what changed
// meanwhile is left alone, and what comes late under the old key is found again.
func TestRewrap(t *testing.T) {
	b := keyCluster(t)
	first := b.keys.Active(seal.ValueKey)
	for i := range 5 {
		b.want(b.do(b.putSealed(fmt.Sprint("k", i), "value"))[0], ok)
	}
	late := b.putSealed("late", "value")
	b.one(operID, keyAdd(value, 7), ok)
	for _, n := range []string{"n1", "n2"} {
		b.one(nodeNamed(n), keyDurable(value, 7, printA), ok)
	}
	b.one(nodeID, rewrapAccess(&fsmpb.KeyRewrap{KeyId: 7, Items: []*fsmpb.Rewrap{{
		Record: printA, Version: 1, Digest: printA, Wrapped: []byte("x"),
	}}}), clash) // it is not active
	b.activateIn(seal.ValueKey, 7)
	b.one(nodeID, activate(value, 7), ok)
	if b.state(value, first) != fsmpb.Key_STATE_REPLACED || uses(b.store)[first] != 5 {
		t.Fatalf("after the activation: %v, %v", b.store.Keys(), uses(b.store))
	}
	op := b.stale()
	if len(op.GetItems()) != 5 {
		t.Fatalf("%d stale versions", len(op.GetItems()))
	}
	b.want(b.do(b.putSealed("k0", "newer"))[0], ok) // version 1 stays
	b.one(mainID, destroy("k1", agentScope, 1), ok)
	there := b.stale().GetItems()[0].GetRecord() // not the destroyed one's
	for _, item := range op.GetItems() {
		if bytes.Equal(item.GetRecord(), there) {
			item.Wrapped = []byte("not under that key")
		}
	}
	res := b.one(nodeID, rewrapAccess(op), ok)
	if res.GetRewrapped().GetDone() != 3 {
		t.Errorf("%d were done", res.GetRewrapped().GetDone())
	}
	if twice := b.one(nodeID, rewrapAccess(op), ok).GetRewrapped().GetDone(); twice != 0 {
		t.Errorf("%d were done twice", twice)
	}
	b.one(nodeID, rewrapAccess(b.stale()), ok)
	if b.state(value, first) != fsmpb.Key_STATE_RETIRED {
		t.Errorf("nothing is under the first key: %v, %v", b.store.Keys(), uses(b.store))
	}
	b.want(b.do(late)[0], ok)
	if b.state(value, first) != fsmpb.Key_STATE_REPLACED {
		t.Errorf("a late write is under the first key: %v", b.store.Keys())
	}
	if op = b.stale(); len(op.GetItems()) != 1 {
		t.Fatalf("%d stale versions", len(op.GetItems()))
	}
	b.one(nodeID, rewrapAccess(op), ok)
	if got := uses(b.store); len(got) != 1 || got[7] != 6 || b.state(value, first) != fsmpb.Key_STATE_RETIRED {
		t.Errorf("at the end: %v, %v", got, b.store.Keys())
	}
	b.opens("k0", "newer", 2)
	b.opens("k0", "value", 1)
	b.opens("late", "value", 1)
}

// opens gets a version and opens it as the answering node does.
func (b *bench) opens(path, want string, version uint64) {
	b.t.Helper()
	secret := b.one(mainID, get(path, agentScope, version), ok).GetSecret()
	s, err := parseFullScope(secret.GetScope(), td)
	if err != nil {
		b.t.Fatal(err)
	}
	key, digest := RecordKey(b.keys, s, Path(path)), seal.Digest(secret.GetSealed())
	got, err := b.keys.OpenValue(seal.ValueContext{Cluster: b.keys.ClusterID(), Record: key[:], RequestID: [16]byte(secret.GetRequestId())}, secret.GetSealed())
	if err != nil || string(got.Reveal()) != want || !bytes.Equal(digest[:], secret.GetDigest()) {
		b.t.Errorf("version %d of %s: %v", version, path, err)
	}
}
