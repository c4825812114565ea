package node

import (
	"fmt"
	"strings"
	"testing"
)

// TestFairQueue: callers take turns, in the order of their own items, and nothing
// is lost or taken beyond the bound.
func TestFairQueue(t *testing.T) {
	q := newFairQueue(6)
	names := map[*item]string{}
	push := func(caller string, n int) bool {
		it := &item{}
		names[it] = fmt.Sprint(caller, n)
		return q.push(caller, it)
	}
	for n := range 4 {
		if !push("flood", n) {
			t.Fatal("refused within the bound")
		}
	}
	if !push("a", 0) || !push("b", 0) || push("a", 1) {
		t.Fatal("the bound is not 6")
	}
	var got []string
	for it := q.take(); it != nil; it = q.take() {
		if got = append(got, names[it]); len(got) == 3 && !push("a", 1) {
			t.Fatal("no room after three were taken")
		}
	}
	if want := "flood0 a0 b0 flood1 a1 flood2 flood3"; strings.Join(got, " ") != want {
		t.Fatalf("%v, want %s", got, want)
	}
	if q.take() != nil || len(q.lines) != 0 || q.size != 0 || q.count != 0 {
		t.Fatal("the queue is not empty")
	}
}
