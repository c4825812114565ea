// Package quiet lets libraries and panics speak without the data that they
// speak of. Lines of libraries quote addresses, URLs and TLS errors, which name
// identities; values of panics may be anything. What passes is which library it
// was, how grave it is, and constants: of the library where they are listed, and
// names of functions.
package quiet

import (
	"context"
	"io"
	"log"
	"log/slog"
	"slices"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/grpclog"
)

// Library is the log of a library. It is what each of them takes: go-spiffe's
// and Pebble's Logger, gRPC's LoggerV2, the io.Writer of package log; Std and
// HCLog make the others. Safe for concurrent use.
type Library struct {
	Log     *slog.Logger
	Message string // of every line; constant
	// What an informative line, a warning and an error of it are worth.
	Info, Warn, Error slog.Level
	// Events are constant texts of the library that pass, from HCLog alone.
	Events []string
}

// Never is the level of what nobody wants to hear.
const Never = slog.LevelDebug - 4

// Noise is a library that is heard at debug level alone: what matters of it comes
// back as errors.
func Noise(l *slog.Logger, message string) Library {
	return Library{Log: l, Message: message, Info: Never, Warn: slog.LevelDebug, Error: slog.LevelDebug}
}

func (l Library) say(level slog.Level, class string, attrs ...slog.Attr) {
	l.Log.LogAttrs(context.Background(), level, l.Message, append(attrs, slog.String("class", class))...)
}

func (l Library) Debugf(string, ...any)   {}
func (l Library) Infof(string, ...any)    { l.say(l.Info, "info") }
func (l Library) Warnf(string, ...any)    { l.say(l.Warn, "warning") }
func (l Library) Errorf(string, ...any)   { l.say(l.Error, "error") }
func (l Library) Warningf(string, ...any) { l.say(l.Warn, "warning") }

// Fatalf does not return, as Pebble and gRPC expect.
func (l Library) Fatalf(string, ...any) {
	l.say(slog.LevelError, "fatal")
	panic("hexrd: " + l.Message)
}

// Write takes a line of package log.
func (l Library) Write(line []byte) (int, error) {
	l.say(l.Warn, "warning")
	return len(line), nil
}

// Std is for what takes a logger of package log, such as net/http.
func (l Library) Std() *log.Logger { return log.New(l, "", 0) }

// HCLog is for raft and raft-wal.
func (l Library) HCLog() hclog.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	h.RegisterSink(&l) // it is a key of a map
	return h
}

// Accept implements hclog.SinkAdapter. Its text passes if it is one of Events;
// its arguments never do.
func (l Library) Accept(_ string, level hclog.Level, text string, _ ...any) {
	event := slog.String("event", "other")
	if slices.Contains(l.Events, text) {
		event.Value = slog.StringValue(text)
	}
	switch level {
	case hclog.Error:
		l.say(l.Error, "error", event)
	case hclog.Warn:
		l.say(l.Warn, "warning", event)
	case hclog.Info:
		l.say(l.Info, "info", event)
	}
}

// GRPC is for gRPC, whose logger is the process's.
func (l Library) GRPC() grpclog.LoggerV2 { return grpcLog{l} }

type grpcLog struct{ Library }

func (g grpcLog) Info(...any)      { g.Infof("") }
func (g grpcLog) Infoln(...any)    { g.Infof("") }
func (g grpcLog) Warning(...any)   { g.Warnf("") }
func (g grpcLog) Warningln(...any) { g.Warnf("") }
func (g grpcLog) Error(...any)     { g.Errorf("") }
func (g grpcLog) Errorln(...any)   { g.Errorf("") }
func (g grpcLog) Fatal(...any)     { g.Fatalf("") }
func (g grpcLog) Fatalln(...any)   { g.Fatalf("") }
func (g grpcLog) V(int) bool       { return false }

// Process is where everything goes in this process that takes no logger: gRPC,
// and what writes to package log, to hclog's or to slog's default. It is called
// once, at the beginning.
func Process(l *slog.Logger) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // first: it redirects package log
	stray := Noise(l, "a library reports something")
	log.SetFlags(0)
	log.SetOutput(stray)
	hclog.SetDefault(stray.HCLog())
	grpclog.SetLoggerV2(Noise(l, "gRPC reports something").GRPC())
}
