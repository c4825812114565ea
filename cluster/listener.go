package cluster

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const warnEvery = 10 * time.Second

// Listener owns the one port, every connection that it accepted, and the raft
// streams that were dialled.
type Listener struct {
	cfg  Config
	log  *slog.Logger
	tcp  net.Listener
	tls  *tls.Config
	hand *handshakes
	held *holds

	turns *hellos

	strange rate.Sometimes // warns

	raft, proposals, sessions, grpc, http, nodes *queue
	conns                                        *connections

	ctx    context.Context // of handshakes
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

// Listen opens the port. ctx bounds Listen alone.
func Listen(ctx context.Context, c Config) (*Listener, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	paces, err := newPaces(c.Limits)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	held, err := newHolds(c.Limits)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Bind)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Bind, err)
	}
	hand, turns := &handshakes{limits: c.Limits}, newHellos()
	l := &Listener{
		cfg: c, log: c.Logger, tcp: tcp, tls: serverConfig(c.TLS, paces, held, hand, turns), hand: hand, held: held, turns: turns,
		conns: newConnections(c.TLS, c.Admission, c.Limits), strange: rate.Sometimes{Interval: warnEvery}, done: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.raft, l.proposals, l.sessions = newQueue(l), newQueue(l), newQueue(l)
	l.grpc, l.http, l.nodes = newQueue(l), newQueue(l), newQueue(l)
	l.wg.Go(l.accept)
	return l, nil
}

// Addr is where the port is open.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// GRPC gives the connections that speak gRPC; serve them with Credentials.
func (l *Listener) GRPC() net.Listener { return l.grpc }

// Nodes gives those of callers of the node class, in place of GRPC.
func (l *Listener) Nodes() net.Listener { return l.nodes }

// Proposals gives the connections of nodes that speak hexr-propose; ServeProposals
// answers them.
func (l *Listener) Proposals() net.Listener { return l.proposals }

// Sessions gives the connections that speak hexr-session.
func (l *Listener) Sessions() net.Listener { return l.sessions }

// HTTP gives the connections that speak HTTP/1.1.
func (l *Listener) HTTP() net.Listener { return l.http }

// Close closes the port and every connection, and waits.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	l.cancel()
	err := l.tcp.Close()
	l.conns.close()
	l.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (l *Listener) accept() {
	for {
		raw, err := l.tcp.Accept()
		if err != nil {
			select {
			case <-l.done:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors, as a rule
				continue
			}
		}
		conn := newAnswering(raw)
		_ = conn.SetDeadline(time.Now().Add(l.cfg.Limits.HandshakeTimeout))
		l.hand.begin(conn)
		l.wg.Go(func() { l.shake(conn) })
	}
}

// shake finishes a handshake, finds out who it is, and hands the connection on.
func (l *Listener) shake(raw *answering) {
	defer l.hand.end(raw)
	defer raw.end()
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.Limits.HandshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn := tls.Server(raw, l.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		if raw.isEvicted() {
			raw.end()
			l.held.hold(ctx, source(raw), func() {})
		}
		_ = raw.Close() // its text may quote an identity: it is not logged
		return
	}
	began := l.conns.begin()
	c := &Conn{Conn: conn, proto: negotiated(conn.ConnectionState())}
	c.verify = func() (err error) {
		_, err = l.cfg.TLS.Authenticate(conn.ConnectionState())
		return err
	}
	err := l.turns.do(ctx, func() {
		if peer, err := l.cfg.TLS.Authenticate(conn.ConnectionState()); err == nil {
			c.peer = peer
		}
	})
	if err != nil {
		_ = raw.Close()
		return
	}
	c.peer.Addr = raw.RemoteAddr().String()
	if !l.admit(c) {
		_ = raw.Close()
		return
	}
	if !stop() { // the time was over
		_ = raw.Close()
		return
	}
	_ = raw.SetDeadline(time.Time{})
	if !l.conns.add(c, began) {
		return
	}
	l.queue(c).hand(c)
}

// admit refuses who may not speak a protocol of nodes; in the others its calls are
// answered so.
func (l *Listener) admit(c *Conn) bool {
	switch c.proto {
	case protoRaft:
		return l.admitRaft(c)
	case protoPropose: // each proposal is of a member, or refused
		return c.peer.Node != "" && !l.cfg.Admission.Blocked(c.peer)
	}
	return true
}

// admitRaft lets only members of this cluster open a raft stream. The dialer
// names the cluster first, and waits for the answer.
func (l *Listener) admitRaft(c *Conn) bool {
	if c.peer.Node == "" || l.cfg.Admission.Blocked(c.peer) || !l.cfg.Admission.IsMember(c.peer.Node) {
		l.strange.Do(func() { l.log.Warn("a raft stream was refused: its peer is not a member") })
		return false
	}
	var preamble [17]byte
	if _, err := io.ReadFull(c, preamble[:]); err != nil {
		return false
	}
	id := l.cfg.ClusterID()
	if preamble[0] != streamFormat || subtle.ConstantTimeCompare(preamble[1:], id[:]) != 1 {
		l.log.Warn("a raft stream was refused: it is for another cluster")
		return false
	}
	_, err := c.Write([]byte{streamFormat})
	return err == nil
}

func (l *Listener) queue(c *Conn) *queue {
	switch {
	case c.proto == protoRaft:
		return l.raft
	case c.proto == protoPropose:
		return l.proposals
	case c.proto == protoSession:
		return l.sessions
	case c.proto == protoGRPC && c.peer.Node != "":
		return l.nodes
	case c.proto == protoGRPC:
		return l.grpc
	}
	return l.http
}
