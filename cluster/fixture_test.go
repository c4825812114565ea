package cluster

import (
	"log/slog"

	"github.com/hashicorp/raft"
)

var quietLog = slog.New(slog.DiscardHandler)

func raftAddress(l *Listener) raft.ServerAddress { return raft.ServerAddress(l.Addr().String()) }
