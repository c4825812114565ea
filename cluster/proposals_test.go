package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/internal/frames"
)

// serveProposals serves them until the returned function, or the test, ends.
func serveProposals(t *testing.T, l *Listener, b Backend) (stop func()) {
	t.Helper()
	ctx, cut := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- ServeProposals(ctx, l.Proposals(), b, quietLog) }()
	stop = sync.OnceFunc(func() {
		_ = l.Proposals().Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cut()
		stop()
	})
	return stop
}

func refusedWith(err error) clusterpb.Refusal_Kind {
	var r *RefusalError
	if errors.As(err, &r) {
		return r.Kind
	}
	return clusterpb.Refusal_KIND_UNSPECIFIED
}

// TestProposalsGetTheirOwnAnswers sends many at a time, of all sizes, over one
// connection.
func TestProposalsGetTheirOwnAnswers(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	serveProposals(t, l, backend{newMembers("n2")})
	p := peersAs(t, "node/n2", testID)
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			proposal := slices.Repeat([]byte{byte(i)}, i*i*20)
			reply, err := p.Propose(t.Context(), "n1", l.Addr().String(), proposal)
			if err != nil || string(reply) != "n2 "+string(proposal) {
				t.Errorf("%d got %d bytes: %v", i, len(reply), err)
			}
		})
	}
	callers.Wait()
	if made := madeOn(l); made != 1 {
		t.Errorf("%d connections", made)
	}
}

// TestProposalsAtTheEnd: a node that stops answers what is under way, and what comes
// after that is certain not to have been proposed.
func TestProposalsAtTheEnd(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	b := slow{backend{newMembers("n2")}, make(chan struct{}), make(chan struct{})}
	stop := serveProposals(t, l, b)
	p := peersAs(t, "node/n2", testID)
	first := make(chan error, 1)
	go func() {
		reply, err := p.Propose(t.Context(), "n1", l.Addr().String(), nil)
		if string(reply) != "late" {
			err = errors.Join(err, fmt.Errorf("answered %q", reply))
		}
		first <- err
	}()
	<-b.came
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	until(t, "a proposal to be refused", func() bool {
		_, err := p.Propose(t.Context(), "n1", l.Addr().String(), []byte("x"))
		return refusedWith(err) == clusterpb.Refusal_KIND_UNAVAILABLE
	})
	close(b.answer)
	if err := <-first; err != nil {
		t.Errorf("what was under way: %v", err)
	}
	<-stopped
	if _, err := p.Propose(t.Context(), "n1", l.Addr().String(), []byte("x")); err == nil {
		t.Error("a node that has stopped answers")
	}
}

// TestProposalOfABrokenConnection is of unknown outcome at once, and the next one goes
// over a new connection.
func TestProposalOfABrokenConnection(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	b := slow{backend{newMembers("n2")}, make(chan struct{}, 2), make(chan struct{})}
	serveProposals(t, l, b)
	p := peersAs(t, "node/n2", testID)
	failed := make(chan error, 1)
	go func() {
		_, err := p.Propose(t.Context(), "n1", l.Addr().String(), nil)
		failed <- err
	}()
	<-b.came
	_ = l.conns.all()[0].NetConn().Close()
	if err := <-failed; !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("its connection broke: %v", err)
	}
	close(b.answer)
	if _, err := p.Propose(t.Context(), "n1", l.Addr().String(), nil); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// TestProposalThatIsNotAnswered ends with its context, and takes the connection with
// it where nothing is answered there.
func TestProposalThatIsNotAnswered(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	b := slow{backend{newMembers("n2")}, make(chan struct{}, 2), make(chan struct{})}
	serveProposals(t, l, b)
	p := peersAs(t, "node/n2", testID)
	ctx, cancel := context.WithTimeout(t.Context(), silenceMost+time.Second)
	defer cancel()
	if _, err := p.Propose(ctx, "n1", l.Addr().String(), nil); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("nobody answered: %v", err)
	}
	close(b.answer)
	if _, err := p.Propose(t.Context(), "n1", l.Addr().String(), nil); err != nil {
		t.Error(err)
	}
	if made := madeOn(l); made != 2 {
		t.Errorf("%d connections: the one that led nowhere was kept", made)
	}
}

// patient tells how long it may take.
type patient struct {
	backend
	until chan time.Duration
}

func (p patient) Propose(ctx context.Context, _ string, proposal []byte) ([]byte, error) {
	if len(proposal) > 0 {
		panic("secret/path")
	}
	at, _ := ctx.Deadline()
	p.until <- time.Until(at)
	return nil, nil
}

// TestProposalsAreBounded: no member waits for longer than it says, or than is
// allowed; a panic is an unknown outcome.
func TestProposalsAreBounded(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	b := patient{backend{newMembers("n2")}, make(chan time.Duration, 1)}
	serveProposals(t, l, b)
	p := peersAs(t, "node/n2", testID)
	addr := l.Addr().String()
	for _, c := range []struct{ says, atMost time.Duration }{{3 * time.Second, 3 * time.Second}, {time.Hour, proposalTimeout}} {
		ctx, cancel := context.WithTimeout(t.Context(), c.says)
		_, err := p.Propose(ctx, "n1", addr, nil)
		cancel()
		if got := <-b.until; err != nil || got <= 0 || got > c.atMost {
			t.Errorf("says %v: has %v, %v", c.says, got, err)
		}
	}
	if _, err := p.Propose(t.Context(), "n1", addr, []byte{1}); refusedWith(err) != clusterpb.Refusal_KIND_UNKNOWN_OUTCOME {
		t.Errorf("a panic: %v", err)
	}
}

// TestProposalsAreForNodes: who is none, or is blocked, gets no byte; who sends what is
// no proposal loses the connection.
func TestProposalsAreForNodes(t *testing.T) {
	adm := newMembers("n2")
	adm.change(func() { adm.blocked["node/n3"] = true })
	l := listen(t, newTLS("node/n1", longLived), adm, Limits{})
	serveProposals(t, l, backend{adm})
	for name, garbage := range map[string]string{"agent/a": "", "node/n3": "", "node/n2": "\x02\xff\xff", "node/n4": "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		s := newConnections(newTLS(name, longLived), nil, Limits{}.withDefaults())
		c, err := s.dial(t.Context(), l.Addr().String(), "n1", alpnPropose)
		if err == nil {
			_, _ = io.WriteString(c, garbage)
			err = frames.New(c, 1<<20, time.Minute).Read(&clusterpb.ProposeResponse{})
		}
		if err == nil {
			t.Errorf("%s was answered", name)
		}
		s.close()
	}
}
