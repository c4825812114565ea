package node

import (
	"log/slog"

	"github.com/hexrdev/hexrd/internal/quiet"
)

// raftLog is what raft and raft-wal log to. Raft warns of what it handles:
// elections, peers that don't answer.
func raftLog(log *slog.Logger) quiet.Library {
	return quiet.Library{
		Log: log, Message: "raft", Info: slog.LevelDebug, Warn: slog.LevelInfo, Error: slog.LevelWarn, Events: raftEvents,
	}
}

// raftEvents are the texts of raft that tell an operator something.
var raftEvents = []string{
	"Election timeout reached, restarting election",
	"Installed remote snapshot",
	"added peer, starting replication",
	"appendEntries rejected, sending older logs",
	"clearing log suffix",
	"compacting logs",
	"duplicate requestVote from",
	"election won",
	"entering candidate state",
	"entering follower state",
	"entering leader state",
	"failed to accept connection",
	"failed to append to logs",
	"failed to appendEntries to",
	"failed to commit logs",
	"failed to compact logs",
	"failed to contact",
	"failed to contact quorum of nodes, stepping down",
	"failed to decode incoming command",
	"failed to get log",
	"failed to get previous log",
	"failed to heartbeat to",
	"failed to install snapshot",
	"failed to make requestVote RPC",
	"failed to persist vote",
	"failed to pipeline appendEntries",
	"failed to receive whole snapshot",
	"failed to restore snapshot",
	"failed to send snapshot to",
	"failed to take snapshot",
	"heartbeat timeout reached, not part of a stable configuration or a non-voter, not triggering a leader election",
	"heartbeat timeout reached, starting election",
	"installSnapshot rejected to",
	"installing snapshot on",
	"new leader elected, stepping down",
	"no known peers, aborting election",
	"not part of stable configuration, aborting election",
	"peer has newer term, stopping replication",
	"pre-vote campaign failed, waiting for election timeout",
	"previous log term mis-match",
	"rejecting pre-vote request since node is not in configuration",
	"rejecting pre-vote request since our last index is greater",
	"rejecting pre-vote request since we have a leader",
	"rejecting vote request since node is not in configuration",
	"rejecting vote request since our last index is greater",
	"rejecting vote request since we have a leader",
	"removed ourself, shutting down",
	"removed ourself, transitioning to follower",
	"removed peer, stopping replication",
	"restored from snapshot",
	"snapshot complete up to",
	"starting restore from snapshot",
	"starting snapshot up to",
	"updating configuration",
}
