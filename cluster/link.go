package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
)

// link is the connections to a node: gRPC's, and that of proposals. When this node's
// SVID is renewed, or that of the other must soon be, the next call makes a new one,
// and the old is closed after its last call: an SVID's end would cut it off in the
// middle of one.
type link struct {
	*grpc.ClientConn
	to      target
	dialing chan struct{} // has room for who looks after proposals
	stream  *proposer
	calls   int
	retired bool
	renewAt atomic.Int64 // unix nanoseconds; 0: not connected yet
}

// Windows that do not adapt save a ping for each answer (see api).
const (
	streamWindow = 4 << 20
	connWindow   = 16 << 20
)

// connected notes when three quarters of what the connection may live are over:
// SVIDs are renewed at half of their life.
func (l *link) connected(c *Conn) {
	now := time.Now()
	at := now.Add(c.peer.NotAfter.Sub(now) * 3 / 4).UnixNano()
	if !l.renewAt.CompareAndSwap(0, at) && at < l.renewAt.Load() {
		l.renewAt.Store(at)
	}
}

func (l *link) due() bool {
	at := l.renewAt.Load()
	return at != 0 && time.Now().UnixNano() > at
}

// renew retires all links at each change of this node's SVID or its bundles. It takes
// the next change's channel before it does: none is missed.
func (p *Peers) renew(updated <-chan struct{}) {
	for {
		select {
		case <-updated:
		case <-p.done:
			return
		}
		updated = p.cfg.TLS.Updated()
		p.mu.Lock()
		for t := range p.links {
			p.retire(t)
		}
		p.mu.Unlock()
	}
}

func (p *Peers) retire(t target) {
	l := p.links[t]
	delete(p.links, t)
	if l.retired = true; l.calls == 0 {
		l.end()
	}
}

// take returns a link for one call; give ends the call.
func (p *Peers) take(t target) (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, unavailable("the pool is closed")
	}
	l := p.links[t]
	if l != nil && l.due() {
		p.retire(t)
		l = nil
	}
	if l == nil {
		if len(p.links) >= maxPeers {
			for old := range p.links { // members change rarely: any will do
				p.retire(old)
				break
			}
		}
		var err error
		if l, err = p.newLink(t); err != nil {
			return nil, err
		}
		p.links[t] = l
	}
	l.calls++
	return l, nil
}

func (p *Peers) give(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.calls--; l.calls == 0 && l.retired {
		l.end()
	}
}

// end closes a link that has no calls.
func (l *link) end() {
	_ = l.Close()
	if l.stream != nil {
		_ = l.stream.calls.Close()
	}
}

func (p *Peers) newLink(t target) (*link, error) {
	l := &link{to: t, dialing: make(chan struct{}, 1)}
	c, err := grpc.NewClient("passthrough:///"+t.addr,
		grpc.WithTransportCredentials(dialCredentials{conns: p.conns, nodeID: t.id, connected: l.connected}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
		grpc.WithStaticStreamWindowSize(streamWindow), grpc.WithStaticConnWindowSize(connWindow),
	)
	if err != nil {
		return nil, fmt.Errorf("dial node: %w", err)
	}
	l.ClientConn = c
	return l, nil
}

// ready returns a client once the connection stands: what fails before that is
// certain not to have been sent.
func ready(ctx context.Context, c *link) (clusterpb.PeerClient, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	tried := false
	for {
		state := c.GetState()
		switch state {
		case connectivity.Ready:
			return clusterpb.NewPeerClient(c), nil
		case connectivity.Idle:
			c.Connect()
		case connectivity.Connecting:
			tried = true
		case connectivity.TransientFailure:
			if tried {
				return nil, unavailable("the node does not answer")
			}
			tried = true
			c.ResetConnectBackoff()
		case connectivity.Shutdown:
			return nil, unavailable("the connection was closed")
		}
		if !c.WaitForStateChange(ctx, state) {
			return nil, unavailable("the node does not answer in time")
		}
	}
}
