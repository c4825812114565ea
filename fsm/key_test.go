package fsm

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	value   = fsmpb.Key_KIND_VALUE
	storage = fsmpb.Key_KIND_STORAGE
)

var printA, printB = bytes.Repeat([]byte("a"), 32), bytes.Repeat([]byte("b"), 32)

func nodeNamed(id string) string { return "spiffe://hexr.cloud/hexr/node/" + id }

func keyAdd(kind fsmpb.Key_Kind, id uint32) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_KeyAdd{KeyAdd: &fsmpb.KeyAdd{Kind: kind, KeyId: id}}}
}

func durable(kind fsmpb.Key_Kind, id uint32, fingerprint []byte) *fsmpb.Access {
	report := &fsmpb.KeyReport{Kind: kind, KeyId: id, Fingerprint: fingerprint}
	return &fsmpb.Access{Op: &fsmpb.Access_KeyDurable{KeyDurable: &fsmpb.KeyDurable{Keys: []*fsmpb.KeyReport{report}}}}
}

func activate(kind fsmpb.Key_Kind, id uint32) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_KeyActivate{KeyActivate: &fsmpb.KeyActivate{Kind: kind, KeyId: id}}}
}

func release(kind fsmpb.Key_Kind, id uint32) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_KeyRelease{KeyRelease: &fsmpb.KeyRelease{Kind: kind, KeyId: id}}}
}

func keyUse(id uint32, used bool) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_KeyUse{KeyUse: &fsmpb.KeyUse{KeyId: id, Used: used}}}
}

// keyCluster is a bench whose keyring the log knows, with members n1 and n2.
func keyCluster(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	b.one(nodeID, &fsmpb.Access{Op: &fsmpb.Access_Bootstrap{Bootstrap: &fsmpb.Bootstrap{
		TrustDomain: td, Member: &fsmpb.Member{Id: "n1", Address: "127.0.0.1:1", AuditKey: make([]byte, 32)}, Keys: KeyReports(b.keys),
	}}}, ok)
	b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "join_without_token", Value: "true"}}}, ok)
	b.join("n2")
	return b
}

func (b *bench) join(id string) {
	b.t.Helper()
	a := b.access(nodeNamed(id), &fsmpb.Access{Op: &fsmpb.Access_Join{Join: &fsmpb.Join{Address: "127.0.0.1:2", AuditKey: make([]byte, 32)}}})
	a.Node = id
	b.want(b.do(a)[0], ok)
}

func (b *bench) state(kind fsmpb.Key_Kind, id uint32) fsmpb.Key_State {
	return b.key(kind, id).GetState()
}

func (b *bench) key(kind fsmpb.Key_Kind, id uint32) *fsmpb.Key {
	for _, k := range b.store.Keys() {
		if k.GetKind() == kind && k.GetId() == id {
			return k
		}
	}
	return nil
}

func (b *bench) remove(id string) {
	b.t.Helper()
	b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_MemberRemove{MemberRemove: &fsmpb.MemberRemove{NodeId: id}}}, ok)
}

// TestKeySteps takes a key through its states, and tries each step too early.
func TestKeySteps(t *testing.T) {
	b := keyCluster(t)
	first := b.keys.Active(seal.ValueKey)
	b.one(operID, keyAdd(value, 7), ok)
	b.one(operID, keyAdd(value, 8), clash) // one at a time
	b.one(operID, keyAdd(storage, 7), ok)  // of a kind
	b.one(nodeID, release(value, 7), none) // nobody has made it
	b.one(nodeID, activate(value, 7), clash)
	b.one(nodeID, durable(value, 7, printA), ok)
	b.one(nodeNamed("n2"), durable(value, 7, printB), clash) // n2 made another one
	b.one(nodeID, activate(value, 7), clash)                 // n2 lacks it
	b.one(nodeNamed("n2"), release(value, 7), ok)
	b.one(nodeNamed("n2"), durable(value, 7, printA), ok)
	b.one(nodeNamed("n2"), durable(value, 9, printA), none)
	if s := b.state(value, 7); s != fsmpb.Key_STATE_PENDING {
		t.Fatalf("held by all, and %v before its activation", s)
	}
	b.join("n3")
	b.one(nodeID, activate(value, 7), clash) // a new member counts
	b.one(nodeNamed("n3"), durable(value, 7, printA), ok)
	b.one(nodeID, activate(value, 7), ok)
	b.one(nodeID, activate(value, 7), clash)
	if b.state(value, 7) != fsmpb.Key_STATE_ACTIVE || b.state(value, first) != fsmpb.Key_STATE_RETIRED {
		t.Errorf("after the activation: %v", b.store.Keys())
	}
	for _, c := range []struct {
		caller string
		a      *fsmpb.Access
	}{
		{mainID, keyAdd(value, 9)}, {provID, keyAdd(value, 9)}, {audID, keyAdd(value, 9)}, {nodeID, keyAdd(value, 9)},
		{operID, durable(value, 7, printA)}, {operID, activate(storage, 7)}, {operID, release(value, 7)},
		{nodeNamed("n9"), release(value, 7)}, {nodeNamed("n9"), durable(value, 7, printA)},
		{mainID, &fsmpb.Access{Op: &fsmpb.Access_KeysGet{KeysGet: &fsmpb.KeysGet{}}}},
		{operID, keyUse(7, true)},
	} {
		b.one(c.caller, c.a, no)
	}
}

// TestRotationAgain: the same request gives the same key, not another one.
func TestRotationAgain(t *testing.T) {
	b := keyCluster(t)
	retry := func(id uint32, o fsmpb.Outcome) uint32 {
		a := keyAdd(value, id)
		a.RequestId = []byte("the same request")
		return b.one(operID, a, o).GetKeySet().GetKeys()[0].GetId()
	}
	if got := retry(7, ok); got != 7 {
		t.Fatal(got)
	}
	if got := retry(8, again); got != 7 || b.key(value, 8) != nil {
		t.Errorf("a retry began another rotation, of %d", got)
	}
}

// TestRemovedNodesGetNoKey: not the one that is pending, and none that comes.
func TestRemovedNodesGetNoKey(t *testing.T) {
	b := keyCluster(t)
	b.join("n3")
	b.one(operID, keyAdd(value, 7), ok)
	b.one(nodeNamed("n3"), durable(value, 7, printA), ok) // n3 made it
	b.remove("n3")
	if s := b.state(value, 7); s != fsmpb.Key_STATE_ABANDONED {
		t.Fatalf("a pending key that a removed node knows is %v", s)
	}
	pending := b.store.Keys()[len(b.store.Keys())-1]
	if pending.GetState() != fsmpb.Key_STATE_PENDING || pending.GetId() == 7 || len(pending.GetHolders()) != 0 {
		t.Fatalf("the rotation goes on with %v", pending)
	}
	b.one(nodeNamed("n2"), durable(value, pending.GetId(), printB), ok)
	for _, a := range []*fsmpb.Access{
		release(value, pending.GetId()), durable(value, pending.GetId(), printB), release(fsmpb.Key_KIND_UNSPECIFIED, 0),
	} {
		b.one(nodeNamed("n3"), a, no)
	}
	b.one(nodeNamed("n2"), durable(value, 7, printA), none)
	b.one(nodeID, durable(value, pending.GetId(), printB), ok)
	b.one(nodeID, activate(value, pending.GetId()), ok)
}

// TestStorageKeysRetire: once no member has anything sealed with it; and they
// come back with a snapshot of who had.
func TestStorageKeysRetire(t *testing.T) {
	b := keyCluster(t)
	first := b.keys.Active(seal.StorageKey)
	b.one(nodeID, keyUse(first, false), clash) // it seals
	b.one(operID, keyAdd(storage, 7), ok)
	for _, n := range []string{"n1", "n2"} {
		b.one(nodeNamed(n), durable(storage, 7, printA), ok)
	}
	b.one(nodeID, activate(storage, 7), ok)
	want := func(s fsmpb.Key_State) {
		t.Helper()
		if got := b.state(storage, first); got != s {
			t.Fatalf("the first key is %v, want %v", got, s)
		}
	}
	b.join("n3")
	b.one(nodeID, keyUse(first, false), ok)
	b.one(nodeNamed("n2"), keyUse(first, false), ok)
	want(fsmpb.Key_STATE_REPLACED)
	b.remove("n3") // the one that it waited for
	want(fsmpb.Key_STATE_RETIRED)
	b.one(nodeNamed("n2"), keyUse(first, true), ok)
	want(fsmpb.Key_STATE_REPLACED)
	b.one(nodeNamed("n2"), keyUse(first, false), ok)
	want(fsmpb.Key_STATE_RETIRED)
	b.one(nodeID, keyUse(99, false), none)
}

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
		b.one(nodeNamed(n), durable(value, 7, printA), ok)
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

// keysOf counts the rows of a store by the key that sealed them.
func keysOf(t *testing.T, s *Store) map[uint32]int {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = it.Close() }()
	out := map[uint32]int{}
	for more := it.First(); more; more = it.Next() {
		id, _ := seal.RowKeyID(it.Value())
		out[id]++
	}
	return out
}

// TestReseal: every row is sealed anew while entries are applied; nothing is
// lost, it goes on after a restart, and a checkpoint brings how far it is.
func TestReseal(t *testing.T) {
	b := keyCluster(t)
	const paths = 600
	for i := range paths {
		b.want(b.do(b.putSealed(fmt.Sprint("k", i), fmt.Sprint("v", i)))[0], ok)
	}
	dir := b.store.cfg.Dir
	first := b.keys.Active(seal.StorageKey)
	for done := false; !done; {
		var err error
		if done, err = b.store.Reseal(); err != nil {
			t.Fatal(err)
		}
	}
	b.activateIn(seal.StorageKey, 7)
	before := keysOf(t, b.store)[first]
	reopened := false
	last := uint64(before)
	for i := 0; ; i++ {
		done, err := b.store.Reseal()
		if err != nil {
			t.Fatal(err)
		}
		st, err := b.store.ResealState()
		if err != nil || st.Counted && st.Left > last {
			t.Fatalf("%d rows are left after %d: %v", st.Left, last, err)
		}
		if st.Counted {
			last = st.Left
		}
		if done {
			break
		}
		// A write between two parts, before and behind the cursor.
		b.want(b.do(b.putSealed(fmt.Sprint("k", i), "new"), b.putSealed(fmt.Sprint("k", paths-1-i), "new"))[0], ok)
		if i == 4 {
			check := filepath.Join(t.TempDir(), "checkpoint")
			meta, err := b.store.Checkpoint(t.Context(), check)
			if err != nil || meta.Clean != first {
				t.Fatalf("a checkpoint in the middle is clean of what is before %08x: %v", meta.Clean, err)
			}
			if err := b.store.Restore(t.Context(), check); err != nil {
				t.Fatal(err)
			}
		}
		if i == 6 {
			if err := b.store.Close(); err != nil {
				t.Fatal(err)
			}
			b.open(dir)
			reopened = true
		}
	}
	if got := keysOf(t, b.store); len(got) != 1 || got[7] == 0 || !reopened {
		t.Errorf("rows by key: %v, reopened: %t", got, reopened)
	}
	meta, err := b.store.Checkpoint(t.Context(), filepath.Join(t.TempDir(), "checkpoint"))
	if err != nil || meta.Clean != 7 {
		t.Errorf("clean of what is before %08x: %v", meta.Clean, err)
	}
	for i := range paths {
		version, text := uint64(1), fmt.Sprint("v", i)
		b.opens(fmt.Sprint("k", i), text, version)
	}
	if st, err := b.store.ResealState(); err != nil || st.Clean != 7 || st.Left != 0 {
		t.Errorf("state %+v, %v", st, err)
	}
}

// TestMembersAtASize: who was a member when, for checkpoints.
func TestMembersAtASize(t *testing.T) {
	b := keyCluster(t)
	before := b.store.AuditSize()
	b.join("n3")
	b.remove("n3")
	after := b.store.AuditSize()
	m, found := b.store.Member("n3")
	if !found || WasMember(m, before) || !WasMember(m, before+1) || WasMember(m, after) {
		t.Errorf("n3 at %d, %d, %d: %v", before, before+1, after, m)
	}
	size, known := b.store.SizeAfter(b.index)
	if _, old := b.store.SizeAfter(b.index + 1); !known || size != after || old {
		t.Errorf("%d rows after the last entry", size)
	}
	if n1, _ := b.store.Member("n1"); !WasMember(n1, 1) {
		t.Error("the first member")
	}
	if !slices.ContainsFunc(b.store.Keys(), func(k *fsmpb.Key) bool { return slices.Equal(k.GetHolders(), []string{"n1"}) }) {
		t.Error("the first keys are held by nobody")
	}
}
