package node

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogAdapter passes the constant text of the raft libraries' log lines, and
// none of their arguments: those hold addresses, errors and configurations.
type hclogAdapter struct{ log *slog.Logger }

func (a hclogAdapter) logger() hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(a)
	return l
}

// Accept implements hclog.SinkAdapter.
func (a hclogAdapter) Accept(_ string, level hclog.Level, msg string, _ ...any) {
	l := slog.LevelDebug
	switch level {
	case hclog.Warn:
		l = slog.LevelInfo // raft warns of what it handles: elections, peers that don't answer
	case hclog.Error:
		l = slog.LevelWarn
	}
	a.log.Log(context.Background(), l, "raft", "event", msg)
}
