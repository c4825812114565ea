package hexrd

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/node"
)

const (
	askTimeout  = 2 * time.Second
	askInterval = time.Second
)

// admission says who may open a raft stream: the IDs of the raft configuration,
// as this node knows it. For a node that it does not know it asks the members
// that it does know, since a follower that lags must not lock out a new leader.
type admission struct {
	node  atomic.Pointer[node.Node]
	td    string
	peers *cluster.Peers

	mu     sync.Mutex
	known  map[string]string // node ID to address, of those that admitted this node
	asked  time.Time
	change chan struct{}
}

func newAdmission(td string, peers *cluster.Peers) *admission {
	return &admission{td: td, peers: peers, known: map[string]string{}, change: make(chan struct{})}
}

// learn adds members that admitted this node.
func (a *admission) learn(members []*clusterpb.Member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range members {
		a.known[m.GetId()] = m.GetAddress()
	}
}

func (a *admission) store() *fsm.Store {
	if n := a.node.Load(); n != nil {
		return n.Store()
	}
	return nil
}

// servers is raft's configuration as this node knows it: the latest in its log,
// and what is committed.
func (a *admission) servers() map[string]string {
	out := map[string]string{}
	n := a.node.Load()
	if n == nil {
		return out
	}
	for _, srv := range n.Store().Configuration().GetServers() {
		out[srv.GetId()] = srv.GetAddress()
	}
	for _, srv := range n.Servers() {
		out[srv.ID] = srv.Address
	}
	return out
}

// resolve is the ID of the member at an address: raft dials exactly that node.
func (a *admission) resolve(addr string) (string, bool) {
	for id, at := range a.servers() {
		if at == addr {
			return id, true
		}
	}
	return "", false
}

func (a *admission) IsMember(id string) bool {
	servers := a.servers()
	if _, ok := servers[id]; ok {
		return true
	}
	if len(servers) == 0 { // the members that admitted this node are all it knows
		a.mu.Lock()
		_, known := a.known[id]
		a.mu.Unlock()
		if known {
			return true
		}
	}
	return a.ask(id)
}

// ask looks the ID up in the configurations that the known members hold, the
// newest of them that is newer than this node's own: who lags behind it may still
// have a member that was removed. Nobody vouches for itself. It is rate-limited:
// strangers can't make it a load.
func (a *admission) ask(id string) bool {
	a.mu.Lock()
	if time.Since(a.asked) < askInterval {
		a.mu.Unlock()
		return false
	}
	a.asked = time.Now()
	members := maps.Clone(a.known) // those of an old configuration may all be gone
	a.mu.Unlock()
	maps.Copy(members, a.servers())
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	delete(members, id)
	var newest uint64
	if s := a.store(); s != nil {
		newest = s.Configuration().GetIndex()
	}
	answers := make(chan *clusterpb.StatusResponse, len(members))
	for peer, addr := range members {
		go func() { // ends with ctx
			status, err := a.peers.Status(ctx, peer, addr, "")
			if err != nil {
				status = nil
			}
			answers <- status
		}()
	}
	found := false
	for range members {
		status := <-answers
		if status.GetConfigurationIndex() <= newest {
			continue
		}
		newest, found = status.GetConfigurationIndex(), false
		for _, m := range status.GetMembers() {
			if m.GetId() == id {
				found = true
			}
		}
	}
	return found
}

func (a *admission) Changed() <-chan struct{} {
	if s := a.store(); s != nil {
		return s.Changed()
	}
	return a.change // closed once the node is there
}

// opened tells who waits that the node is there.
func (a *admission) opened(n *node.Node) {
	a.node.Store(n)
	close(a.change)
}

func (a *admission) Blocked(p cluster.Peer) bool {
	s := a.store()
	if s == nil || p.ID == "" {
		return false
	}
	caller, err := fsm.ParseCaller(p.ID, a.td)
	return err == nil && s.BlockedCaller(caller)
}
