package workload

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/history"
)

const (
	attemptLimit = 4 * time.Second
	callLimit    = 12 * time.Second
	once         = -1 // retries
)

// Session is one identity's way into the cluster: a client for each node, that
// tries once, and one for all of them, that tries again. Safe for concurrent use.
type Session struct {
	Caller string // SPIFFE ID

	cluster  *arena.Cluster
	recorder *history.Recorder
	socket   string

	mu    sync.Mutex
	nodes map[string]*client.Client
	all   *client.Client
	known int // members that all has
}

// Open makes a session for an identity (see dev.ParseID).
func Open(ctx context.Context, c *arena.Cluster, r *history.Recorder, path string) (*Session, error) {
	socket, err := c.Identity(ctx, path)
	if err != nil {
		return nil, err
	}
	return &Session{
		Caller: "spiffe://" + arena.TrustDomain + path, cluster: c, recorder: r, socket: socket, nodes: map[string]*client.Client{},
	}, nil
}

// Close ends all connections.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, c := range s.nodes {
		errs = append(errs, c.Close())
	}
	if s.all != nil {
		errs = append(errs, s.all.Close())
	}
	return errors.Join(errs...)
}

// one is the client of a node alone.
func (s *Session) one(ctx context.Context, n *arena.Node) (*client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.nodes[n.ID]; c != nil {
		return c, nil
	}
	c, err := client.Dial(ctx, client.Config{
		Addrs: []string{n.Address}, Socket: s.socket, AttemptTimeout: attemptLimit, Timeout: attemptLimit, Retries: once,
	})
	if err == nil {
		s.nodes[n.ID] = c
	}
	return c, err
}

// any is the client of all members. One that was made for fewer is left to who
// still uses it, and closed with the session.
func (s *Session) any(ctx context.Context) (*client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	members := s.cluster.Addresses()
	if s.all != nil && s.known == len(members) {
		return s.all, nil
	}
	c, err := client.Dial(ctx, client.Config{
		Addrs: members, Socket: s.socket, AttemptTimeout: attemptLimit, Timeout: callLimit, Retries: 40,
	})
	if err != nil {
		return nil, err
	}
	if s.all != nil {
		s.nodes[fmt.Sprintf("before %d", len(s.nodes))] = s.all
	}
	s.all, s.known = c, len(members)
	return c, nil
}

// pick is a node to ask alone, or nil: ask any.
func pick(r *rand.Rand, members []*arena.Node) *arena.Node {
	if len(members) == 0 || r.Float64() < retried {
		return nil
	}
	return members[r.IntN(len(members))]
}

// Do makes the call that o describes through node, or through any where node is
// nil, and records it with its end.
func (s *Session) Do(ctx context.Context, r *rand.Rand, node *arena.Node, o history.Op) history.Op {
	var c *client.Client
	var err error
	if node != nil {
		o.Node = node.ID
		c, err = s.one(ctx, node)
	} else {
		c, err = s.any(ctx)
	}
	o.Caller, o.Trace = s.Caller, trace(r)
	o.Start = s.recorder.Now()
	if err == nil {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", "00-"+o.Trace+"-00f067aa0ba902b7-01")
		err = call(ctx, c, &o)
	} else {
		err = fmt.Errorf("%w: %w", errNoClient, err)
	}
	o.End = s.recorder.Now()
	o.Outcome, o.Reason = judge(err)
	s.recorder.Add(o)
	return o
}

const (
	insistence = 5           // tries at a healthy node, which may be slow
	patience   = time.Second // about, between them: so long a client may wait before it dials a node anew
)

// insist is Do, tried again while there is no answer. Each try is a call of its
// own.
func (s *Session) insist(ctx context.Context, r *rand.Rand, node *arena.Node, o history.Op) {
	for try := range insistence {
		if try > 0 {
			rest(ctx, r, patience)
		}
		if done := s.Do(ctx, r, node, o); done.Decided() {
			return
		}
	}
}

func trace(r *rand.Rand) string {
	var id [16]byte
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	id[0] |= 1 // all zeros would be none
	return hex.EncodeToString(id[:])
}

func call(ctx context.Context, c *client.Client, o *history.Op) error {
	switch o.Kind {
	case history.Get:
		got, err := c.Get(ctx, o.Path, client.At{Scope: o.Scope, Version: o.Asked})
		if err == nil {
			o.Got, o.Version, o.GotScope = got.Text(), got.Version, got.Scope
		}
		return err
	case history.Put:
		resp, err := c.Put(ctx, o.Path, []byte(o.Value), client.PutOptions{Scope: o.Scope, Expected: o.Expected})
		return written(o, resp, err)
	case history.Delete:
		resp, err := c.Delete(ctx, o.Path, o.Scope)
		return written(o, resp, err)
	case history.Undelete:
		resp, err := c.Undelete(ctx, o.Path, o.Scope)
		return written(o, resp, err)
	case history.List:
		return list(ctx, c, o)
	case history.Versions:
		return versions(ctx, c, o)
	}
	return fmt.Errorf("%w: %s", errNoClient, o.Kind)
}

func written[R interface {
	GetVersion() uint64
	GetScope() string
	GetReplayed() bool
}](o *history.Op, resp R, err error) error {
	if err == nil {
		o.Version, o.GotScope, o.Replayed = resp.GetVersion(), resp.GetScope(), resp.GetReplayed()
	}
	return err
}

func list(ctx context.Context, c *client.Client, o *history.Op) error {
	for s, err := range c.List(ctx, client.ListOptions{Prefix: o.Path, Scope: o.Scope, PageSize: 1000}) {
		if err != nil {
			o.Items = nil
			return err
		}
		o.Items = append(o.Items, history.Item{Path: s.GetPath(), Scope: s.GetScope(), Version: s.GetVersion(), Current: true})
	}
	return nil
}

func versions(ctx context.Context, c *client.Client, o *history.Op) error {
	var resp *hexrv1.VersionsResponse
	resp, err := c.Versions(ctx, o.Path, o.Scope)
	if err != nil {
		return err
	}
	o.GotScope = resp.GetScope()
	for _, v := range resp.GetVersions() {
		o.Items = append(o.Items, history.Item{
			Version: v.GetVersion(), Current: v.GetCurrent(), Hidden: v.GetDeleted() || v.GetDestroyed(),
		})
	}
	return nil
}
