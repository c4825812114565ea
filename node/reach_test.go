package node

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
)

// replicator is a leader's transport, to a follower that is away.
type replicator struct {
	transport
	peer  raft.ServerAddress
	looks atomic.Int64 // how often it was asked whether there is a reason to go on
	ended atomic.Bool  // it leads no more
}

func newReplicator(t *testing.T) *replicator {
	t.Helper()
	away := loopbackTransport(t)
	r := &replicator{peer: away.LocalAddr()}
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	r.transport = transport{
		NetworkTransport: loopbackTransport(t), log: newParallelLog(raft.NewInmemStore(), func() bool { return true }, func(f func()) { go f() }), stream: tcp{},
		replicates: func(to raft.ServerID, at raft.ServerAddress, term uint64) bool {
			r.looks.Add(1)
			return to == "n2" && at == r.peer && term == 3 && !r.ended.Load()
		},
	}
	return r
}

func (r *replicator) entries() error {
	return r.AppendEntries("n2", r.peer, &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("x")}, Term: 3, PrevLogEntry: 1,
	}, &raft.AppendEntriesResponse{})
}

func (r *replicator) snapshot() error {
	return r.InstallSnapshot("n2", r.peer, &raft.InstallSnapshotRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("x")}, Term: 3, Size: 1,
	}, &raft.InstallSnapshotResponse{}, strings.NewReader("x"))
}

// TestReplicationAwaitsFollower: who was away for long is replicated to once it is back,
// and the calls until then do not count as failures, which raft would wait for.
func TestReplicationAwaitsFollower(t *testing.T) {
	for name, call := range map[string]func(*replicator) error{"entries": (*replicator).entries, "snapshot": (*replicator).snapshot} {
		t.Run(name, func(t *testing.T) {
			r := newReplicator(t)
			sent := make(chan error, 1)
			go func() { sent <- call(r) }()
			until(t, "some tries", func() bool { return r.looks.Load() > 3 })
			back := transportAt(t, string(r.peer))
			rpc := <-back.Consumer()
			switch rpc.Command.(type) {
			case *raft.InstallSnapshotRequest:
				_, _ = io.Copy(io.Discard, rpc.Reader)
				rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
			default:
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
		t.Run(name+" of who leads no more", func(t *testing.T) {
			r := newReplicator(t)
			sent := make(chan error, 1)
			go func() { sent <- call(r) }()
			until(t, "some tries", func() bool { return r.looks.Load() > 3 })
			r.ended.Store(true)
			if err := <-sent; err == nil {
				t.Error("it reached nobody")
			}
		})
	}
}

// TestHeartbeatsDoNotWait: they are how raft knows that a follower is away.
func TestHeartbeatsDoNotWait(t *testing.T) {
	r := newReplicator(t)
	err := r.AppendEntries("n2", r.peer, &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}, Term: 3}, &raft.AppendEntriesResponse{})
	if err == nil || r.looks.Load() > 0 {
		t.Errorf("%v, after %d looks", err, r.looks.Load())
	}
}
