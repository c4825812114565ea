package node

import (
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// dialled answers dials with one error after the other, the last for ever.
type dialled struct {
	raft.StreamLayer
	errs []error
}

func (d *dialled) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	err := d.errs[0]
	if len(d.errs) > 1 {
		d.errs = d.errs[1:]
	}
	if err != nil {
		return nil, err
	}
	conn, _ := net.Pipe()
	return conn, nil
}

// TestRefuses: an end shows as a refused dial, also where the port closes a moment
// after the streams; all else is left to raft's timers.
func TestRefuses(t *testing.T) {
	refused, reset := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for name, c := range map[string]struct {
		errs []error
		want bool
	}{
		"refused":             {[]error{refused}, true},
		"reset, then refused": {[]error{reset, errors.New("EOF"), refused}, true},
		"accepted":            {[]error{nil}, false},
		"reset, then there":   {[]error{reset, nil}, false},
		"no answer":           {[]error{os.ErrDeadlineExceeded}, false},
	} {
		n := &Node{cfg: Config{Stream: &dialled{errs: c.errs}}}
		if got := n.refuses(t.Context(), "x"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLeaderIsMissed: followers notice the end of the leader's process by
// themselves, long before raft's timers.
func TestLeaderIsMissed(t *testing.T) {
	g := newGroup(t, LogStoreBolt)
	first := g.patient(Timers{})
	began := time.Now()
	g.stop(first)
	err := g.put(g.leader(), "k")
	if took := time.Since(began); err != nil || took > patience {
		t.Errorf("%v, after %s", err, took)
	}
}

func TestCandidateIsBehind(t *testing.T) {
	last := &raft.Log{Term: 5, Index: 100}
	for name, c := range map[string]struct {
		ask  raft.RequestVoteRequest
		want bool
	}{
		"shorter":                    {raft.RequestVoteRequest{Term: 6, LastLogTerm: 5, LastLogIndex: 99}, true},
		"as long":                    {raft.RequestVoteRequest{Term: 6, LastLogTerm: 5, LastLogIndex: 100}, false},
		"longer":                     {raft.RequestVoteRequest{Term: 6, LastLogTerm: 5, LastLogIndex: 101}, false},
		"longer, of an older term":   {raft.RequestVoteRequest{Term: 6, LastLogTerm: 4, LastLogIndex: 101}, true},
		"shorter, of a newer term":   {raft.RequestVoteRequest{Term: 7, LastLogTerm: 6, LastLogIndex: 1}, false},
		"the leader who is lost now": {raft.RequestVoteRequest{Term: 5, LastLogTerm: 4, LastLogIndex: 90}, false},
	} {
		if got := isBehind(&c.ask, last); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLongerLogStands: where the first to stand has the shorter log, the other one
// stands as soon as it has refused its vote.
func TestLongerLogStands(t *testing.T) {
	g := newGroup(t, LogStoreBolt)
	first := g.patient(Timers{Apart: patience})
	behind := g.others(first)[0]
	last := g.node(behind).raft.Load().LastIndex
	g.mu.Lock()
	g.loses = func(from, addr string) bool { return from == first && addr == g.addrs[behind] }
	g.mu.Unlock()
	g.must(g.put(g.node(first), "k"))
	if had, all := last(), g.node(first).raft.Load().LastIndex(); had >= all {
		t.Fatalf("the first to stand has %d entries of %d", had, all)
	}
	began, ends := time.Now(), g.node(first)
	g.must(g.lis[first].Close())
	ends.streams.stop() // it need not wait for answers, as a process that is killed
	g.stop(first)
	err := g.get(g.leader(), "k")
	if took := time.Since(began); err != nil || took > patience {
		t.Errorf("%v, after %s", err, took)
	}
}

// patience is what nobody is to wait for.
const patience = 30 * time.Second

func (g *group) others(than string) []string {
	return slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return id == than })
}

// patient makes a group of three in which all but the leader, whose ID it returns,
// wait longer than patience for raft's timers.
func (g *group) patient(timers Timers) string {
	g.t.Helper()
	g.voters()
	first := g.leader().cfg.ID
	for _, id := range g.others(first) {
		g.stop(id)
	}
	g.stop(first) // last: no log is longer than its
	timers.Heartbeat, timers.Election, timers.Lease = 2*patience, 2*patience, patience
	g.timers = timers // of the others, from now on
	for _, id := range g.others(first) {
		g.start(id, false, false)
	}
	g.timers = Timers{}
	g.start(first, false, false)
	g.until("all to follow", func() bool {
		for id := range g.addrs {
			if leader, _ := g.node(id).Leader(); leader != first {
				return false
			}
		}
		return true
	})
	return first
}
