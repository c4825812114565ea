package cluster

import (
	"net"
	"sync"
	"time"
)

// connections are the open ones of one owner, accepted or dialled. Each ends with
// its peer's certificate, at a maximum age, when the bundle of the moment no
// longer verifies its peer, and when its peer is no longer admitted.
type connections struct {
	tls       TLS
	admission Admission // nil: whoever verifies is admitted
	limits    Limits
	pulse     *pulse

	mu    sync.Mutex
	open  map[*Conn]struct{}
	peers map[string]int // how many each has open, by ID, or by address where there is none
	made  uint64         // ever
	epoch uint64         // of the last look at all of them

	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

// newConnections starts the goroutines that watch; close ends them.
func newConnections(t TLS, a Admission, l Limits) *connections {
	s := &connections{
		tls: t, admission: a, limits: l, open: map[*Conn]struct{}{}, peers: map[string]int{}, done: make(chan struct{}),
		pulse: newPulse(pauseLimit),
	}
	s.wg.Go(func() { s.pulse.run(s.done, s.hush) })
	s.wg.Go(func() { s.watch(t.Updated, unverified) })
	if a != nil {
		s.wg.Go(func() { s.watch(a.Changed, s.blocked, s.notMember) })
	}
	return s
}

// begin is called before a peer is verified: add looks again at one that was
// verified before a change.
func (s *connections) begin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// add takes ownership of a connection whose peer is verified; false: there is no
// room for it, or its peer was refused meanwhile, and it is closed.
func (s *connections) add(c *Conn, began uint64) bool {
	victim, again, ok := s.insert(c, began)
	if victim != nil {
		_ = victim.Close()
	}
	if ok && again && (unverified(c) || s.admission != nil && (s.blocked(c) || s.notMember(c))) {
		ok = false
	}
	if !ok {
		_ = c.Close()
	}
	return ok
}

func (s *connections) insert(c *Conn, began uint64) (victim *Conn, again, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.gone, c.pulse = s.forget, s.pulse
	select {
	case <-s.done:
		return nil, false, false
	default:
	}
	if victim, ok = s.room(c); !ok {
		return nil, false, false
	}
	life := s.limits.MaxAge
	if !c.peer.NotAfter.IsZero() {
		life = min(life, time.Until(c.peer.NotAfter))
	}
	s.made++
	c.number = s.made
	c.timer = time.AfterFunc(life, func() { _ = c.Close() })
	s.open[c] = struct{}{}
	s.peers[c.key()]++
	return victim, began != s.epoch, true
}

// room keeps descriptors free for nodes, and for identities where strangers take
// what they can get: the oldest connection of who has too many makes way.
func (s *connections) room(c *Conn) (victim *Conn, ok bool) {
	strangers := func(o *Conn) bool { return o.peer.ID == "" }
	switch {
	case c.dialled || c.peer.Node != "":
		return nil, true
	case s.peers[c.key()] >= s.limits.ConnectionsPeer:
		return s.oldest(func(o *Conn) bool { return o.key() == c.key() }), true
	case c.peer.ID == "" && s.count(strangers) >= s.limits.Connections/4, len(s.open) >= s.limits.Connections:
		victim = s.oldest(strangers)
		return victim, victim != nil
	}
	return nil, true
}

func (s *connections) oldest(which func(*Conn) bool) (found *Conn) {
	for c := range s.open {
		if which(c) && (found == nil || c.number < found.number) {
			found = c
		}
	}
	return found
}

func (s *connections) count(which func(*Conn) bool) (n int) {
	for c := range s.open {
		if which(c) {
			n++
		}
	}
	return n
}

func (s *connections) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c]; !ok {
		return
	}
	c.timer.Stop()
	delete(s.open, c)
	if s.peers[c.key()]--; s.peers[c.key()] == 0 {
		delete(s.peers, c.key())
	}
}

// watch closes what is unfit, at each change. It takes the next change's channel
// before it looks: none is missed.
func (s *connections) watch(next func() <-chan struct{}, unfit ...func(*Conn) bool) {
	for {
		changed := next()
		for _, u := range unfit {
			s.closeIf(u)
		}
		select {
		case <-changed:
		case <-s.done:
			return
		}
	}
}

// closeIf does not wait for one that is slow to close.
func (s *connections) closeIf(unfit func(*Conn) bool) {
	for _, c := range s.all() {
		if unfit(c) {
			s.wg.Go(func() { s.end(c) })
		}
	}
}

// end closes a connection; raft's own to a member that was removed a moment later,
// since it tells the member of its removal.
func (s *connections) end(c *Conn) {
	if c.dialled && c.proto == protoRaft && c.verify() == nil {
		wait := time.NewTimer(farewell)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-s.done:
		}
	}
	_ = c.Close()
}

const farewell = time.Second

func (s *connections) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	conns := make([]*Conn, 0, len(s.open))
	for c := range s.open {
		conns = append(conns, c)
	}
	return conns
}

func unverified(c *Conn) bool { return (c.dialled || c.peer.ID != "") && c.verify() != nil }

func (s *connections) blocked(c *Conn) bool { return s.admission.Blocked(c.peer) }

func (s *connections) notMember(c *Conn) bool {
	return c.proto == protoRaft && !s.admission.IsMember(c.peer.Node)
}

// hush ends all connections of callers after a pause of the process.
func (s *connections) hush() {
	conns := s.all()
	for _, c := range conns {
		c.silent.Store(c.caller())
	}
	for _, c := range conns {
		if c.caller() {
			s.wg.Go(func() { s.end(c) })
		}
	}
}

// close closes all, and waits.
func (s *connections) close() {
	s.once.Do(func() { close(s.done) })
	for _, c := range s.all() {
		_ = c.Close()
	}
	s.wg.Wait()
}

// hostOf is the address without its port.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
