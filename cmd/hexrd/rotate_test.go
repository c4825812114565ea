package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// TestRotationUnderKills: rotators are killed at any point, and nodes all the
// while. A reader always gets a version, never an older one than before, and the
// same value for the same version; in the end exactly one version is current and
// none is pending.
func TestRotationUnderKills(t *testing.T) {
	t.Parallel()
	c, _ := startCluster(t, "bolt")
	w, err := c.Serve(t.Context(), "acme/bot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	cl := dialWith(t, w, c.Addresses())
	if _, err := cl.Put(t.Context(), "k", []byte("the first value"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var reads atomic.Int64
	var wg, readers sync.WaitGroup
	var values sync.Map
	for range 3 {
		reader := dialAs(t, c, "acme/bot/reader", c.Addresses()...)
		readers.Go(func() { readAlways(t, ctx, reader, &values, &reads) })
	}
	finished := make(chan struct{})
	killed, done := 0, 0
	wg.Go(func() { killed, done = killRotators(t, c, w, count(t, 6)) })
	go func() { wg.Wait(); close(finished) }()
	kills := killAll(t, c, finished)
	rotations := settle(t, cl)
	stop()
	readers.Wait()
	t.Logf("%d rotators killed, %d done, %d nodes killed, %d rotations, %d reads", killed, done, kills, rotations, reads.Load())
	checkOneCurrent(t, c, cl, rotations)
}

func readAlways(t *testing.T, ctx context.Context, c *client.Client, values *sync.Map, reads *atomic.Int64) {
	last := uint64(0)
	for ctx.Err() == nil {
		s, err := c.Get(ctx, "k")
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.Errorf("a reader has no version: %v", err)
			return
		case s.Version < last:
			t.Errorf("a reader got version %d after %d", s.Version, last)
			return
		}
		if known, _ := values.LoadOrStore(s.Version, s.Text()); known != s.Text() {
			t.Errorf("version %d has two values", s.Version)
			return
		}
		last = s.Version
		reads.Add(1)
	}
}

// killRotators runs `hexrd rotate` as processes that are killed after a while: a
// longer one after each that was killed, a shorter one after each that was done, so
// that they die at every point. It goes on until enough of both were seen.
func killRotators(t *testing.T, c *dev.Cluster, w *dev.WorkloadServer, enough int) (killed, done int) {
	patience := 500 * time.Millisecond
	for killed < enough || done < enough/3 {
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(patience))
		cmd, out := node(t, ctx, w, "rotate", "k", "--length", "24", "--lease", "1s", "--addr", strings.Join(c.Addresses(), ","))
		err := cmd.Run()
		switch code := cmd.ProcessState.ExitCode(); {
		case err == nil:
			done++
			patience = max(patience*2/3, 200*time.Millisecond)
		case ctx.Err() != nil:
			killed++
			patience = min(patience*6/5, 5*time.Second)
		case code != exitConflict && code != exitUnavailable:
			t.Errorf("rotate: %v: %s", err, out)
			cancel()
			return killed, done
		}
		cancel()
	}
	return killed, done
}

// settle rotates once more, as soon as the lease of what was killed has ended, and
// counts what became current.
func settle(t *testing.T, c *client.Client) (rotations int) {
	t.Helper()
	until(t, "the last lease to end", func() bool {
		_, err := c.Rotate(t.Context(), "k", client.RotateOptions{Generate: client.Key(32)})
		if err != nil && !errors.Is(err, client.ErrRotating) {
			t.Fatal(err)
		}
		return err == nil
	})
	for r, err := range c.AuditQuery(t.Context(), &hexrv1.QueryRequest{Operation: "rotate.commit", Outcome: "granted"}) {
		if err != nil {
			t.Fatal(err)
		}
		_ = r
		rotations++
	}
	return rotations
}

func checkOneCurrent(t *testing.T, c *dev.Cluster, cl *client.Client, rotations int) {
	t.Helper()
	resp, err := cl.Versions(t.Context(), "k", "")
	if err != nil {
		t.Fatal(err)
	}
	current := 0
	for _, v := range resp.GetVersions() {
		if v.GetCurrent() {
			current++
		}
		if v.GetPending() {
			t.Errorf("version %d is pending", v.GetVersion())
		}
	}
	if current != 1 {
		t.Errorf("%d versions are current", current)
	}
	events := 0
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err = dialAs(t, c, "acme/bot", c.Addresses()...).Watch(ctx, client.WatchOptions{After: "0"}, func(e *hexrv1.WatchEvent) error {
		if e.GetType() == hexrv1.WatchEvent_ROTATE {
			if events++; events == rotations {
				stop()
			}
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || events != rotations {
		t.Errorf("%d events of %d rotations: %v", events, rotations, err)
	}
	agree(t, dialAs(t, c, "/hexr/auditor/test", c.Addresses()...))
}

// TestWatchAndRotateCommands runs the verbs as a script would.
func TestWatchAndRotateCommands(t *testing.T) {
	t.Parallel()
	c, _ := startCluster(t, "bolt")
	w, err := c.Serve(t.Context(), "acme/bot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	addrs := strings.Join(c.Addresses(), ",")
	run := func(stdin string, code int, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd, out := node(t, ctx, w, append(args, "--addr", addrs)...)
		cmd.Stdin = strings.NewReader(stdin)
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("%v: exit code %d, want %d: %v %s", args, got, code, err, out)
		}
		return out.String()
	}
	watching, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd, _ := node(t, watching, w, "watch", "db/", "-o", "json", "--bookmarks", "--addr", addrs)
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(kind string) map[string]any {
		t.Helper()
		for lines.Scan() {
			var e map[string]any
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			if e["type"] == kind {
				return e
			}
		}
		t.Fatalf("the watch ended without %s: %v", kind, lines.Err())
		return nil
	}
	next("bookmark")
	run("first", 0, "put", "db/password", "--rotation", "1s")
	run("other", 0, "put", "elsewhere")
	if e := next("put"); e["path"] != "db/password" || e["version"] != 1.0 {
		t.Errorf("%v", e)
	}
	next("overdue")
	if got := run("", 0, "list", "--overdue", "-o", "json"); !strings.Contains(got, `"path":"db/password"`) || strings.Contains(got, "elsewhere") {
		t.Errorf("overdue: %s", got)
	}
	run("second", 0, "rotate", "db/password", "--grace", "1h", "--verify", "grep -qx second")
	if e := next("rotate"); e["version"] != 2.0 {
		t.Errorf("%v", e)
	}
	if got := run("", 0, "get", "db/password") + run("", 0, "get", "db/password", "--version", "1"); got != "secondfirst" {
		t.Errorf("current and previous are %q", got)
	}
	run("third", 1, "rotate", "db/password", "--verify", "grep -qx second")
	if got := run("", 0, "get", "db/password"); got != "second" {
		t.Errorf("after a test that failed, %q is current", got)
	}
	run("", 0, "rotate", "db/password", "--length", "20", "--alphabet", "abc")
	if got := run("", 0, "get", "db/password"); len(got) != 20 || strings.Trim(got, "abc") != "" {
		t.Errorf("a password is %q", got)
	}
	run("", 0, "rotate", "db/password", "--bytes", "32")
	if got := run("", 0, "get", "db/password"); len(got) != 43 {
		t.Errorf("a key is %q", got)
	}
	run("", 0, "rotate", "db/password", "--every", "90d")
	if got := run("", 0, "describe", "db/password"); !strings.Contains(got, "rotation every 90d, due ") {
		t.Errorf("describe: %s", got)
	}
	run("", 2, "rotate", "db/password", "--every", "often")
	run("", 2, "rotate", "db/password", "--alphabet", "abc")
	run("", 2, "rotate", "db/password", "--bytes", "32", "--length", "20")
	run("", 3, "rotate", "nothing", "--bytes", "32")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // to its end
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("an interrupted watch ends with %v", err)
	}
}
