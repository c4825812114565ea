package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

// seen is what a watch has shown.
type seen struct {
	mu     sync.Mutex
	puts   map[string][]uint64 // versions by path, in the order in which they came
	times  map[string]time.Time
	begun  chan struct{}
	ended  chan error
	resync int
}

// watchAll starts a watch, and waits until it has begun.
func watchAll(t *testing.T, ctx context.Context, c *client.Client) *seen {
	t.Helper()
	s := &seen{puts: map[string][]uint64{}, times: map[string]time.Time{}, begun: make(chan struct{}), ended: make(chan error, 1)}
	var once sync.Once
	go func() {
		s.ended <- c.Watch(ctx, client.WatchOptions{}, func(e *hexrv1.WatchEvent) error {
			now := time.Now()
			once.Do(func() { close(s.begun) })
			s.mu.Lock()
			defer s.mu.Unlock()
			switch e.GetType() {
			case hexrv1.WatchEvent_PUT, hexrv1.WatchEvent_ROTATE:
				s.puts[e.GetPath()] = append(s.puts[e.GetPath()], e.GetVersion())
				s.times[fmt.Sprint(e.GetPath(), " ", e.GetVersion())] = now
			case hexrv1.WatchEvent_RESYNC:
				s.resync++
			}
			return nil
		})
	}()
	select {
	case <-s.begun:
	case err := <-s.ended:
		t.Fatalf("the watch ended: %v", err)
	}
	return s
}

func (s *seen) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.puts[path])
}

// TestWatchThroughKills: agents write while nodes are killed and started again;
// watches that began at each of the nodes show every version once, in order.
func TestWatchThroughKills(t *testing.T) {
	t.Parallel()
	for name, nodeArgs := range map[string][]string{
		"log": nil, "snapshots": {"--snapshot-entries", "20", "--trailing-entries", "3", "--snapshot-interval", "100ms"},
	} {
		t.Run(name, func(t *testing.T) { watchThroughKills(t, count(t, 90), nodeArgs...) })
	}
}

func watchThroughKills(t *testing.T, puts int, nodeArgs ...string) {
	const paths = 3
	c, _ := startCluster(t, "bolt", nodeArgs...)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var watches []*seen
	addrs := c.Addresses()
	for i := range addrs {
		first := slices.Concat(addrs[i:], addrs[:i])
		watches = append(watches, watchAll(t, ctx, dialAs(t, c, "acme/bot", first...)))
	}
	acked := make([]uint64, paths)
	var wg sync.WaitGroup
	for p := range paths {
		cl := dialAs(t, c, "acme/bot", addrs...)
		wg.Go(func() {
			for range puts / paths {
				resp, err := cl.Put(ctx, fmt.Sprint("k", p), []byte("v"), client.PutOptions{})
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				acked[p] = resp.GetVersion()
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	kills := killAll(t, c, finished)
	for i, w := range watches {
		for p := range paths {
			path := fmt.Sprint("k", p)
			until(t, fmt.Sprintf("watch %d to have %d versions of %s", i, acked[p], path), func() bool { return w.count(path) >= int(acked[p]) })
			for n, v := range w.puts[path] {
				if v != uint64(n+1) {
					t.Fatalf("watch %d shows version %d of %s in place of %d: lost, twice or out of order", i, v, path, n+1)
				}
			}
		}
		if w.resync != 0 {
			t.Errorf("watch %d was told to begin again", i)
		}
	}
	streams := 0
	auditor := dialAs(t, c, "/hexr/auditor/test", addrs...)
	for r, err := range auditor.AuditQuery(t.Context(), &hexrv1.QueryRequest{Operation: "watch", Outcome: "granted"}) {
		if err != nil {
			t.Fatal(err)
		}
		_ = r
		streams++
	}
	t.Logf("%d puts, %d kills, %d streams of %d watches", puts, kills, streams, len(watches))
	stop()
	for _, w := range watches {
		if err := <-w.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a watch ended with %v", err)
		}
	}
}

// TestWatchIsPrompt measures how long after a new version's acknowledgement the
// holders of the old one, at every node, have its event. The target is a second.
func TestWatchIsPrompt(t *testing.T) {
	c, _ := startCluster(t, "bolt")
	var watches []*seen
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for _, addr := range c.Addresses() {
		watches = append(watches, watchAll(t, ctx, dialAs(t, c, "acme/bot", addr)))
	}
	cl := dialAs(t, c, "acme/bot", c.Addresses()...)
	if _, err := cl.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	const rotations = 50
	current := map[uint64]time.Time{}
	for range rotations {
		done, err := cl.Rotate(t.Context(), "k", client.RotateOptions{Generate: client.Key(32)})
		if err != nil {
			t.Fatal(err)
		}
		current[done.Version] = time.Now()
	}
	var late []time.Duration
	for _, w := range watches {
		until(t, "all events", func() bool { return w.count("k") == rotations+1 })
		for v, at := range current {
			late = append(late, w.times[fmt.Sprint("k ", v)].Sub(at))
		}
	}
	slices.Sort(late)
	median, most := late[len(late)/2], late[len(late)-1]
	t.Logf("%d events: median %s, p99 %s, most %s after the acknowledgement", len(late), median, late[len(late)*99/100], most)
	if median > time.Second {
		t.Errorf("the median is %s", median)
	}
}
