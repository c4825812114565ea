package node

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// instance is one life of raft: it is closed and opened again after some
// snapshots. raft.Shutdown gives only its first caller a future that waits, so
// all share that one.
type instance struct {
	*raft.Raft
	trans raft.Transport
	log   *parallelLog
	asked atomic.Pointer[raft.RequestVoteRequest] // who asked for this node's vote last
	led   atomic.Pointer[raft.LeaderObservation]  // who led last, or leads
	once  sync.Once
	ended raft.Future
}

// note keeps who asked and who leads, and reports that the leader is another one.
func (i *instance) note(o *raft.Observation) bool {
	switch seen := o.Data.(type) {
	case raft.RequestVoteRequest:
		i.asked.Store(&seen)
	case raft.LeaderObservation:
		if seen.LeaderID != "" {
			i.led.Store(&seen)
		}
		return true
	}
	return false
}

// stand makes this server a candidate now, as a leader does that hands over to it:
// with the one message that raft has for that, to itself.
func (i *instance) stand(id, addr string) error {
	server, address := raft.ServerID(id), raft.ServerAddress(addr)
	return i.trans.TimeoutNow(server, address, &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(server), Addr: i.trans.EncodePeer(server, address),
	}}, &raft.TimeoutNowResponse{})
}

// Shutdown begins to end raft, and returns the future that waits for it.
func (i *instance) Shutdown() raft.Future {
	i.once.Do(func() { i.ended = i.Raft.Shutdown() })
	return i.ended
}
