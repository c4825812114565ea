package fsm

import (
	"bytes"
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

func keyDurable(kind fsmpb.Key_Kind, id uint32, fingerprint []byte) *fsmpb.Access {
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
	b.one(nodeID, keyDurable(value, 7, printA), ok)
	b.one(nodeNamed("n2"), keyDurable(value, 7, printB), clash) // n2 made another one
	b.one(nodeID, activate(value, 7), clash)                    // n2 lacks it
	b.one(nodeNamed("n2"), release(value, 7), ok)
	b.one(nodeNamed("n2"), keyDurable(value, 7, printA), ok)
	b.one(nodeNamed("n2"), keyDurable(value, 9, printA), none)
	if s := b.state(value, 7); s != fsmpb.Key_STATE_PENDING {
		t.Fatalf("held by all, and %v before its activation", s)
	}
	b.join("n3")
	b.one(nodeID, activate(value, 7), clash) // a new member counts
	b.one(nodeNamed("n3"), keyDurable(value, 7, printA), ok)
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
		{operID, keyDurable(value, 7, printA)}, {operID, activate(storage, 7)}, {operID, release(value, 7)},
		{nodeNamed("n9"), release(value, 7)}, {nodeNamed("n9"), keyDurable(value, 7, printA)},
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
	b.one(nodeNamed("n3"), keyDurable(value, 7, printA), ok) // n3 made it
	b.remove("n3")
	if s := b.state(value, 7); s != fsmpb.Key_STATE_ABANDONED {
		t.Fatalf("a pending key that a removed node knows is %v", s)
	}
	pending := b.store.Keys()[len(b.store.Keys())-1]
	if pending.GetState() != fsmpb.Key_STATE_PENDING || pending.GetId() == 7 || len(pending.GetHolders()) != 0 {
		t.Fatalf("the rotation goes on with %v", pending)
	}
	b.one(nodeNamed("n2"), keyDurable(value, pending.GetId(), printB), ok)
	for _, a := range []*fsmpb.Access{
		release(value, pending.GetId()), keyDurable(value, pending.GetId(), printB), release(fsmpb.Key_KIND_UNSPECIFIED, 0),
	} {
		b.one(nodeNamed("n3"), a, no)
	}
	b.one(nodeNamed("n2"), keyDurable(value, 7, printA), none)
	b.one(nodeID, keyDurable(value, pending.GetId(), printB), ok)
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
		b.one(nodeNamed(n), keyDurable(storage, 7, printA), ok)
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
