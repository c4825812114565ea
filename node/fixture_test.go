package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const agentID = "spiffe://hexr.cloud/agent/acme/bot/main"

// group is nodes in one process, over real sockets and disks.
type group struct {
	t      *testing.T
	store  string
	keys   *seal.Keyring
	dir    string
	limit  Limits
	refuse func(*fsmpb.Access) fsmpb.Outcome
	late   time.Duration // Timers.Late
	timers Timers        // zero fields: short ones
	log    *record

	mu       sync.Mutex
	off      map[string]time.Duration                                  // by which a node's clock is wrong
	hold     func(ctx context.Context, from string, p *fsmpb.Proposal) // nil: proposals go through at once
	disk     func(id string, logs raft.LogStore) raft.LogStore         // what a node's log is written to; nil: as it is
	asked    func(from string) error                                   // what is wrong with who asks; nil: nothing
	answered func(from string, reply []byte)                           // nil: answers come at once
	loses    func(from, addr string) bool                              // what a node writes to another is lost; nil: nothing
	nodes    map[string]*Node
	addrs    map[string]string
	lis      map[string]net.Listener
}

func newGroup(t *testing.T, store string) *group {
	t.Helper()
	keys, err := seal.NewKeyring([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	g := &group{t: t, store: store, keys: keys, log: &record{}, dir: t.TempDir(), off: map[string]time.Duration{}, nodes: map[string]*Node{}, addrs: map[string]string{}, lis: map[string]net.Listener{}}
	t.Cleanup(func() {
		for _, l := range g.lis {
			_ = l.Close() // raft waits for who connects to a node that ended, and is in its backlog
		}
		for id := range g.addrs {
			g.stop(id)
		}
	})
	return g
}

func (g *group) offset(id string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.off[id]
}

// shift makes nodes' clocks wrong, all at once.
func (g *group) shift(by time.Duration, ids ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		g.off[id] = by
	}
}

func (g *group) node(id string) *Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.nodes[id]
}

func (g *group) config(id string, bootstrap, joining bool) Config {
	addr := g.addrs[id]
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.addrs[id], g.lis[id] = l.Addr().String(), l
	c := Config{
		ID: id, Dir: filepath.Join(g.dir, id), Address: g.addrs[id], LogStore: g.store, Keys: g.keys,
		InstallKeys: func(context.Context, []byte) error { return nil }, ExportKeys: g.keys.Export,
		Stream: wires{tcp{l}, link{g, id}}, Forward: link{g, id}, Logger: slog.New(slog.NewTextHandler(g.log, nil)), Joining: joining, Limits: g.limit,
		Now: func() time.Time { return time.Now().Add(g.offset(id)) }, Refuse: g.refuse,
		Timers: g.timers,
	}
	c.Timers.Late = g.late
	or(&c.Timers.Heartbeat, 300*time.Millisecond)
	or(&c.Timers.Election, 300*time.Millisecond)
	or(&c.Timers.Lease, 200*time.Millisecond)
	if bootstrap {
		c.Bootstrap = &Bootstrap{TrustDomain: "hexr.cloud", AuditKey: make([]byte, 32), Settings: &fsmpb.Settings{JoinWithoutToken: true}}
	}
	return c
}

func (g *group) start(id string, bootstrap, joining bool) *Node {
	g.t.Helper()
	if err := os.MkdirAll(filepath.Join(g.dir, id), 0o700); err != nil {
		g.t.Fatal(err)
	}
	n, err := Open(g.t.Context(), g.config(id, bootstrap, joining))
	if err != nil {
		g.t.Fatal(err)
	}
	if g.disk != nil {
		n.logs = g.disk(id, n.logs)
	}
	g.mu.Lock()
	g.nodes[id] = n
	g.mu.Unlock()
	if err := n.Start(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	return n
}

func (g *group) stop(id string) {
	g.mu.Lock()
	n := g.nodes[id]
	delete(g.nodes, id)
	g.mu.Unlock()
	if l := g.lis[id]; l != nil {
		_ = l.Close()
	}
	if n != nil {
		_ = n.Close(context.Background())
	}
}

// three makes a group of three voters.
func three(t *testing.T, store string, limit Limits) *group {
	t.Helper()
	g := newGroup(t, store)
	g.limit = limit
	g.voters()
	return g
}

// voters starts three.
func (g *group) voters() {
	g.t.Helper()
	g.start("n1", true, false)
	for _, id := range []string{"n2", "n3"} {
		g.start(id, false, true)
		g.add(id)
	}
}

func (g *group) add(id string) {
	g.t.Helper()
	results, _, err := g.leader().Do(g.t.Context(), []*fsmpb.Access{{
		Caller: "spiffe://hexr.cloud/hexr/node/" + id, Svid: fsmpb.SVIDKind_SVID_KIND_NONE,
		Op: &fsmpb.Access_Join{Join: &fsmpb.Join{Address: g.addrs[id], AuditKey: make([]byte, 32)}},
	}})
	if err != nil || results[0].GetOutcome() != fsmpb.Outcome_OUTCOME_GRANTED {
		g.t.Fatal(err, results)
	}
	g.changed("add "+id, func(leader *Node) error { return leader.AddNonvoter(g.t.Context(), id, g.addrs[id]) })
	g.until(id+" to catch up", func() bool { return g.node(id).Store().AppliedIndex() >= g.leader().Store().AppliedIndex() })
	g.changed("promote "+id, func(leader *Node) error { return leader.AddVoter(g.t.Context(), id, g.addrs[id]) })
}

// changed makes a change at whoever leads: leadership may move on a busy machine.
func (g *group) changed(what string, change func(leader *Node) error) {
	g.t.Helper()
	g.until(what, func() bool { return change(g.leader()) == nil })
}

// until waits for a condition, for at most a minute.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (g *group) until(what string, ok func() bool) {
	g.t.Helper()
	until(g.t, what, ok)
}

func (g *group) leader() *Node {
	g.t.Helper()
	var leader *Node
	g.until("a leader", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for id, n := range g.nodes {
			if at, _ := n.Leader(); at == id {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}

func (g *group) follower() *Node {
	g.t.Helper()
	if n := g.node("n2"); n != g.leader() {
		return n
	}
	return g.node("n3")
}

func (g *group) put(n *Node, path string) error { return g.do(n, putOf(path)) }

func putOf(path string) *fsmpb.Access {
	digest := sha256.Sum256([]byte(path))
	return &fsmpb.Access{RequestDigest: digest[:], Op: &fsmpb.Access_Put{Put: &fsmpb.Put{
		Path: path, Scope: "spiffe://hexr.cloud/agent/acme/bot/*", Sealed: []byte("sealed value of " + path), Size: 1,
	}}}
}

func (g *group) get(n *Node, path string) error {
	return g.do(n, &fsmpb.Access{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: path}}})
}

func (g *group) do(n *Node, a *fsmpb.Access) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), 15*time.Second)
	defer cancel()
	asAgent(a)
	for {
		a.Salt, a.Seen = nil, 0
		results, _, err := n.Do(ctx, []*fsmpb.Access{a})
		if errors.Is(err, ErrUnknownOutcome) && ctx.Err() == nil { // again, under the same request id
			continue
		}
		if err != nil {
			return err
		}
		switch o := results[0].GetOutcome(); o {
		case fsmpb.Outcome_OUTCOME_GRANTED, fsmpb.Outcome_OUTCOME_REPLAYED:
			return nil
		default:
			return fmt.Errorf("outcome %s", o)
		}
	}
}

func asAgent(a *fsmpb.Access) {
	a.Caller, a.Svid = agentID, fsmpb.SVIDKind_SVID_KIND_X509
	a.Expires = time.Now().Add(time.Hour).UnixNano()
}

func (g *group) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// agree says that all nodes come to hold the same rows.
func (g *group) agree() {
	g.t.Helper()
	size := g.leader().Store().AuditSize()
	want, err := g.leader().Store().Root(size)
	g.must(err)
	for id := range g.addrs {
		n := g.node(id)
		g.until(id+" to have the rows", func() bool { return n.Store().AuditSize() >= size })
		if got, err := n.Store().Root(size); err != nil || got != want {
			g.t.Errorf("%s holds another root: %v", id, err)
		}
	}
}

func onBoth(t *testing.T, run func(t *testing.T, store string)) {
	for _, store := range []string{LogStoreBolt, LogStoreWAL} {
		t.Run(store, func(t *testing.T) { run(t, store) })
	}
}

// record keeps what the nodes log.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) holds(s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.text.String(), s)
}
