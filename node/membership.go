package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const configTimeout = 10 * time.Second

// Server is a member of raft's latest configuration, committed or not.
type Server struct {
	ID, Address string
	Voter       bool
}

// Servers is raft's latest configuration on this node; before raft runs, as its
// log and snapshots have it.
func (n *Node) Servers() []Server {
	r := n.raft.Load()
	if r == nil {
		return n.known
	}
	f := r.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return servers(f.Configuration())
}

func servers(c raft.Configuration) []Server {
	var out []Server
	for _, s := range c.Servers {
		out = append(out, Server{string(s.ID), string(s.Address), s.Suffrage == raft.Voter})
	}
	return out
}

func (n *Node) server(id string) (Server, bool) {
	for _, s := range n.Servers() {
		if s.ID == id {
			return s, true
		}
	}
	return Server{}, false
}

// leading returns raft if this node leads.
func (n *Node) leading() (*instance, error) {
	id, addr := n.Leader()
	if id != n.cfg.ID {
		return nil, &NotLeaderError{id, addr}
	}
	return n.raft.Load(), nil
}

// AddNonvoter adds a node that gets the log and does not vote. A member of that
// ID at that address is left as it is; at another it is ErrExists.
func (n *Node) AddNonvoter(ctx context.Context, id, addr string) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	if s, ok := n.server(id); ok {
		if s.Address == addr {
			return nil
		}
		return ErrExists
	}
	return n.config(ctx, r.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, configTimeout))
}

// AddVoter makes a member of raft's configuration a voter.
func (n *Node) AddVoter(ctx context.Context, id, addr string) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	return n.config(ctx, r.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, configTimeout))
}

// UpdateAddress changes the address of a member.
func (n *Node) UpdateAddress(ctx context.Context, id, addr string) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	s, ok := n.server(id)
	if !ok {
		return fmt.Errorf("%w: no such member", ErrInvalid)
	}
	if s.Voter {
		return n.config(ctx, r.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, configTimeout))
	}
	return n.config(ctx, r.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, configTimeout))
}

// CatchUp waits until this leader's store holds what was committed before: one that was
// elected just now may have it in its log alone.
func (n *Node) CatchUp(ctx context.Context) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	return n.config(ctx, r.Barrier(configTimeout))
}

// RemoveServer takes a node out of the configuration; one that is not in it is
// out already.
func (n *Node) RemoveServer(ctx context.Context, id string) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	if _, ok := n.server(id); !ok {
		return nil
	}
	return n.config(ctx, r.RemoveServer(raft.ServerID(id), 0, configTimeout))
}

// successor is the voter that answers and has applied the most. raft's own choice
// may be one that is down.
func (n *Node) successor(ctx context.Context) (best Server, found bool) {
	others, _ := n.majority()
	applied := uint64(0)
	n.ask(ctx, others, func(s Server, standing Standing) bool {
		if !found || standing.Applied > applied {
			best, found, applied = s, true, standing.Applied
		}
		return false
	})
	return best, found
}

// Transfer moves leadership to a node, or with an empty ID to the voter that is
// most up to date.
func (n *Node) Transfer(ctx context.Context, id string) error {
	r, err := n.leading()
	if err != nil {
		return err
	}
	if id == n.cfg.ID {
		return nil
	}
	s, ok := n.server(id)
	if id == "" {
		s, ok = n.successor(ctx)
	}
	if !ok || !s.Voter {
		return fmt.Errorf("%w: not a voter that answers", ErrInvalid)
	}
	return n.config(ctx, r.LeadershipTransferToServer(raft.ServerID(s.ID), raft.ServerAddress(s.Address)))
}

// config waits for a change of the configuration, or a barrier.
func (n *Node) config(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		id, addr := n.Leader()
		return &NotLeaderError{id, addr}
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

const (
	lookInterval = time.Second
	goneAfter    = 5 * time.Second
)

// watchMembership ends a node that was removed and is told no more: the leader
// stops replicating to it before it can say that the removal is committed. Where
// the removal did not come about after all, a leader is in contact, and a
// restart is safe.
func (n *Node) watchMembership(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	var since time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		_, in := n.server(n.cfg.ID)
		if in || !n.member.Load() || time.Since(n.raft.Load().LastContact()) < lookInterval {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > goneAfter {
			n.fail(ErrRemoved)
			return
		}
	}
}

// configured hears of every committed configuration: a node that was a member
// and is one no more ends.
func (n *Node) configured(c raft.Configuration) {
	for _, s := range c.Servers {
		if string(s.ID) == n.cfg.ID {
			n.member.Store(true)
			return
		}
	}
	if n.member.Load() {
		n.fail(ErrRemoved)
	}
}
