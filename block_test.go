package hexrd_test

import (
	"sync"
	"testing"

	"github.com/hexrdev/hexrd/client"
)

// TestUnblockedIsAnswered: a get after an unblock was acknowledged is answered by every
// node, also by one that has not applied the unblock yet.
func TestUnblockedIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2", "n3")
	const agent = "agent/acme/bot"
	var bots []*client.Client
	for _, id := range []string{"n1", "n2", "n3"} {
		bots = append(bots, f.dial("/"+agent+"/main", f.addrs[id]))
	}
	if _, err := bots[0].Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := f.op.Block(t.Context(), agent); err != nil {
			t.Fatal(err)
		}
		f.until("the block to be known", func() bool {
			for _, bot := range bots {
				if _, err := bot.Get(t.Context(), "k"); err == nil {
					return false
				}
			}
			return true
		})
		if err := f.op.Unblock(t.Context(), agent); err != nil {
			t.Fatal(err)
		}
		var gets sync.WaitGroup
		for _, bot := range bots {
			gets.Go(func() {
				if _, err := bot.Get(t.Context(), "k"); err != nil {
					t.Errorf("after an unblock: %v", err)
				}
			})
		}
		gets.Wait()
	}
}
