package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// flooded is a cluster with a flood on one of its nodes, and a neighbour of the
// flooding caller at the same node.
type flooded struct {
	t         testing.TB
	c         *dev.Cluster
	dir, node string
	neighbour *client.Client
	auditor   *client.Client
	web       *http.Client // keeps its connection
	nodes     []dev.NodeInfo
	flood     int  // the process that floods, or 0
	yields    bool // it has the processors that nobody else wants
}

func newFlooded(t testing.TB) *flooded {
	t.Helper()
	dir := t.TempDir()
	c, err := dev.Start(t.Context(), dev.Config{Dir: dir, Program: binary(t), Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	f := &flooded{t: t, c: c, dir: dir, node: c.Addresses()[1], nodes: c.Nodes(t.Context())} // mostly a follower
	cfg, err := flooderTLS(dir, "/hexr/auditor/ben")
	if err != nil {
		t.Fatal(err)
	}
	f.web = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: cfg}}
	t.Cleanup(f.web.CloseIdleConnections)
	f.neighbour, f.auditor = f.dial("acme/bot"), f.dial("/hexr/auditor/ben")
	if _, err := f.dial("/hexr/operator/ann").SetSetting(t.Context(), "jwt_svid", "true"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.neighbour.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *flooded) dial(id string) *client.Client {
	f.t.Helper()
	w, err := f.c.Serve(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = w.Close() })
	c, err := client.Dial(f.t.Context(), client.Config{Addrs: []string{f.node}, Socket: w.Address(), Timeout: 20 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// begin starts a flood in a process of its own; end stops it and says what became
// of it.
func (f *flooded) begin(kind string) (end func() map[string]int64) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asFlooder+"="+kind+"|"+f.node+"|"+f.dir)
	if f.yields {
		cmd.Env = append(cmd.Env, yielding+"=please")
	}
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		f.t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.flood = cmd.Process.Pid
	return func() map[string]int64 {
		f.t.Helper()
		defer cancel()
		f.flood = 0
		_ = in.Close()
		var counts map[string]int64
		if err := json.NewDecoder(out).Decode(&counts); err != nil {
			f.t.Fatalf("the flood of %s: %v", kind, err)
		}
		_ = cmd.Wait()
		return counts
	}
}

// metrics of the flooded node.
func (f *flooded) metrics() map[string]float64 {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, "https://"+f.node+"/metrics", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := f.web.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	out := map[string]float64{}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 1<<20))
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			out[name] = v
			for _, reason := range []string{"RATE_LIMITED", "TOO_MANY_IN_FLIGHT", "TOO_MANY_STREAMS"} {
				if strings.Contains(name, `answer="`+reason) {
					out[refusals] += v
				}
			}
		}
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return out
}

// p99 measures the neighbour: 4 workers that get and put for a while, within the
// rate of one caller.
func (f *flooded) p99(d time.Duration) time.Duration {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	var mu sync.Mutex
	var took []time.Duration
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			tick := time.NewTicker(6 * time.Millisecond)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				<-tick.C
				begin := time.Now()
				var err error
				if n%5 == 0 {
					_, err = f.neighbour.Put(f.t.Context(), fmt.Sprint("p", w), []byte("value"), client.PutOptions{})
				} else {
					_, err = f.neighbour.Get(f.t.Context(), "k")
				}
				if err != nil {
					f.t.Errorf("the neighbour: %v", err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(begin))
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// told are the floods that get an answer, and so hear that they are refused; the
// others find their connections closed, or get none: each of theirs needs a
// handshake, and those are paced.
var told = []string{"reads", "denials", "big batches", "large puts", "carried calls", "bad tokens", "silent calls", "endless stream"}

// TestFloods: one caller that floods a node in every way costs it a bounded amount,
// is told so, and neither its neighbour's calls nor raft's heartbeats fail.
func TestFloods(t *testing.T) {
	f := newFlooded(t)
	before := f.metrics()
	for kind := range floods {
		t.Run(kind, func(t *testing.T) {
			f.t = t
			for try := range 3 {
				if calm, flood := f.elections(kind, before); calm > 0 || flood == 0 {
					t.Logf("elections: %v in calm, %v in the flood", calm, flood)
					return
				}
				t.Logf("try %d: there was an election", try) // the machine's, or the flood's doing
			}
			t.Error("raft elects whenever the flood comes, and not without it")
		})
	}
	f.t = t
	until(t, "the audit to hear of it", func() bool {
		for r, err := range f.auditor.AuditQuery(t.Context(), &hexrv1.QueryRequest{Operation: "throttled", PageSize: 1000}) {
			if err == nil && r.GetDetail() == "spiffe://hexr.cloud"+flooderID && r.GetVersion() > 0 {
				return true
			}
		}
		return false
	})
}

// elections counts raft's terms in some calm and in a flood as long, and holds what
// the flood costs against its bounds.
func (f *flooded) elections(kind string, before map[string]float64) (calm, flood float64) {
	f.t.Helper()
	start := f.metrics()
	f.p99(time.Second)
	idle := f.metrics()
	begun, end := time.Now(), f.begin(kind)
	f.p99(time.Second)
	during := f.metrics()
	refused := !slices.Contains(told, kind)
	for tries := 0; !refused && tries < 50; tries++ {
		f.p99(100 * time.Millisecond)
		refused = f.metrics()[refusals] > idle[refusals]
	}
	took := time.Since(begun)
	counts := end()
	if rate := float64(counts["sent"]) / took.Seconds(); !refused && (rate > f.rate(kind) || f.rate(kind) == 0) {
		f.t.Errorf("a flood of %.0f calls a second was not refused", rate)
	} // else this machine is too slow for it
	f.t.Logf("%v; %.1f s of the processor in 1 s, %.1f before; %v goroutines, %v descriptors, %.0f MiB", counts,
		during[cpu]-idle[cpu], idle[cpu]-start[cpu], during["go_goroutines"], during["process_open_fds"],
		during["process_resident_memory_bytes"]/(1<<20))
	for name, most := range map[string]float64{
		"go_goroutines": before["go_goroutines"] + 2200, "process_open_fds": before["process_open_fds"] + 800,
		"process_resident_memory_bytes": memoryMost(),
	} {
		if during[name] > most {
			f.t.Errorf("%s is %v, want at most %v", name, during[name], most)
		}
	}
	return idle[raftTerm] - start[raftTerm], during[raftTerm] - idle[raftTerm]
}

// memoryMost bounds a node's memory; the race detector, which it has in a long run, takes
// as much again.
func memoryMost() float64 {
	if testing.Short() {
		return 1 << 30
	}
	return 2 << 30
}

// rate of calls that a limit refuses in any case; 0: what is refused is their
// number at once.
func (f *flooded) rate(kind string) float64 {
	const limit = 1000
	switch kind {
	case "reads", "denials", "large puts", "carried calls", "bad tokens":
		return limit
	case "big batches":
		return limit / 100
	}
	return 0
}

const (
	cpu      = "process_cpu_seconds_total"
	raftTerm = "hexrd_raft_term"
	// refusals is the sum of what the limits refused, made by metrics.
	refusals = "refusals"
)

// BenchmarkNeighbour measures what a flood does to another caller of the same
// node: its p99 with and without, in turns. All is on one machine, where a flood
// that others send is not; so the flood has the time of processors that nobody else
// wants (see yieldProcessors). How much it sent, and what it cost the node, is reported
// beside the ratio: a flood that came to nothing would show there.
func BenchmarkNeighbour(b *testing.B) {
	f := newFlooded(b)
	f.yields = true
	kinds := make([]string, 0, len(floods))
	for kind := range floods {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	f.p99(2 * time.Second) // warm up
	for _, kind := range kinds {
		b.Run(strings.ReplaceAll(kind, " ", "-"), func(b *testing.B) {
			f.t = b
			for range b.N {
				f.compare(b, kind)
			}
		})
	}
}

const (
	benchRounds = 3
	// floodLead lets a flood come to its steady state: what holds its first seconds
	// back alone would hide what costs later.
	floodLead = 4 * time.Second
)

func (f *flooded) compare(b *testing.B, kind string) {
	var without, with []time.Duration
	var calm, busy, flooding, sent float64
	for range benchRounds {
		start := f.spent()
		without = append(without, f.p99(2*time.Second))
		node, _ := f.spent().since(start)
		calm += node / benchRounds
		begun, end := time.Now(), f.begin(kind)
		f.p99(floodLead)
		start = f.spent()
		with = append(with, f.p99(2*time.Second))
		node, flood := f.spent().since(start)
		busy, flooding = busy+node/benchRounds, flooding+flood/benchRounds
		took := time.Since(begun).Seconds()
		sent += float64(end()["sent"]) / took / benchRounds
	}
	slices.Sort(without)
	slices.Sort(with)
	base, flood := without[benchRounds/2], with[benchRounds/2]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(base.Microseconds())/1000, "ms-p99-without")
	b.ReportMetric(float64(flood.Microseconds())/1000, "ms-p99-with")
	b.ReportMetric(float64(flood)/float64(base), "ratio")
	b.ReportMetric(sent, "sent/s")
	b.ReportMetric(calm, "cpu-node-without")
	b.ReportMetric(busy, "cpu-node-with")
	b.ReportMetric(flooding, "cpu-flood")
}
