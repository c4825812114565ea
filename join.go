package hexrd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
)

const (
	joinRetry   = 500 * time.Millisecond
	joinTimeout = 60 * time.Second
)

// join asks the cluster to admit this node, and takes over the keyring. Retries
// carry the same token and ID, and get the same answer.
func (s *Server) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	req := &clusterpb.JoinRequest{
		Address: s.cfg.advertise(), AuditKey: s.auditKey.Public().(ed25519.PublicKey),
		Token: []byte(s.cfg.Token), RequestId: make([]byte, 16),
	}
	if _, err := rand.Read(req.RequestId); err != nil {
		return err
	}
	resp, err := retry(ctx, s.cfg.Join, func(addr string) (*clusterpb.JoinResponse, error) {
		return s.peers.Join(ctx, addr, req)
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	s.keys, err = importKeys(ctx, s.cfg.DataDir, s.wrapper, resp.GetKeyring())
	if err != nil {
		return err
	}
	return s.keepAdmitters(resp.GetMembers())
}

// retry tries the addresses in turn until one answers, a refusal is final, or
// ctx ends.
func retry[T any](ctx context.Context, addrs []string, try func(addr string) (T, error)) (T, error) {
	var last error
	for {
		for _, addr := range addrs {
			v, err := try(addr)
			if err == nil || final(err) {
				return v, err
			}
			last = fmt.Errorf("%s: %w", addr, err)
		}
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			var zero T
			return zero, fmt.Errorf("%w; the last attempt: %w", ctx.Err(), last)
		}
	}
}

// final reports a refusal that trying again does not change.
func final(err error) bool {
	var refusal *cluster.RefusalError
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Kind {
	case clusterpb.Refusal_KIND_DENIED, clusterpb.Refusal_KIND_INVALID, clusterpb.Refusal_KIND_WRONG_CLUSTER, clusterpb.Refusal_KIND_NOT_MEMBER:
		return true
	}
	return false
}

// takePlace makes the node's place in the cluster what its configuration says:
// a fresh one that joins enters raft, and one whose address has changed
// announces it.
func (s *Server) takePlace(ctx context.Context, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if fresh && len(s.cfg.Join) > 0 {
		return s.enter(ctx, s.cfg.Join)
	}
	s.own(s.announce)
	return nil
}

// returned lets a node that was killed after its admission, and before it knew of
// any configuration, enter raft: it may not have come to that.
func (s *Server) returned(ctx context.Context) error {
	if len(s.admitters) == 0 || len(s.node.Servers()) > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	return s.enter(ctx, slices.Concat(s.admitters, s.cfg.Join))
}

// enter asks whoever leads to add this node as a non-voter.
func (s *Server) enter(ctx context.Context, addrs []string) error {
	req := &clusterpb.EnterRequest{Address: s.cfg.advertise()}
	_, err := retry(ctx, addrs, func(addr string) (struct{}, error) {
		err := s.peers.Enter(ctx, "", addr, req)
		return struct{}{}, s.atLeader(err, func(id, leader string) error {
			return s.peers.Enter(ctx, id, leader, req)
		})
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return nil
}

// atLeader repeats what was refused because another node leads, there.
func (s *Server) atLeader(err error, again func(id, addr string) error) error {
	var refusal *cluster.RefusalError
	if errors.As(err, &refusal) && refusal.Kind == clusterpb.Refusal_KIND_NOT_LEADER && refusal.LeaderAddress != "" {
		return again(refusal.LeaderID, refusal.LeaderAddress)
	}
	return err
}

// moved reports whether raft's configuration, as this node's log has it, has the
// node at another address. The store may not have caught up with the log yet.
func (s *Server) moved() bool {
	for _, srv := range s.node.Servers() {
		if srv.ID == s.nodeID {
			return srv.Address != s.cfg.advertise()
		}
	}
	return false
}

// announce tells the leader this node's new address until it is in the
// configuration: before that the leader can't reach this node, but this node
// reaches the others.
func (s *Server) announce(ctx context.Context) {
	req := &clusterpb.ChangeRequest{Kind: clusterpb.ChangeRequest_KIND_ADDRESS, Address: s.cfg.advertise()}
	tick := time.NewTicker(joinRetry)
	defer tick.Stop()
	select {
	case <-s.node.Started():
	case <-ctx.Done():
		return
	}
	for s.moved() {
		for _, srv := range s.node.Servers() {
			if srv.ID == s.nodeID {
				continue
			}
			err := s.peers.Change(ctx, srv.ID, srv.Address, req)
			err = s.atLeader(err, func(id, addr string) error { return s.peers.Change(ctx, id, addr, req) })
			if err == nil {
				s.log.Info("new address announced")
				break
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
