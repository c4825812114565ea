package node

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestVotesReachNewProcess: a vote that is asked for over a connection to a process that
// has ended reaches the one that listens there now.
func TestVotesReachNewProcess(t *testing.T) {
	asking := transport{NetworkTransport: loopbackTransport(t)}
	first := loopbackTransport(t)
	addr := first.LocalAddr()
	ask := func(to *raft.NetworkTransport) error {
		sent := make(chan error, 1)
		go func() {
			resp := &raft.RequestVoteResponse{}
			sent <- asking.RequestVote("n2", addr, &raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}}, resp)
		}()
		select {
		case rpc := <-to.Consumer():
			rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
			return <-sent
		case err := <-sent:
			return err
		}
	}
	if err := ask(first); err != nil {
		t.Fatal(err)
	}
	first.CloseStreams()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := transportAt(t, string(addr))
	if err := ask(second); err != nil {
		t.Error(err)
	}
	second.CloseStreams()
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := ask(second); err == nil || time.Since(began) > patience {
		t.Errorf("nobody listens: %v", err)
	}
}
