package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

func TestThreeNodesAgree(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		g := three(t, store, Limits{})
		for i := range 20 {
			g.must(g.put(g.node(fmt.Sprintf("n%d", i%3+1)), fmt.Sprint("k", i)))
			g.must(g.get(g.node(fmt.Sprintf("n%d", (i+1)%3+1)), fmt.Sprint("k", i)))
		}
		old := g.leader().cfg.ID
		g.stop(old)
		for id := range g.addrs {
			if id != old {
				for i := range 20 {
					g.must(g.get(g.node(id), fmt.Sprint("k", i)))
				}
			}
		}
		g.must(g.put(g.leader(), "after"))
		g.start(old, false, false)
		g.must(g.get(g.node(old), "after"))
		g.agree()
	})
}

// TestFollowerComesBackBySnapshot: a follower that was away for longer than the
// log reaches gets a snapshot, also over a log that it holds.
func TestFollowerComesBackBySnapshot(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		g := three(t, store, Limits{TrailingEntries: 5})
		g.must(g.put(g.leader(), "before"))
		away := "n3"
		if g.leader().cfg.ID == away {
			away = "n2"
		}
		g.stop(away)
		for i := range 50 {
			g.must(g.put(g.leader(), fmt.Sprint("k", i)))
		}
		for id, n := range g.nodes {
			if err := n.raft.Load().Snapshot().Error(); err != nil {
				t.Fatalf("snapshot of %s: %v", id, err)
			}
		}
		g.start(away, false, false)
		leader := g.leader()
		g.until("the follower to catch up", func() bool {
			return g.node(away).Store().AppliedIndex() >= leader.Store().AppliedIndex()
		})
		metas, err := g.node(away).snapshots.List()
		g.must(err)
		if len(metas) == 0 {
			t.Fatal("it caught up without a snapshot: the test shows nothing")
		}
		g.must(g.get(g.node(away), "k49"))
		g.stop(away) // and it starts from what it was sent
		g.start(away, false, false)
		g.must(g.get(g.node(away), "k7"))
	})
}

// TestConflictingLogUnderASnapshot is hashicorp/raft#697: a follower whose log
// reaches beyond the snapshot that it is sent, with entries of another history.
func TestConflictingLogUnderASnapshot(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		g := three(t, store, Limits{TrailingEntries: 1})
		g.must(g.put(g.leader(), "before"))
		away := "n3"
		if g.leader().cfg.ID == away {
			away = "n2"
		}
		g.stop(away)
		for i := range 30 {
			g.must(g.put(g.leader(), fmt.Sprint("k", i)))
		}
		conflict(t, g, away, 400)
		for _, n := range g.nodes {
			g.must(n.raft.Load().Snapshot().Error())
		}
		// Who led has entries at hand for the follower, from before they were in a snapshot.
		g.changed("another leader", func(leader *Node) error { return leader.raft.Load().LeadershipTransfer().Error() })
		g.limit = Limits{} // it would keep the conflicting entry in its trailing log
		n := g.start(away, false, false)
		leader := g.leader()
		g.until("the follower to catch up", func() bool { return n.Store().AppliedIndex() >= leader.Store().AppliedIndex() })
		g.must(g.get(n, "k29"))
		g.must(g.put(n, "after"))
		g.until("the follower to apply what came after", func() bool {
			return n.Store().AppliedIndex() >= leader.Store().AppliedIndex()
		})
		if !g.log.holds("raft is opened again") {
			t.Error("raft was not opened again over the snapshot")
		}
		if err := n.Err(); err != nil {
			t.Error(err)
		}
	})
}

// conflict appends entries of a term that no leader had to a stopped node's log.
func conflict(t *testing.T, g *group, id string, until uint64) {
	t.Helper()
	raw, _, err := openLog(filepath.Join(g.dir, id), "", silent)
	g.must(err)
	logs := sealedLog{raw, g.keys, func(err error) { t.Error(err) }}
	last, err := logs.LastIndex()
	g.must(err)
	var entries []*raft.Log
	for i := last + 1; i <= until; i++ {
		entries = append(entries, &raft.Log{Index: i, Term: 1, Type: raft.LogNoop, Data: []byte{}})
	}
	g.must(logs.StoreLogs(entries))
	g.must(raw.Close())
}

// TestHeartbeatsGoThroughTheMainLoop is hashicorp/raft#695: raft must not be able
// to install its fast path, and must find all else that it looks for.
func TestHeartbeatsGoThroughTheMainLoop(t *testing.T) {
	g := newGroup(t, LogStoreBolt)
	n := g.start("n1", true, false)
	_ = n
	l := tcp{g.lis["n1"]}
	inner := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: newStreams(l, "127.0.0.1:1").session(), MaxPool: 1, Timeout: time.Second, Logger: raftLog(silent).HCLog()})
	defer func() { _ = inner.Close() }()
	var trans raft.Transport = transport{NetworkTransport: inner}
	if _, ok := trans.(raft.WithPreVote); !ok {
		t.Error("pre-vote is lost")
	}
	if _, ok := trans.(raft.WithClose); !ok {
		t.Error("Close is lost")
	}
	trans.SetHeartbeatHandler(func(raft.RPC) { t.Error("a heartbeat took the fast path") })
	heartbeat(t, inner)
}

// loopbackTransport is raft's own over plain TCP.
func loopbackTransport(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	return transportAt(t, "127.0.0.1:0")
}

func transportAt(t *testing.T, addr string) *raft.NetworkTransport {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: tcp{l}, MaxPool: 1, Timeout: 5 * time.Second, Logger: raftLog(silent).HCLog()})
	t.Cleanup(func() { _ = trans.Close() })
	return trans
}

// heartbeat sends one to a transport, and expects it in the consumer's channel.
func heartbeat(t *testing.T, trans *raft.NetworkTransport) {
	t.Helper()
	server := loopbackTransport(t)
	wrapped := transport{NetworkTransport: server}
	wrapped.SetHeartbeatHandler(func(raft.RPC) { t.Error("a heartbeat took the fast path") })
	sent := make(chan error, 1)
	go func() {
		sent <- trans.AppendEntries("n2", server.LocalAddr(), &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("x")}, Term: 3,
		}, &raft.AppendEntriesResponse{})
	}()
	select {
	case rpc := <-wrapped.Consumer():
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	case <-time.After(5 * time.Second):
		t.Fatal("the heartbeat did not come through the main loop")
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestSealedLogIsBoundToItsPlace(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		keys, err := seal.NewKeyring([16]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		raw, _, err := openLog(t.TempDir(), store, silent)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = raw.Close() }()
		var broken error
		logs := sealedLog{raw, keys, func(err error) { broken = err }}
		for i := uint64(1); i <= 3; i++ {
			if err := logs.StoreLogs([]*raft.Log{{Index: i, Term: 1, Type: raft.LogCommand, Data: []byte("secret")}}); err != nil {
				t.Fatal(err)
			}
		}
		var entry raft.Log
		if err := logs.GetLog(2, &entry); err != nil || string(entry.Data) != "secret" {
			t.Fatal(err)
		}
		if err := raw.GetLog(2, &entry); err != nil || bytes.Contains(entry.Data, []byte("secret")) {
			t.Fatal("an entry lies in clear", err)
		}
		moved := entry
		moved.Index = 4
		if err := raw.StoreLogs([]*raft.Log{&moved}); err != nil {
			t.Fatal(err)
		}
		if err := logs.GetLog(4, &entry); !errors.Is(err, seal.ErrCorrupt) || broken == nil {
			t.Fatalf("an entry opens in another place: %v", err)
		}
		if got := logs.IsMonotonic(); got != (store == LogStoreWAL) {
			t.Errorf("monotonic: %t", got)
		}
	})
}

func TestNothingReadableInTheLog(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		g := newGroup(t, store)
		n := g.start("n1", true, false)
		for i := range 20 {
			g.must(g.put(n, fmt.Sprint("hidden-path-", i)))
		}
		g.must(n.raft.Load().Snapshot().Error())
		g.stop("n1")
		err := filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			for _, s := range []string{"hidden-path", "acme/bot", "sealed value of"} {
				if bytes.Contains(data, []byte(s)) {
					t.Errorf("%q stands in clear in %s", s, d.Name())
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestStartOrder(t *testing.T) {
	t.Run("an empty directory", func(t *testing.T) {
		g := newGroup(t, LogStoreBolt)
		if _, err := Open(t.Context(), g.config("n1", false, false)); !errors.Is(err, ErrEmpty) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("a store behind the snapshot is restored", func(t *testing.T) {
		g := newGroup(t, LogStoreBolt)
		g.limit = Limits{TrailingEntries: 1}
		n := g.start("n1", true, false)
		for i := range 20 {
			g.must(g.put(n, fmt.Sprint("k", i)))
		}
		g.must(n.raft.Load().Snapshot().Error())
		g.stop("n1")
		// What a kill between a durable snapshot and its restore leaves: an old store.
		g.must(os.RemoveAll(filepath.Join(g.dir, "n1", storeDir)))
		n = g.start("n1", false, false)
		g.must(g.get(n, "k19"))
	})
	t.Run("a gap stops the node", func(t *testing.T) {
		g := newGroup(t, LogStoreBolt)
		g.limit = Limits{TrailingEntries: 1}
		n := g.start("n1", true, false)
		for i := range 20 {
			g.must(g.put(n, fmt.Sprint("k", i)))
		}
		g.must(n.raft.Load().Snapshot().Error())
		g.stop("n1")
		g.must(os.RemoveAll(filepath.Join(g.dir, "n1", storeDir)))
		g.must(os.RemoveAll(filepath.Join(g.dir, "n1", snapshotsDir)))
		if _, err := Open(t.Context(), g.config("n1", false, false)); !errors.Is(err, ErrGap) {
			t.Fatalf("error %v", err)
		}
	})
}

// failing is a log whose disk fails, or hangs until release.
type failing struct {
	raft.LogStore
	err     error
	release chan struct{}
}

func (f failing) StoreLogs([]*raft.Log) error {
	if f.release != nil {
		<-f.release
	}
	return f.err
}

func TestWatchdog(t *testing.T) {
	failed := make(chan error, 2)
	w := watchdog{failing{err: errors.New("no space")}, time.Hour, func(err error) { failed <- err }, &atomic.Uint64{}}
	if err := w.StoreLogs(nil); !errors.Is(err, ErrDisk) || !errors.Is(<-failed, ErrDisk) {
		t.Fatalf("a disk that fails: %v", err)
	}
	release := make(chan struct{})
	w = watchdog{failing{release: release}, time.Millisecond, func(err error) { failed <- err }, &atomic.Uint64{}}
	done := make(chan error, 1)
	go func() { done <- w.StoreLogs(nil) }()
	if err := <-failed; !errors.Is(err, ErrDisk) { // while it hangs
		t.Fatal(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestBadAccessIsRefusedAlone(t *testing.T) {
	g := newGroup(t, LogStoreBolt)
	n := g.start("n1", true, false)
	good := &fsmpb.Access{
		Caller: agentID, Svid: fsmpb.SVIDKind_SVID_KIND_X509, Expires: time.Now().Add(time.Hour).UnixNano(),
		Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "k"}},
	}
	bad := proto.Clone(good).(*fsmpb.Access)
	bad.GetGet().Path = "a//b"
	size := n.Store().AuditSize()
	results, _, err := n.Do(t.Context(), []*fsmpb.Access{bad, good, bad})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []fsmpb.Outcome{
		fsmpb.Outcome_OUTCOME_INVALID, fsmpb.Outcome_OUTCOME_NOT_FOUND, fsmpb.Outcome_OUTCOME_INVALID,
	} {
		if results[i].GetOutcome() != want {
			t.Errorf("access %d: %v", i, results[i].GetOutcome())
		}
	}
	if got := n.Store().AuditSize(); got != size+1 {
		t.Errorf("%d rows for one decided access", got-size)
	}
	g.refuse = func(a *fsmpb.Access) fsmpb.Outcome {
		if a.GetGet().GetPath() == "full" {
			return fsmpb.Outcome_OUTCOME_NO_SPACE
		}
		return 0
	}
	g.stop("n1")
	n = g.start("n1", false, false)
	size = n.Store().AuditSize()
	full := proto.Clone(good).(*fsmpb.Access)
	full.GetGet().Path, good.Salt = "full", nil
	results, _, err = n.Do(t.Context(), []*fsmpb.Access{full, good})
	if err != nil || results[0].GetOutcome() != fsmpb.Outcome_OUTCOME_NO_SPACE || results[1].GetOutcome() != fsmpb.Outcome_OUTCOME_NOT_FOUND {
		t.Errorf("an access that the node refuses, and another: %v %v", results, err)
	}
	if got := n.Store().AuditSize(); got != size+1 {
		t.Errorf("%d rows for one decided access", got-size)
	}
	if _, err := n.HandlePropose(t.Context(), "n1", []byte("junk")); !errors.Is(err, ErrInvalid) {
		t.Errorf("a proposal that does not decode: %v", err)
	}
}

func TestNoQuorum(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	g.must(g.put(g.leader(), "k"))
	g.stop("n2")
	g.stop("n3")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	g.until("the leader to step down", func() bool { id, _ := g.node("n1").Leader(); return id == "" })
	_, _, err := g.node("n1").Do(ctx, []*fsmpb.Access{{
		Caller: agentID, Svid: fsmpb.SVIDKind_SVID_KIND_X509, Expires: time.Now().Add(time.Hour).UnixNano(),
		Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "k"}},
	}})
	if !errors.Is(err, ErrNoLeader) {
		t.Fatalf("without a quorum: %v", err)
	}
}
