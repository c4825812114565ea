package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// streamFormat is the first byte on a raft stream, before the cluster's ID.
const streamFormat = 1

// StreamLayer carries raft's streams over the one port (raft.StreamLayer).
type StreamLayer struct {
	l *Listener
	// resolve is the node ID at an address: a dial expects exactly that node.
	resolve func(addr string) (nodeID string, ok bool)
}

// NewStreamLayer accepts from the listener and dials who resolve names.
func NewStreamLayer(l *Listener, resolve func(addr string) (string, bool)) *StreamLayer {
	return &StreamLayer{l, resolve}
}

// Accept returns the next stream of a member.
func (s *StreamLayer) Accept() (net.Conn, error) { return s.l.raft.Accept() }

// Close does nothing: the connections are the Listener's.
func (s *StreamLayer) Close() error { return nil }

// Addr is the advertised address.
func (s *StreamLayer) Addr() net.Addr { return advertised(s.l.cfg.Advertise) }

type advertised string

func (a advertised) Network() string { return "tcp" }
func (a advertised) String() string  { return string(a) }

var errRefused = errors.New("the peer did not accept the raft stream: is this node a member of its cluster?")

// Dial opens a stream to a member.
func (s *StreamLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	nodeID, ok := s.resolve(string(addr))
	if !ok {
		return nil, fmt.Errorf("dial %s: no member has that address", addr)
	}
	deadline := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	conn, err := s.l.conns.dial(ctx, string(addr), nodeID, alpnRaft)
	if err != nil {
		return nil, fmt.Errorf("dial member: %w", err)
	}
	if err := s.introduce(conn, deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// introduce names the cluster and waits for the peer's consent.
func (s *StreamLayer) introduce(conn net.Conn, deadline time.Time) error {
	id := s.l.cfg.ClusterID()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write(append([]byte{streamFormat}, id[:]...)); err != nil {
		return fmt.Errorf("open raft stream: %w", err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[0] != streamFormat {
		return errRefused
	}
	return conn.SetDeadline(time.Time{})
}
