package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/quiet"
	"github.com/hexrdev/hexrd/seal"
)

const (
	td       = "hexr.cloud"
	mainID   = "spiffe://hexr.cloud/agent/acme/bot/main"
	researID = "spiffe://hexr.cloud/agent/acme/bot/researcher"
	writerID = "spiffe://hexr.cloud/agent/acme/bot/writer"
	otherID  = "spiffe://hexr.cloud/agent/acme/other/main"
	foreign  = "spiffe://hexr.cloud/agent/evil/bot/main"
	provID   = "spiffe://hexr.cloud/hexr/provisioner/acme/ci"
	operID   = "spiffe://hexr.cloud/hexr/operator/ann"
	audID    = "spiffe://hexr.cloud/hexr/auditor/aud"
	nodeID   = "spiffe://hexr.cloud/hexr/node/n1"

	agentScope  = "spiffe://hexr.cloud/agent/acme/bot/*"
	researScope = "spiffe://hexr.cloud/agent/acme/bot/researcher"
	tenantScope = "spiffe://hexr.cloud/agent/acme/*"
)

var testStart = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixNano()

// bench drives a real store by marshalled entries, as raft would.
type bench struct {
	t     testing.TB
	keys  *seal.Keyring
	store *Store
	index uint64
	now   int64
	n     uint64 // makes salts and request ids
}

// openMemory is a database that is not a store's, on a file system in memory.
func openMemory(t rapid.TB, fs vfs.FS) *pebble.DB {
	db, err := pebble.Open("", &pebble.Options{FS: fs, DisableWAL: true, Logger: quiet.Library{
		Log: slog.New(slog.DiscardHandler), Info: quiet.Never, Warn: quiet.Never, Error: quiet.Never,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func newBench(t testing.TB) *bench {
	t.Helper()
	keys, err := seal.NewKeyring([16]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, keys: keys, now: testStart}
	b.open(t.TempDir())
	t.Cleanup(func() { _ = b.store.Close() })
	return b
}

// newCluster is a bench that is bootstrapped.
func newCluster(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	boot := b.access(nodeID, &fsmpb.Access{Op: &fsmpb.Access_Bootstrap{Bootstrap: &fsmpb.Bootstrap{
		TrustDomain: td, Member: &fsmpb.Member{Id: "n1", Address: "127.0.0.1:1", AuditKey: make([]byte, 32)},
	}}})
	b.want(b.do(boot)[0], fsmpb.Outcome_OUTCOME_GRANTED)
	return b
}

func (b *bench) open(dir string) {
	b.t.Helper()
	s, err := Open(b.t.Context(), Config{Dir: dir, Keys: b.keys})
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = s
}

// reopen opens the store again, with nothing in memory.
func (b *bench) reopen() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open(b.store.cfg.Dir)
}

// access fills in what the entry node would.
func (b *bench) access(caller string, a *fsmpb.Access) *fsmpb.Access {
	b.n++
	id := make([]byte, 16)
	binary.BigEndian.PutUint64(id, b.n)
	a.Caller, a.Node, a.Peer, a.Seen, a.Salt = caller, "n1", "127.0.0.1:9", b.now, id
	a.Svid = fsmpb.SVIDKind_SVID_KIND_X509
	if a.Expires == 0 {
		a.Expires = b.now + int64(time.Hour)
	}
	if a.RequestId == nil {
		a.RequestId = id
	}
	if a.RequestDigest == nil {
		switch a.GetOp().(type) {
		case *fsmpb.Access_Put, *fsmpb.Access_Delete, *fsmpb.Access_Undelete, *fsmpb.Access_Destroy, *fsmpb.Access_RotateBegin,
			*fsmpb.Access_RotateStage, *fsmpb.Access_RotateCommit, *fsmpb.Access_RotateAbort, *fsmpb.Access_RotateSchedule:
			d := sha256.Sum256([]byte(fmt.Sprint(a.GetOp())))
			a.RequestDigest = d[:]
		}
	}
	return a
}

func (b *bench) entry(accesses ...*fsmpb.Access) []byte {
	b.t.Helper()
	id := b.keys.ClusterID()
	data, err := deterministic.Marshal(&fsmpb.Entry{
		Format: entryFormat, Time: b.now, ClusterId: id[:], Leader: "n1", Accesses: accesses,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

func (b *bench) do(accesses ...*fsmpb.Access) []*fsmpb.Result {
	b.t.Helper()
	b.index++
	b.now += int64(time.Millisecond)
	results, err := b.store.Apply(b.index, 1, b.entry(accesses...), true)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(results) != len(accesses) {
		b.t.Fatalf("%d results for %d accesses", len(results), len(accesses))
	}
	return results
}

func (b *bench) want(r *fsmpb.Result, o fsmpb.Outcome) {
	b.t.Helper()
	if r.GetOutcome() != o {
		b.t.Fatalf("outcome %v, want %v", r.GetOutcome(), o)
	}
}

func put(path, scope, value string) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_Put{Put: &fsmpb.Put{
		Path: path, Scope: scope, Sealed: []byte("sealed " + value), Size: uint64(len(value)),
	}}}
}

func get(path, scope string, version uint64) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: path, Scope: scope, Version: version}}}
}

func del(path, scope string) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_Delete{Delete: &fsmpb.Delete{Path: path, Scope: scope}}}
}

func undel(path, scope string) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_Undelete{Undelete: &fsmpb.Undelete{Path: path, Scope: scope}}}
}

func destroy(path, scope string, version uint64) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_Destroy{Destroy: &fsmpb.Destroy{Path: path, Scope: scope, Version: version}}}
}

func (b *bench) one(caller string, a *fsmpb.Access, o fsmpb.Outcome) *fsmpb.Result {
	b.t.Helper()
	r := b.do(b.access(caller, a))[0]
	b.want(r, o)
	return r
}

func begin(path, scope string, ttl time.Duration) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_RotateBegin{RotateBegin: &fsmpb.RotateBegin{Path: path, Scope: scope, Ttl: int64(ttl)}}}
}

func stage(path, scope string, generation uint64, value string) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_RotateStage{RotateStage: &fsmpb.RotateStage{
		Path: path, Scope: scope, Generation: generation, Sealed: []byte("sealed " + value), Size: uint64(len(value)),
	}}}
}

func commit(path, scope string, generation, version uint64, grace time.Duration) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_RotateCommit{RotateCommit: &fsmpb.RotateCommit{
		Path: path, Scope: scope, Generation: generation, Version: version, Grace: int64(grace),
	}}}
}

func abort(path, scope string, generation uint64) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_RotateAbort{RotateAbort: &fsmpb.RotateAbort{Path: path, Scope: scope, Generation: generation}}}
}

func schedule(path, scope string, period time.Duration) *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_RotateSchedule{RotateSchedule: &fsmpb.RotateSchedule{Path: path, Scope: scope, Period: int64(period)}}}
}

func sweep() *fsmpb.Access {
	return &fsmpb.Access{Op: &fsmpb.Access_Sweep{Sweep: &fsmpb.Sweep{Limit: 100}}}
}
