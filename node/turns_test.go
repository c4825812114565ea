package node

import (
	"context"
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestTurns: a batch goes at once while few are under way, then only growth times as
// large as the smallest of them, and never beyond the most; the end of one lets the next go.
func TestTurns(t *testing.T) {
	const growth = 2
	q := newFairQueue(100)
	turns := newTurns(q, 1, 2, growth)
	push := func(accesses int) {
		if !q.push("a", &item{accesses: make([]*fsmpb.Access, accesses)}) {
			t.Fatal("no room")
		}
	}
	take := func() {
		for q.take() != nil {
		}
	}
	went := make(chan bool, 1)
	wait := func() { went <- turns.wait(t.Context()) }
	push(1)
	if wait(); !<-went {
		t.Fatal("the first batch waits")
	}
	take()
	turns.begin(3)
	push(3*growth - 1)
	if q.holds(turns.need()) {
		t.Fatal("a smaller batch goes beside the first")
	}
	go wait()
	push(1)
	if !<-went {
		t.Fatal("a batch that is large enough waits")
	}
	take()
	turns.begin(3)
	push(50)
	if q.holds(turns.need()) {
		t.Fatal("a third batch goes")
	}
	go wait()
	turns.end(3)
	if !<-went {
		t.Fatal("the end of one lets none go")
	}
	take()
	turns.end(3)
	go wait()
	push(1)
	if !<-went {
		t.Fatal("an idle node lets a batch wait")
	}
	take()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { went <- turns.wait(ctx) }()
	cancel()
	if <-went {
		t.Fatal("an ended context lets a batch go")
	}
}
