package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// asProgram makes the test binary behave as hexrd itself: the nodes of these
// tests are real processes of it.
const asProgram = "HEXRD_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if spec := os.Getenv(asFlooder); spec != "" {
		if err := runFlood(spec); err != nil {
			panic(err)
		}
		return
	}
	if os.Getenv(asThreads) != "" {
		if err := runThreads(); err != nil {
			panic(err)
		}
		return
	}
	if testing := len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-test."); os.Getenv(asProgram) != "" && !testing { // a fuzz worker is
		main()
	}
	if err := os.Setenv(asProgram, "1"); err != nil {
		panic(err)
	}
	code := m.Run()
	if faultyDir != "" {
		_ = os.RemoveAll(faultyDir)
	}
	os.Exit(code)
}

// count is how much a test does: little in `make test`, HEXRD_OPERATIONS by hand.
func count(t *testing.T, few int) int {
	t.Helper()
	if s := os.Getenv("HEXRD_OPERATIONS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return few
}

func startCluster(t *testing.T, store string, nodeArgs ...string) (*dev.Cluster, string) {
	t.Helper()
	return startNodes(t, 3, store, nodeArgs...)
}

func startNodes(t *testing.T, nodes int, store string, nodeArgs ...string) (*dev.Cluster, string) {
	t.Helper()
	return startWith(t, dev.Config{Dir: t.TempDir(), Nodes: nodes, LogStore: store, NodeArgs: nodeArgs})
}

func startWith(t *testing.T, cfg dev.Config) (*dev.Cluster, string) {
	t.Helper()
	dir := cfg.Dir
	cfg.Ports = ports
	if cfg.Program == "" {
		cfg.Program = binary(t)
	}
	c, err := dev.Start(t.Context(), cfg)
	if err != nil {
		logs(t, dir)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			logs(t, dir)
		}
	})
	return c, dir
}

// agree verifies the audit once all three nodes show their roots: one that was just
// started may still be on its way.
func agree(t *testing.T, auditor *client.Client) {
	t.Helper()
	until(t, "all nodes to show their roots", func() bool {
		v := &verification{}
		err := v.run(t.Context(), auditor)
		if err != nil && len(v.absent) == 0 {
			t.Fatal(err)
		}
		return err == nil && len(v.agree) == 3
	})
}

func withTimeout(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), limit)
}

func logs(t *testing.T, dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "nodes", "*", "node.log"))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		t.Logf("%s:\n%s", f, data[max(0, len(data)-8000):])
	}
}

func dialAs(t *testing.T, c *dev.Cluster, id string, addrs ...string) *client.Client {
	t.Helper()
	w, err := c.Serve(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return dialWith(t, w, addrs)
}

func dialWith(t *testing.T, w *dev.WorkloadServer, addrs []string) *client.Client {
	t.Helper()
	cl, err := client.Dial(t.Context(), client.Config{Addrs: addrs, Socket: w.Address(), Timeout: 40 * time.Second, Retries: 200})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// TestNeverStale puts through one node and gets through another straight after.
func TestNeverStale(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"bolt", "wal"} {
		t.Run(store, func(t *testing.T) { neverStale(t, store, count(t, 300)) })
	}
}

func neverStale(t *testing.T, store string, rounds int) {
	c, _ := startCluster(t, store)
	w, err := c.Serve(t.Context(), "acme/reader")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	var nodes []*client.Client
	for _, addr := range c.Addresses() {
		nodes = append(nodes, dialWith(t, w, []string{addr}))
	}
	for i := range rounds {
		want := strconv.Itoa(i)
		if _, err := nodes[i%3].Put(t.Context(), "k", []byte(want), client.PutOptions{}); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		got, err := nodes[(i+1+i/3%2)%3].Get(t.Context(), "k")
		if err != nil || got.Text() != want {
			t.Fatalf("get %d: stale or failed: %v", i, err)
		}
	}
	rows := map[string]int{}
	auditor := dialAs(t, c, "/hexr/auditor/test", c.Addresses()...)
	query := &hexrv1.QueryRequest{Caller: "spiffe://" + c.TrustDomain() + "/agent/acme/reader/main", PageSize: 1000}
	for r, err := range auditor.AuditQuery(t.Context(), query) {
		if err != nil {
			t.Fatal(err)
		}
		rows[r.GetOperation()+" "+r.GetOutcome()]++
	}
	if len(rows) != 2 || rows["put granted"] != rounds || rows["get granted"] != rounds {
		t.Errorf("%d puts and gets have these rows: %v", rounds, rows)
	}
}

// writer is one agent that writes and reads its own paths through all nodes, and
// knows what it must read.
type writer struct {
	id    string
	cl    *client.Client
	acked map[string]uint64 // path to version
	gets  map[string]int
}

func (w *writer) step(ctx context.Context, i int) error {
	path := fmt.Sprintf("keys/%d", i%7)
	if i%2 == 0 {
		resp, err := w.cl.Put(ctx, path, []byte(fmt.Sprintf("value-%s-%d", path, i)), client.PutOptions{})
		if err != nil {
			return fmt.Errorf("put: %w", err)
		}
		if resp.GetVersion() != w.acked[path]+1 {
			return fmt.Errorf("put: version %d after %d: lost or applied twice", resp.GetVersion(), w.acked[path])
		}
		w.acked[path] = resp.GetVersion()
		return nil
	}
	got, err := w.cl.Get(ctx, path)
	switch {
	case errors.Is(err, client.ErrNotFound) && w.acked[path] == 0:
		return nil
	case err != nil:
		return fmt.Errorf("get: %w", err)
	case got.Version != w.acked[path]:
		return fmt.Errorf("get: version %d, acknowledged %d: stale or lost", got.Version, w.acked[path])
	}
	w.gets[path]++
	return nil
}

// TestKillsLoseNothing runs agents against three nodes that are killed and
// started again all the while.
func TestKillsLoseNothing(t *testing.T) {
	t.Parallel()
	for _, store := range logStores() {
		t.Run(store, func(t *testing.T) { killsLoseNothing(t, store, count(t, 800)) })
	}
}

// TestKillsLoseNothingAmongSnapshots does the same with a snapshot every few
// entries, and a log that keeps next to nothing: who was away comes back by one.
func TestKillsLoseNothingAmongSnapshots(t *testing.T) {
	t.Parallel()
	for _, store := range logStores() {
		t.Run(store, func(t *testing.T) {
			killsLoseNothing(t, store, count(t, 500), "--snapshot-entries", "20", "--trailing-entries", "3", "--snapshot-interval", "100ms")
		})
	}
}

func killsLoseNothing(t *testing.T, store string, operations int, nodeArgs ...string) {
	const agents = 8
	c, dir := startCluster(t, store, nodeArgs...)
	var writers []*writer
	for i := range agents {
		id := fmt.Sprintf("acme/agent-%d", i)
		writers = append(writers, &writer{id: id, cl: dialAs(t, c, id, c.Addresses()...), acked: map[string]uint64{}, gets: map[string]int{}})
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var done atomic.Int64
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range operations / agents {
				if err := w.step(ctx, i); err != nil {
					t.Errorf("%s, operation %d: %v", w.id, i, err)
					stop()
					return
				}
				done.Add(1)
			}
		}()
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	kills := killAll(t, c, finished)
	t.Logf("%d operations, %d kills", done.Load(), kills)
	if t.Failed() {
		return
	}
	checkAudit(t, c, writers)
	checkNothingReadable(t, dir)
	if taken, err := filepath.Glob(filepath.Join(dir, "nodes", "*", "data", "snapshots", "*", "meta")); len(nodeArgs) > 0 && len(taken) == 0 {
		t.Errorf("no snapshot was taken: the test shows nothing: %v", err)
	}
}

// killAll kills a node and starts it again, one after the other, until the work
// is finished; at least twice.
func killAll(t *testing.T, c *dev.Cluster, finished <-chan struct{}) int {
	kills := 0
	for {
		select {
		case <-finished:
			if kills >= 2 {
				return kills
			}
		default:
		}
		victim := []string{"n1", "n2", "n3", "leader"}[rand.IntN(4)]
		n, err := c.Signal(t.Context(), victim, "KILL")
		if err != nil {
			if victim == "leader" {
				continue // an election is under way
			}
			t.Error(err)
			<-finished
			return kills
		}
		kills++
		if _, err := c.StartNode(t.Context(), n.ID); err != nil {
			t.Error(err)
			<-finished
			return kills
		}
	}
}

// checkAudit finds exactly one granted row for each acknowledged put, at least
// one for each get, and the same root on all nodes.
func checkAudit(t *testing.T, c *dev.Cluster, writers []*writer) {
	t.Helper()
	auditor := dialAs(t, c, "/hexr/auditor/test", c.Addresses()...)
	for _, w := range writers {
		id := "spiffe://" + c.TrustDomain() + "/agent/" + w.id + "/main"
		puts, gets := map[string]map[uint64]int{}, map[string]int{}
		for r, err := range auditor.AuditQuery(t.Context(), &hexrv1.QueryRequest{Caller: id, Outcome: "granted", PageSize: 1000}) {
			if err != nil {
				t.Fatal(err)
			}
			switch r.GetOperation() {
			case "put":
				if puts[r.GetPath()] == nil {
					puts[r.GetPath()] = map[uint64]int{}
				}
				puts[r.GetPath()][r.GetVersion()]++
			case "get":
				gets[r.GetPath()]++
			}
		}
		for path, acked := range w.acked {
			for v := uint64(1); v <= acked; v++ {
				if puts[path][v] != 1 {
					t.Errorf("%s: version %d of %s has %d granted rows", w.id, v, path, puts[path][v])
				}
			}
			if gets[path] < w.gets[path] {
				t.Errorf("%s: %d gets of %s were answered, %d have rows", w.id, w.gets[path], path, gets[path])
			}
		}
	}
	agree(t, auditor)
}

// checkNothingReadable is grep -ra over data and logs.
func checkNothingReadable(t *testing.T, dir string) {
	t.Helper()
	eachFile(t, filepath.Join(dir, "nodes"), func(path string, data []byte) {
		for _, s := range []string{"value-keys", "keys/1", "acme/agent-", "/agent/acme"} {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("%q stands in clear in %s", s, strings.TrimPrefix(path, dir))
			}
		}
	})
}
