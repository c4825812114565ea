package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
)

const (
	dialTimeout = 2 * time.Second
	maxMessage  = 16 << 20 // sent
	maxReply    = 72 << 20 // a leader's values: node keeps its replies below that
	maxPeers    = 64
)

// PeersConfig of a pool.
type PeersConfig struct {
	TLS       TLS
	ClusterID func() [16]byte
	Logger    *slog.Logger
}

// Peers calls other nodes; one connection for each node and address.
type Peers struct {
	cfg    PeersConfig
	mu     sync.Mutex
	conns  map[target]*grpc.ClientConn
	closed bool
}

type target struct{ id, addr string }

// NewPeers allocates; connections are made when they are needed.
func NewPeers(c PeersConfig) *Peers { return &Peers{cfg: c, conns: map[target]*grpc.ClientConn{}} }

// Close closes all connections.
func (p *Peers) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for t, c := range p.conns {
		errs = append(errs, c.Close())
		delete(p.conns, t)
	}
	return errors.Join(errs...)
}

func (p *Peers) conn(t target) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, unavailable("the pool is closed")
	}
	if c := p.conns[t]; c != nil {
		return c, nil
	}
	if len(p.conns) >= maxPeers {
		for old, c := range p.conns { // members change rarely: any will do
			_ = c.Close()
			delete(p.conns, old)
			break
		}
	}
	c, err := grpc.NewClient("passthrough:///"+t.addr,
		grpc.WithTransportCredentials(credentials.NewTLS(p.cfg.TLS.Client(t.id, alpnH2))),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, fmt.Errorf("dial node: %w", err)
	}
	p.conns[t] = c
	return c, nil
}

func unavailable(why string) error {
	return &RefusalError{Kind: clusterpb.Refusal_KIND_UNAVAILABLE, Message: why}
}

// ready returns a client once the connection stands: what fails before that is
// certain not to have been sent.
func (p *Peers) ready(ctx context.Context, t target) (clusterpb.PeerClient, error) {
	c, err := p.conn(t)
	if err != nil {
		return nil, err
	}
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

// call runs do on a connection that stands, and turns what breaks after that
// into an unknown outcome.
func call[R interface{ GetRefusal() *clusterpb.Refusal }](
	ctx context.Context, p *Peers, t target, do func(clusterpb.PeerClient, []byte) (R, error),
) (R, error) {
	var none R
	client, err := p.ready(ctx, t)
	if err != nil {
		return none, err
	}
	id := p.cfg.ClusterID()
	resp, err := do(client, id[:])
	if err != nil {
		return none, fmt.Errorf("%w: call to a node: %w", ErrUnknownOutcome, err)
	}
	return resp, fromRefusal(resp.GetRefusal())
}

// Propose hands a proposal to a node that should lead.
func (p *Peers) Propose(ctx context.Context, id, addr string, proposal []byte) ([]byte, error) {
	resp, err := call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.ProposeResponse, error) {
		return c.Propose(ctx, &clusterpb.ProposeRequest{ClusterId: cluster, Proposal: proposal})
	})
	return resp.GetReply(), err
}

// Join asks any node at that address to admit this node.
func (p *Peers) Join(ctx context.Context, addr string, req *clusterpb.JoinRequest) (*clusterpb.JoinResponse, error) {
	return call(ctx, p, target{"", addr}, func(c clusterpb.PeerClient, _ []byte) (*clusterpb.JoinResponse, error) {
		return c.Join(ctx, req)
	})
}

// Enter asks a node to add this one to raft; an empty ID means any node.
func (p *Peers) Enter(ctx context.Context, id, addr string, req *clusterpb.EnterRequest) error {
	_, err := call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.EnterResponse, error) {
		return c.Enter(ctx, &clusterpb.EnterRequest{ClusterId: cluster, Address: req.GetAddress()})
	})
	return err
}

// Status asks a node where it stands, and for the mark of a member.
func (p *Peers) Status(ctx context.Context, id, addr, markOf string) (*clusterpb.StatusResponse, error) {
	return call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.StatusResponse, error) {
		return c.Status(ctx, &clusterpb.StatusRequest{ClusterId: cluster, MarkOf: markOf})
	})
}

// Root asks a node for the root of its audit tree at a size.
func (p *Peers) Root(ctx context.Context, id, addr string, size uint64) ([]byte, error) {
	resp, err := call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.RootResponse, error) {
		return c.Root(ctx, &clusterpb.RootRequest{ClusterId: cluster, Size: size})
	})
	return resp.GetRoot(), err
}

// Change asks a node that should lead for a change of the configuration.
func (p *Peers) Change(ctx context.Context, id, addr string, req *clusterpb.ChangeRequest) error {
	_, err := call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.ChangeResponse, error) {
		return c.Change(ctx, &clusterpb.ChangeRequest{
			ClusterId: cluster, Kind: req.GetKind(), NodeId: req.GetNodeId(), Address: req.GetAddress(),
		})
	})
	return err
}
