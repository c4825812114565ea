package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/history"
)

// workload is one kind of clients. Run is called once for each worker, and works
// until ctx ends.
type workload interface {
	Name() string
	Run(ctx context.Context, worker int, r *rand.Rand)
}

// Load is all the clients of a run.
type Load struct {
	Cluster  *arena.Cluster
	Recorder *history.Recorder
	Seed     uint64
	Names    []string // of workloads; empty: all
	Python   string   // an interpreter with the SDK; empty: none

	Left []string // workloads that were left out, and why

	sessions []*Session
	workers  []worker
}

type worker struct {
	w workload
	n int
}

// settings make room for what the workloads do.
var settings = map[string]string{"versions_kept": "100", "rate_per_second": "5000", "rate_burst": "5000"}

// Prepare opens the sessions. The cluster must be healthy.
func (l *Load) Prepare(ctx context.Context) error {
	for _, n := range l.Names {
		if !slices.Contains(names(), n) {
			return fmt.Errorf("there is no workload %q: use %s", n, strings.Join(names(), ", "))
		}
	}
	op, err := l.Cluster.Operator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = op.Close() }()
	for name, value := range settings {
		if _, err := op.SetSetting(ctx, name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	for _, name := range names() {
		if len(l.Names) > 0 && !slices.Contains(l.Names, name) {
			continue
		}
		if name == "python" {
			if err := pythonReady(ctx, l.Python); err != nil {
				l.Left = append(l.Left, "workload python: "+err.Error())
				continue
			}
		}
		if err := l.add(ctx, name); err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
	}
	return nil
}

func names() []string { return []string{"register", "scope", "list", "versions", "python"} }

func (l *Load) add(ctx context.Context, name string) error {
	callers := map[string][]string{
		"register": {"/agent/acme/register/main"}, "scope": scopeCallers, "list": {"/agent/acme/lister/main"}, "versions": {"/agent/acme/versions/main"},
	}
	var s []*Session
	for _, path := range callers[name] {
		one, err := Open(ctx, l.Cluster, l.Recorder, path)
		if err != nil {
			return err
		}
		s = append(s, one)
	}
	l.sessions = append(l.sessions, s...)
	switch name {
	case "register":
		l.employ(&Register{Session: s[0], Cluster: l.Cluster, Pause: 20 * time.Millisecond}, 5)
	case "scope":
		l.employ(&Scope{Sessions: s, Cluster: l.Cluster, Pause: 40 * time.Millisecond}, 3)
	case "list":
		l.employ(&Listing{Session: s[0], Cluster: l.Cluster, Pause: 60 * time.Millisecond}, 2)
	case "python":
		l.employ(&Python{Interpreter: l.Python, Cluster: l.Cluster, Recorder: l.Recorder}, 1)
	case "versions":
		l.employ(&Versioned{Session: s[0], Cluster: l.Cluster, Pause: 100 * time.Millisecond}, 3)
	}
	return nil
}

func (l *Load) employ(w workload, workers int) {
	for range workers {
		l.workers = append(l.workers, worker{w, len(l.workers)})
	}
}

// Begin starts all workers; the function that it returns waits for them, after
// ctx has ended, and closes their connections.
func (l *Load) Begin(ctx context.Context) func() {
	var wg sync.WaitGroup
	for _, w := range l.workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w.w.Run(ctx, w.n, rand.New(rand.NewPCG(l.Seed, uint64(w.n)+100)))
		}()
	}
	return func() {
		wg.Wait()
		var errs []error
		for _, s := range l.sessions {
			errs = append(errs, s.Close())
		}
		_ = errors.Join(errs...)
	}
}

// last is implemented by workloads that read again, at the end, what was written.
type last interface {
	Last(ctx context.Context, r *rand.Rand)
}

// Last reads again what was written.
func (l *Load) Last(ctx context.Context) {
	r := rand.New(rand.NewPCG(l.Seed, 99))
	done := map[workload]bool{}
	for _, w := range l.workers {
		if reader, ok := w.w.(last); ok && !done[w.w] {
			reader.Last(ctx, r)
		}
		done[w.w] = true
	}
}
