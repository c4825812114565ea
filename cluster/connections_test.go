package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// TestDialledConnectionsEnd: what this node dialled ends as what it accepted.
func TestDialledConnectionsEnd(t *testing.T) {
	dial := func(t *testing.T, server, own *plainTLS, adm *members, limits Limits) net.Conn {
		t.Helper()
		l := listen(t, server, newMembers("n2"), Limits{})
		streams := NewStreamLayer(listen(t, own, adm, limits), func(string) (string, bool) { return "n1", true })
		conn, err := streams.Dial(raftAddress(l), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	own := newTLS("node/n2", longLived)
	t.Run("with the server's SVID", func(t *testing.T) {
		gone(t, dial(t, newTLS("node/n1", 2*time.Second), own, newMembers("n1"), Limits{}), "the server's SVID has ended")
	})
	t.Run("with the bundle", func(t *testing.T) {
		own := newTLS("node/n2", longLived)
		conn := dial(t, newTLS("node/n1", longLived), own, newMembers("n1"), Limits{})
		own.refuse()
		gone(t, conn, "the bundle has changed")
	})
	t.Run("with a removal", func(t *testing.T) {
		adm := newMembers("n1")
		conn := dial(t, newTLS("node/n1", longLived), own, adm, Limits{})
		adm.change(func() { delete(adm.ids, "n1") })
		gone(t, conn, "the server was removed")
	})
	t.Run("with age", func(t *testing.T) {
		gone(t, dial(t, newTLS("node/n1", longLived), own, newMembers("n1"), Limits{MaxAge: 50 * time.Millisecond}), "it is too old")
	})
	t.Run("of calls, with the bundle", func(t *testing.T) {
		addr, own := serve(t, newMembers("n2")), newTLS("node/n2", longLived)
		p := NewPeers(PeersConfig{TLS: own, ClusterID: func() [16]byte { return testID }})
		defer func() { _ = p.Close() }()
		if _, err := p.Status(t.Context(), "n1", addr, ""); err != nil {
			t.Fatal(err)
		}
		l, err := p.take(target{"n1", addr})
		if err != nil {
			t.Fatal(err)
		}
		defer p.give(l)
		own.refuse()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if !l.WaitForStateChange(ctx, connectivity.Ready) {
			t.Error("the bundle has changed: the connection is still open")
		}
		if _, err := p.Status(t.Context(), "n1", addr, ""); err == nil {
			t.Error("a call to who is not verified any more")
		}
	})
}

// TestChangeDuringHandshake: a peer that was verified just before a change is
// looked at again.
func TestChangeDuringHandshake(t *testing.T) {
	for name, change := range map[string]func(*plainTLS, *members){
		"bundle":  func(id *plainTLS, _ *members) { id.refuse() },
		"block":   func(_ *plainTLS, adm *members) { adm.change(func() { adm.blocked["node/n2"] = true }) },
		"removal": func(_ *plainTLS, adm *members) { adm.change(func() { delete(adm.ids, "n2") }) },
	} {
		t.Run(name, func(t *testing.T) {
			id, adm := newTLS("node/n1", longLived), newMembers("n2")
			conns := newConnections(id, adm, Limits{}.withDefaults())
			defer conns.close()
			settled := func() uint64 { // both watchers have looked once
				until(t, "the watchers to look", func() bool { return conns.begin() >= 3 })
				return conns.begin()
			}
			began := settled()
			change(id, adm)
			until(t, "the change to be seen", func() bool { return conns.begin() != began })
			a, b := net.Pipe()
			defer func() { _ = a.Close() }()
			c := &Conn{Conn: tls.Server(b, &tls.Config{}), proto: protoRaft, peer: Peer{ID: "node/n2", Node: "n2"}, verify: func() error {
				_, err := id.Authenticate(tls.ConnectionState{PeerCertificates: newTLS("node/n2", longLived).leaf()})
				return err
			}}
			if conns.add(c, began) {
				t.Error("it is kept")
			}
		})
	}
}

// TestRoom: strangers push each other out, an identity its own oldest, and nodes
// always get in.
func TestRoom(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{Connections: 8, ConnectionsPeer: 3})
	open := func(as *plainTLS, alpn string) net.Conn {
		t.Helper()
		conn, err := dialTLS(t, l, as, alpn)
		if err != nil {
			t.Fatal(err)
		}
		from := l.HTTP()
		if alpn == alpnH2 {
			from = l.GRPC()
		}
		if _, err := from.Accept(); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	a, b := newTLS("agent/a", longLived), newTLS("agent/b", longLived)
	first := open(nobody, alpnHTTP)
	second := open(nobody, alpnHTTP)
	third := open(nobody, alpnHTTP)
	gone(t, first, "the oldest of too many strangers")
	own := open(a, alpnH2)
	for range 3 {
		open(a, alpnH2)
	}
	gone(t, own, "the oldest of an identity with too many")
	for range 3 {
		open(b, alpnH2)
	}
	c := newTLS("agent/c", longLived)
	open(c, alpnH2)
	gone(t, second, "a stranger, where an identity has no room")
	open(c, alpnH2)
	gone(t, third, "the last stranger")
	if conn, err := dialTLS(t, l, newTLS("agent/d", longLived), alpnH2); err == nil {
		gone(t, conn, "there is no room")
	}
	if _, err := dialTLS(t, l, newTLS("node/n9", longLived), alpnH2); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Nodes().Accept(); err != nil {
		t.Fatal(err)
	}
	streams := NewStreamLayer(listen(t, newTLS("node/n2", longLived), newMembers("n1"), Limits{}), func(string) (string, bool) { return "n1", true })
	if _, err := streams.Dial(raftAddress(l), 5*time.Second); err != nil {
		t.Errorf("a member does not get in: %v", err)
	}
}

// slow answers an empty proposal when it is told to.
type slow struct {
	backend
	came, answer chan struct{}
}

func (s slow) Propose(_ context.Context, _ string, proposal []byte) ([]byte, error) {
	if len(proposal) > 0 {
		return proposal, nil
	}
	s.came <- struct{}{}
	<-s.answer
	return []byte("late"), nil
}

// madeOn is the number of the newest connection.
func madeOn(l *Listener) uint64 {
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	return l.conns.made
}

// TestRenewalKeepsCalls: when this node's SVID is renewed, calls that are under
// way are answered, and the next ones are made with the new SVID.
func TestRenewalKeepsCalls(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	b := slow{backend{newMembers("n2")}, make(chan struct{}), make(chan struct{})}
	s := grpc.NewServer(grpc.Creds(Credentials()))
	RegisterPeer(s, b)
	go func() { _ = s.Serve(l.Nodes()) }()
	t.Cleanup(s.Stop)
	serveProposals(t, l, b)
	own := newTLS("node/n2", longLived)
	p := NewPeers(PeersConfig{TLS: own, ClusterID: func() [16]byte { return testID }})
	defer func() { _ = p.Close() }()
	answered := make(chan error, 1)
	go func() {
		_, err := p.Propose(t.Context(), "n1", l.Addr().String(), nil)
		answered <- err
	}()
	select {
	case <-b.came:
	case err := <-answered:
		t.Fatal(err)
	}
	old := l.conns.all()[0]
	own.renew()
	retired := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.links) == 0
	}
	until(t, "the link to be retired", retired)
	if _, err := p.Status(t.Context(), "n1", l.Addr().String(), ""); err != nil {
		t.Fatal(err)
	}
	if made := old.number; madeOn(l) == made || !slices.Contains(l.conns.all(), old) {
		t.Error("the call was not made on a new connection, or the old one was closed while it has a call")
	}
	close(b.answer)
	if err := <-answered; err != nil {
		t.Errorf("the call that was under way: %v", err)
	}
	until(t, "the old connection to end", func() bool { return !slices.Contains(l.conns.all(), old) })
}
