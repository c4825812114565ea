package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/history"
)

const (
	scopePaths = 3 // of each kind
	tenantWide = "spiffe://" + arena.TrustDomain + "/agent/acme/*"
	alphaWide  = "spiffe://" + arena.TrustDomain + "/agent/acme/alpha/*"
	research   = "spiffe://" + arena.TrustDomain + "/agent/acme/alpha/researcher"
)

// scopeCallers are who takes part: three processes of an agent, its neighbours in
// the tenant and outside, and the tenant's provisioner.
var scopeCallers = []string{
	"/agent/acme/alpha/main", "/agent/acme/alpha/researcher", "/agent/acme/alpha/writer", "/agent/acme/beta/main",
	"/agent/globex/alpha/main", "/hexr/provisioner/acme/pipe",
}

// indexes into scopeCallers.
const (
	alphaMain = iota
	alphaResearcher
	alphaWriter
	betaMain
	globexMain
	provisioner
)

// Scope is callers of several agents, processes and tenants who read what they
// may and what they may not. Nothing of it is ever deleted: what an answer must be
// is known once its secret was put.
type Scope struct {
	Sessions []*Session // of scopeCallers
	Cluster  *arena.Cluster
	Pause    time.Duration

	values atomic.Uint64
	put    [len(scopeKinds)][scopePaths]atomic.Bool // acknowledged
}

// scopeKind is a kind of secret: where it is, who puts it, and what becomes of the
// gets of each caller, in the order of scopeCallers.
type scopeKind struct {
	prefix, scope, full string
	putters             []int
	get                 [provisioner]history.Outcome
}

var scopeKinds = [...]scopeKind{
	{"shared", "", alphaWide, []int{alphaMain, alphaResearcher, alphaWriter},
		[provisioner]history.Outcome{history.OK, history.OK, history.OK, history.NotFound, history.NotFound}},
	{"notes", "researcher", research, []int{alphaMain, alphaResearcher},
		[provisioner]history.Outcome{history.Denied, history.OK, history.Denied, history.NotFound, history.NotFound}},
	{"tenant", tenantWide, tenantWide, []int{provisioner},
		[provisioner]history.Outcome{history.OK, history.OK, history.OK, history.OK, history.NotFound}},
}

// Name of the workload.
func (w *Scope) Name() string { return "scope" }

// Run works until ctx ends.
func (w *Scope) Run(ctx context.Context, worker int, r *rand.Rand) {
	for ctx.Err() == nil {
		kind, path := r.IntN(len(scopeKinds)), r.IntN(scopePaths)
		switch n := r.IntN(100); {
		case n < 15 || !w.put[kind][path].Load():
			w.write(ctx, worker, r, kind, path)
		case n < 75:
			w.read(ctx, worker, r, kind, path)
		case n < 85:
			w.list(ctx, worker, r)
		default:
			w.trespass(ctx, worker, r, kind, path)
		}
		rest(ctx, r, w.Pause)
	}
}

func (w *Scope) do(ctx context.Context, r *rand.Rand, caller int, o history.Op) history.Op {
	return w.Sessions[caller].Do(ctx, r, pick(r, w.Cluster.Members()), o)
}

func scopePath(kind, path int) string { return fmt.Sprintf("%s/%d", scopeKinds[kind].prefix, path) }

func (w *Scope) write(ctx context.Context, worker int, r *rand.Rand, kind, path int) {
	k := scopeKinds[kind]
	o := w.do(ctx, r, k.putters[r.IntN(len(k.putters))], history.Op{
		Workload: w.Name(), Worker: worker, Kind: history.Put, Path: scopePath(kind, path), Scope: k.scope,
		Value: fmt.Sprintf("%s|%d", k.full, w.values.Add(1)), Must: history.OK,
	})
	if o.Outcome == history.OK {
		w.put[kind][path].Store(true)
	}
}

func (w *Scope) read(ctx context.Context, worker int, r *rand.Rand, kind, path int) {
	caller := r.IntN(provisioner)
	w.do(ctx, r, caller, history.Op{
		Workload: w.Name(), Worker: worker, Kind: history.Get, Path: scopePath(kind, path), Must: scopeKinds[kind].get[caller],
	})
}

func (w *Scope) list(ctx context.Context, worker int, r *rand.Rand) {
	w.do(ctx, r, r.IntN(provisioner), history.Op{Workload: w.Name(), Worker: worker, Kind: history.List, Must: history.OK})
}

// trespass names a scope that the caller has no part in, to read or to write.
func (w *Scope) trespass(ctx context.Context, worker int, r *rand.Rand, kind, path int) {
	o := history.Op{
		Workload: w.Name(), Worker: worker, Kind: history.Get, Path: scopePath(kind, path), Scope: scopeKinds[kind].full, Must: history.Denied,
	}
	if r.IntN(2) == 0 {
		o.Kind, o.Value = history.Put, fmt.Sprintf("trespass|%d", w.values.Add(1))
	}
	w.do(ctx, r, globexMain, o)
}
