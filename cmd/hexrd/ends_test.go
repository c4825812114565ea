package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

const handBot = "/agent/acme/bot/main"

// after waits for a condition, and tells how long that took from begin.
func after(t *testing.T, begin time.Time, what string, ok func() bool) {
	t.Helper()
	until(t, what, ok)
	t.Logf("%s: after %s", what, time.Since(begin).Round(time.Millisecond))
}

// TestNodesAreCutOff: a node whose CA left the bundle of the others, whose own
// SVID has ended, or that was removed takes part in nothing any more; with what it
// lacked it comes back by itself, but for the removed one.
func TestNodesAreCutOff(t *testing.T) {
	t.Parallel()
	first, second := openCA(t), openCA(t)
	b := newByHand(t, []*dev.CA{first, second}, func(n *handNode) {
		ca := first
		if n.id == "n3" {
			ca = second
		}
		writeSVID(t, n.dir, ca, "/hexr/node/"+n.id, time.Hour)
		writeBundle(t, n.dir, first, second)
	})
	op := b.client("/hexr/operator/ann", b.nodes[0].addr)
	agent := b.client(handBot, b.nodes[0].addr)
	last := b.nodes[2]
	if leader, err := op.TransferLeadership(t.Context(), "n1"); err != nil || leader != "n1" {
		t.Fatal(leader, err)
	}
	state := func() string { return memberOf(t, op, "n3").GetState() }
	alone := func() bool {
		code, why := b.health(last)
		return code == http.StatusServiceUnavailable && strings.Contains(why, "no leader") && state() == "unreachable"
	}
	back := func() bool {
		code, _ := b.health(last)
		return code == http.StatusOK && state() == "follower"
	}
	trust := func(cas ...*dev.CA) time.Time {
		for _, n := range b.nodes[:2] {
			writeBundle(t, n.dir, cas...)
		}
		return time.Now()
	}
	after(t, trust(first), "its CA left the bundle of the others: cut off", alone)
	if _, err := agent.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	after(t, trust(first, second), "its CA is in the bundle: back", back)

	b.stop(last.cmd, last.exited)
	end := writeSVID(t, last.dir, second, "/hexr/node/n3", 12*time.Second)
	b.start(last, "start")
	if !back() || time.Now().After(end) {
		t.Fatal("it did not come back before its SVID ended: this test shows nothing")
	}
	after(t, end, "its SVID has ended: cut off", alone)
	writeSVID(t, last.dir, second, "/hexr/node/n3", time.Hour)
	after(t, time.Now(), "its SVID was renewed: back", back)

	through := b.through(last)
	if err := op.RemoveMember(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	removed := time.Now()
	after(t, removed, "removed: its process has ended", func() bool {
		select {
		case <-last.exited:
			return true
		default:
			return false
		}
	})
	answered := through().Sub(removed)
	if t.Logf("removed: it answered last %s after that", answered.Round(time.Millisecond)); answered > 5*time.Second {
		t.Error("it answers for too long")
	}
}

// through reads through a node until it is told to stop, and says when it was
// answered last.
func (b *byHand) through(n *handNode) (stop func() time.Time) {
	b.t.Helper()
	if _, err := b.client(handBot, n.addr).Put(b.t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		b.t.Fatal(err)
	}
	conn, _ := b.conn(handBot, time.Hour, n.addr)
	ctx, cancel := context.WithCancel(b.t.Context())
	var wg sync.WaitGroup
	var last time.Time
	wg.Go(func() {
		for ctx.Err() == nil {
			call, done := context.WithTimeout(ctx, 2*time.Second)
			if _, err := hexrv1.NewVaultClient(conn).Get(call, &hexrv1.GetRequest{Path: "k"}); err == nil {
				last = time.Now()
			}
			done()
		}
	})
	return func() time.Time {
		cancel()
		wg.Wait()
		return last
	}
}

// readers read through one node all the while, without retries.
type readers struct {
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	answers []answer
}

type answer struct {
	sent, came time.Time
	err        error
}

func read(t *testing.T, conn *grpc.ClientConn, n int) *readers {
	r := &readers{}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(t.Context())
	for range n {
		r.wg.Go(func() {
			for ctx.Err() == nil {
				a := answer{sent: time.Now()}
				_, a.err = hexrv1.NewVaultClient(conn).Get(ctx, &hexrv1.GetRequest{Path: "k"})
				a.came = time.Now()
				r.mu.Lock()
				r.answers = append(r.answers, a)
				r.mu.Unlock()
				if a.err != nil && (status.Code(a.err) == codes.PermissionDenied || status.Code(a.err) == codes.Unauthenticated) {
					return
				}
			}
		})
	}
	return r
}

func (r *readers) count(which func(answer) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.answers {
		if which(a) {
			n++
		}
	}
	return n
}

// TestAccessesOfAPausedNode: what waited in a node while it was paused is refused
// when it goes on, if the caller's SVID has ended or the caller was blocked.
func TestAccessesOfAPausedNode(t *testing.T) {
	t.Parallel()
	const waiting = 16
	ca := openCA(t)
	b := newByHand(t, []*dev.CA{ca}, func(n *handNode) {
		writeSVID(t, n.dir, ca, "/hexr/node/"+n.id, time.Hour)
		writeBundle(t, n.dir, ca)
	})
	op := b.client("/hexr/operator/ann", b.nodes[0].addr, b.nodes[1].addr, b.nodes[2].addr)
	for _, c := range []struct {
		name   string
		leader string
		ttl    time.Duration
	}{
		{"a follower, until the SVID has ended", "n1", 6 * time.Second},
		{"the leader, until the SVID has ended", "n2", 6 * time.Second},
		{"a follower, until the caller is blocked", "n1", time.Hour},
		{"the leader, until the caller is blocked", "n2", time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			until(t, "leadership of "+c.leader, func() bool {
				leader, err := op.TransferLeadership(t.Context(), c.leader)
				return err == nil && leader == c.leader
			})
			paused := b.nodes[1]
			if _, err := b.client(handBot, paused.addr).Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			conn, end := b.conn(handBot, c.ttl, paused.addr)
			r := read(t, conn, waiting)
			defer func() { r.cancel(); r.wg.Wait() }()
			until(t, "reads", func() bool { return r.count(func(a answer) bool { return a.err == nil }) > 200 })
			signal := func(sig syscall.Signal) time.Time {
				if err := paused.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				return time.Now()
			}
			if time.Until(end) < time.Second {
				t.Fatal("the SVID has ended before the pause: this test shows nothing")
			}
			stopped := signal(syscall.SIGSTOP)
			defer signal(syscall.SIGCONT)
			if c.ttl == time.Hour {
				if err := op.Block(t.Context(), "agent/acme/bot"); err != nil {
					t.Fatal(err)
				}
				end = time.Now()
			}
			until(t, "the pause to be long enough", func() bool { return time.Since(end) > 0 && time.Since(stopped) > 4*time.Second })
			resumed := time.Now()
			signal(syscall.SIGCONT)
			waited := func(a answer) bool { return a.sent.Before(resumed) && a.came.After(resumed) }
			until(t, "what waited to be refused", func() bool { return r.count(waited) >= waiting })
			first := time.Since(resumed)
			until(t, "all to be refused", func() bool {
				return r.count(func(a answer) bool { return a.came.After(resumed) && a.err != nil }) >= waiting
			})
			if n := r.count(func(a answer) bool { return a.came.After(resumed) && a.err == nil }); n > 0 {
				t.Errorf("%d values left the node after the pause", n)
			}
			t.Logf("%s: %d accesses waited; all are refused %s after the pause", c.name, r.count(waited), first.Round(time.Millisecond))
			if c.ttl == time.Hour {
				if err := op.Unblock(t.Context(), "agent/acme/bot"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestRenewalUnderLoad: nodes whose SVIDs are renewed all the while answer
// everything, though each connection ends with the SVID that it was made with.
func TestRenewalUnderLoad(t *testing.T) {
	t.Parallel()
	const life = 6 * time.Second
	ca := openCA(t)
	b := newByHand(t, []*dev.CA{ca}, func(n *handNode) {
		writeSVID(t, n.dir, ca, "/hexr/node/"+n.id, time.Minute)
		writeBundle(t, n.dir, ca)
	})
	var rs []*readers
	for _, n := range b.nodes {
		if _, err := b.client(handBot, n.addr).Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		conn, _ := b.conn(handBot, time.Hour, n.addr)
		rs = append(rs, read(t, conn, 2))
	}
	for range 4 {
		renewed := time.Now()
		for _, n := range b.nodes {
			writeSVID(t, n.dir, ca, "/hexr/node/"+n.id, life)
		}
		until(t, "half of the SVIDs' life to pass", func() bool { return time.Since(renewed) > life/2 })
	}
	for i, r := range rs {
		r.cancel()
		r.wg.Wait()
		var failure error
		bad := r.count(func(a answer) bool {
			switch status.Code(a.err) {
			case codes.OK, codes.Canceled, codes.ResourceExhausted: // the last: it reads too fast
				return false
			}
			failure = a.err
			return true
		})
		good := r.count(func(a answer) bool { return a.err == nil })
		t.Logf("%s: %d answers, %d failures", b.nodes[i].id, good, bad)
		if bad > 0 || good == 0 {
			t.Errorf("%s failed, at last with: %v", b.nodes[i].id, failure)
		}
	}
}

// TestRemovedWhileDown: nobody tells a node that was down when it was removed; it
// finds out, and ends.
func TestRemovedWhileDown(t *testing.T) {
	t.Parallel()
	c, _ := startCluster(t, "bolt")
	if _, err := c.Signal(t.Context(), "n3", "KILL"); err != nil {
		t.Fatal(err)
	}
	op := dialAs(t, c, "/hexr/operator/ann", c.Addresses()...)
	if err := op.RemoveMember(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := c.StartNode(t.Context(), "n3"); err == nil {
		t.Fatal("it is healthy")
	}
	for _, n := range c.Nodes(t.Context()) {
		if n.ID == "n3" && n.State != "exited" {
			t.Error("its process runs on")
		}
	}
	t.Logf("removed while it was down: its process has ended %s after its start", time.Since(begin).Round(time.Millisecond))
}
