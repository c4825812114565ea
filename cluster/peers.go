package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

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
	cfg   PeersConfig
	conns *connections

	mu     sync.Mutex
	links  map[target]*link
	closed bool

	done chan struct{}
	wg   sync.WaitGroup
}

type target struct{ id, addr string }

// NewPeers makes connections when they are needed; Close ends them.
func NewPeers(c PeersConfig) *Peers {
	p := &Peers{
		cfg: c, conns: newConnections(c.TLS, nil, Limits{}.withDefaults()), links: map[target]*link{}, done: make(chan struct{}),
	}
	updated := c.TLS.Updated()
	p.wg.Go(func() { p.renew(updated) })
	return p
}

// Close closes all connections, and waits.
func (p *Peers) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	clear(p.links)
	p.mu.Unlock()
	close(p.done)
	p.conns.close()
	p.wg.Wait()
	return errors.Join(errs...)
}

// own runs a goroutine that Close waits for; false: the pool is closed.
func (p *Peers) own(run func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(run)
	return true
}

func unavailable(why string) error {
	return &RefusalError{Kind: clusterpb.Refusal_KIND_UNAVAILABLE, Message: why}
}

// call runs do on a connection that stands, and turns what breaks after that
// into an unknown outcome.
func call[R interface{ GetRefusal() *clusterpb.Refusal }](
	ctx context.Context, p *Peers, t target, do func(clusterpb.PeerClient, []byte) (R, error),
) (R, error) {
	var none R
	l, err := p.take(t)
	if err != nil {
		return none, err
	}
	defer p.give(l)
	client, err := ready(ctx, l)
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
	l, err := p.take(target{id, addr})
	if err != nil {
		return nil, err
	}
	defer p.give(l)
	s, err := p.stream(ctx, l)
	if err != nil {
		return nil, err
	}
	cluster := p.cfg.ClusterID()
	resp, err := s.propose(ctx, &clusterpb.ProposeRequest{ClusterId: cluster[:], Proposal: proposal})
	if err != nil {
		return nil, fmt.Errorf("%w: propose to a node: %w", ErrUnknownOutcome, err)
	}
	return resp.GetReply(), fromRefusal(resp.GetRefusal())
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

// Key asks a node for one key of the keyring.
func (p *Peers) Key(ctx context.Context, id, addr, kind string, keyID uint32) ([]byte, error) {
	resp, err := call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.KeyResponse, error) {
		return c.Key(ctx, &clusterpb.KeyRequest{ClusterId: cluster, Kind: kind, KeyId: keyID})
	})
	return resp.GetKey(), err
}

// KeyUse asks a node what it has sealed with storage keys that seal no more.
func (p *Peers) KeyUse(ctx context.Context, id, addr string) ([]*clusterpb.StorageKeyUse, error) {
	resp, err := call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.KeyUseResponse, error) {
		return c.KeyUse(ctx, &clusterpb.KeyUseRequest{ClusterId: cluster})
	})
	return resp.GetKeys(), err
}

// Sign asks a node for its signature of a checkpoint.
func (p *Peers) Sign(ctx context.Context, id, addr string, req *clusterpb.SignRequest) ([]byte, error) {
	resp, err := call(ctx, p, target{id, addr}, func(c clusterpb.PeerClient, cluster []byte) (*clusterpb.SignResponse, error) {
		return c.Sign(ctx, &clusterpb.SignRequest{ClusterId: cluster, RaftIndex: req.GetRaftIndex(), Size: req.GetSize(), Root: req.GetRoot()})
	})
	return resp.GetNote(), err
}
