package node

import (
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestRepliesAreBounded: what a reply has no room for is left out alone.
func TestRepliesAreBounded(t *testing.T) {
	secret := func(n int) *fsmpb.Result {
		return &fsmpb.Result{Value: &fsmpb.Result_Secret{Secret: &fsmpb.Secret{Sealed: make([]byte, n)}}}
	}
	results := []*fsmpb.Result{secret(60), {}, secret(40), secret(1), {}}
	dropValues(results, 100)
	for i, want := range []int{60, 0, 40, 0, 0} {
		if got := len(results[i].GetSecret().GetSealed()); got != want {
			t.Errorf("result %d has %d bytes, want %d", i, got, want)
		}
	}
}
