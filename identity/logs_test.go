package identity

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// logs holds what was logged, and lets tests wait for it.
type logs struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newLogs() *logs { return &logs{more: make(chan struct{})} }

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write implements io.Writer; a text handler writes a record at once.
func (l *logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	close(l.more)
	l.more = make(chan struct{})
	return len(line), nil
}

// count is how many lines hold all of the words.
func (l *logs) count(words ...string) (n int, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		fits := true
		for _, w := range words {
			fits = fits && strings.Contains(line, w)
		}
		if fits {
			n++
		}
	}
	return n, l.more
}

// await waits until n lines hold all of the words.
func (l *logs) await(ctx context.Context, t *testing.T, n int, words ...string) {
	t.Helper()
	for {
		have, more := l.count(words...)
		if have >= n {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("%d of %d lines with %q", have, n, words)
		}
	}
}

// tellsNobody fails the test when a line tells who somebody is.
func (l *logs) tellsNobody(t *testing.T) {
	t.Helper()
	for _, word := range []string{"canary", "spiffe://hexr"} {
		if n, _ := l.count(word); n > 0 {
			t.Errorf("%d lines tell who it was", n)
		}
	}
}

// awaitSource waits until the source is as it should be.
func awaitSource(ctx context.Context, t *testing.T, src Source, what string, is func() bool) {
	t.Helper()
	for {
		updated := src.Updated()
		if is() {
			return
		}
		select {
		case <-updated:
		case <-ctx.Done():
			t.Fatalf("not seen: %s", what)
		}
	}
}
