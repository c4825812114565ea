package node

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// tcp is a plain stream layer on loopback: TLS is package cluster's.
type tcp struct{ net.Listener }

func (t tcp) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(addr), timeout)
}

// lossy loses what one node writes to another while lose says so.
type lossy struct {
	net.Conn
	lose func() bool
}

func (c lossy) Write(b []byte) (int, error) {
	if c.lose() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// wires is a node's stream layer in a group.
type wires struct {
	tcp
	link
}

func (w wires) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, err := w.tcp.Dial(addr, timeout)
	if err != nil {
		return nil, err
	}
	return lossy{conn, func() bool { return w.lost(w.from, string(addr)) }}, nil
}

// link is a node's way to the others.
type link struct {
	*group
	from string
}

// Propose hands a proposal to another node.
func (l link) Propose(ctx context.Context, id, _ string, proposal []byte) ([]byte, error) {
	n := l.node(id)
	if n == nil {
		return nil, ErrNoLeader
	}
	if l.hold != nil {
		var p fsmpb.Proposal
		if err := proto.Unmarshal(proposal, &p); err != nil {
			return nil, err
		}
		if l.hold(ctx, l.from, &p); ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
		}
	}
	reply, err := n.HandlePropose(ctx, l.from, proposal)
	if l.answered != nil {
		l.answered(l.from, reply)
	}
	return reply, err
}

// Ask answers for a node to the node that asks.
func (l link) Ask(_ context.Context, id, _ string) (Standing, error) {
	n := l.node(id)
	if n == nil {
		return Standing{}, ErrNoLeader
	}
	if l.asked != nil {
		if err := l.asked(l.from); err != nil {
			return Standing{}, err
		}
	}
	index, term := n.Mark(l.from)
	return Standing{ID: id, Time: n.cfg.Now().UnixNano(), Applied: n.Store().AppliedIndex(), MarkIndex: index, MarkTerm: term, Members: n.Servers()}, nil
}

func (g *group) lost(from, addr string) bool {
	g.mu.Lock()
	loses := g.loses
	g.mu.Unlock()
	return loses != nil && loses(from, addr)
}
