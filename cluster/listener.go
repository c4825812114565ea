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

// Listener owns the one port, and every connection that it accepted.
type Listener struct {
	cfg  Config
	log  *slog.Logger
	tcp  net.Listener
	tls  *tls.Config
	hand *handshakes

	shares        *shares
	full, strange rate.Sometimes // warn

	raft, grpc, http, nodes *queue

	mu    sync.Mutex
	conns map[*Conn]struct{}

	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup
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
	tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Bind)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Bind, err)
	}
	l := &Listener{
		cfg: c, log: c.Logger, tcp: tcp, tls: serverConfig(c.TLS, paces), hand: &handshakes{limits: c.Limits},
		shares: &shares{held: map[string]int{}}, full: rate.Sometimes{Interval: warnEvery}, strange: rate.Sometimes{Interval: warnEvery},
		conns: map[*Conn]struct{}{}, done: make(chan struct{}),
	}
	l.raft, l.grpc, l.http, l.nodes = newQueue(l), newQueue(l), newQueue(l), newQueue(l)
	l.wg.Add(2)
	go l.accept()
	go l.watch()
	return l, nil
}

// Addr is where the port is open.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// GRPC gives the connections that speak gRPC; serve them with Credentials.
func (l *Listener) GRPC() net.Listener { return l.grpc }

// Nodes gives those of callers of the node class, in place of GRPC.
func (l *Listener) Nodes() net.Listener { return l.nodes }

// HTTP gives the connections that speak HTTP/1.1.
func (l *Listener) HTTP() net.Listener { return l.http }

// Close closes the port and every connection, and waits.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	err := l.tcp.Close()
	l.mu.Lock()
	conns := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	l.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (l *Listener) accept() {
	defer l.wg.Done()
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
		l.hand.begin(raw)
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			l.shake(raw)
		}()
	}
}

// shake finishes a handshake, finds out who it is, and hands the connection on.
func (l *Listener) shake(raw net.Conn) {
	defer l.hand.end(raw)
	_ = raw.SetDeadline(time.Now().Add(l.cfg.Limits.HandshakeTimeout))
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.Limits.HandshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn := tls.Server(raw, l.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // its text may quote an identity: it is not logged
		return
	}
	c := &Conn{Conn: conn, proto: negotiated(conn.ConnectionState()), gone: l.forget}
	if peer, err := l.cfg.TLS.Authenticate(conn.ConnectionState()); err == nil {
		c.peer = peer
	}
	c.peer.Addr = raw.RemoteAddr().String()
	if c.proto == protoRaft && !l.admitRaft(c) {
		_ = raw.Close()
		return
	}
	if !stop() { // the time was over
		_ = raw.Close()
		return
	}
	_ = raw.SetDeadline(time.Time{})
	if c.peer.Node == "" && !l.shares.take(c, l.cfg.Limits.Share) {
		l.full.Do(func() { l.log.Warn("connections are refused: one caller, or one address, has too many open") })
		_ = raw.Close()
		return
	}
	if !l.keep(c) {
		_ = c.Close()
		return
	}
	l.queue(c).hand(c)
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

// keep takes ownership of the connection until it is closed.
func (l *Listener) keep(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return false
	default:
	}
	if c.peer.Node == "" && len(l.conns) >= l.cfg.Limits.Connections {
		l.full.Do(func() { l.log.Warn("connections are refused: too many are open") })
		return false
	}
	life := l.cfg.Limits.MaxAge
	if !c.peer.NotAfter.IsZero() {
		life = min(life, time.Until(c.peer.NotAfter))
	}
	c.timer = time.AfterFunc(life, func() { _ = c.Close() })
	l.conns[c] = struct{}{}
	return true
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	delete(l.conns, c)
}

func (l *Listener) queue(c *Conn) *queue {
	switch {
	case c.proto == protoRaft:
		return l.raft
	case c.proto == protoGRPC && c.peer.Node != "":
		return l.nodes
	case c.proto == protoGRPC:
		return l.grpc
	}
	return l.http
}

// watch closes connections whose peers are no longer admitted.
func (l *Listener) watch() {
	defer l.wg.Done()
	for {
		updated, changed := l.cfg.TLS.Updated(), l.cfg.Admission.Changed()
		select {
		case <-updated:
			l.closeIf(func(c *Conn) bool {
				_, err := l.cfg.TLS.Authenticate(c.ConnectionState())
				return c.peer.ID != "" && err != nil
			})
		case <-changed:
			l.closeIf(func(c *Conn) bool {
				return l.cfg.Admission.Blocked(c.peer) || c.proto == protoRaft && !l.cfg.Admission.IsMember(c.peer.Node)
			})
		case <-l.done:
			return
		}
	}
}

func (l *Listener) closeIf(unfit func(*Conn) bool) {
	l.mu.Lock()
	conns := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		if unfit(c) {
			_ = c.Close()
		}
	}
}
