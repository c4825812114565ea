package node

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

const (
	reachPause    = 10 * time.Millisecond // at first, then twice as long each time
	reachPauseMax = 250 * time.Millisecond
)

// reach waits until a follower can be dialled; false: there is no reason any more. Raft
// doubles what it waits for with each call that fails, up to 10 s, and cuts none of it
// short when heartbeats succeed again: a follower that was away for half a minute had
// nothing replicated to it for as long, and was no part of a majority (see
// hashicorp/raft#612).
func (t transport) reach(id raft.ServerID, target raft.ServerAddress, term uint64) bool {
	for pause := reachPause; t.replicates(id, target, term); pause = min(2*pause, reachPauseMax) {
		if conn, err := t.stream.Dial(target, rpcTimeout); err == nil {
			_ = conn.Close()
			return true
		}
		time.Sleep(pause)
	}
	return false
}

// isHeartbeat tells apart what raft sends beside its replication: a failure of it says
// that the follower is away.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return len(a.Entries) == 0 && a.PrevLogEntry == 0
}

// replicating reports whether a server leads in a term, and has another one to replicate
// to, at that address still.
func replicating(r *raft.Raft, to raft.ServerID, at raft.ServerAddress, term uint64) bool {
	if r == nil || r.State() != raft.Leader || r.CurrentTerm() != term {
		return false
	}
	return slices.ContainsFunc(r.GetConfiguration().Configuration().Servers, func(s raft.Server) bool {
		return s.ID == to && s.Address == at
	})
}
