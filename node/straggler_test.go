package node

import (
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestStraggler: a put that its node held for longer than the request window,
// while the caller sent it again elsewhere and that was forgotten, is not applied
// a second time.
func TestStraggler(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	leader := g.leader()
	slow := g.node("n2")
	if slow == leader {
		slow = g.node("n3")
	}
	arrived, released := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(arrived) })
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	g.hold = func(from string, p *fsmpb.Proposal) {
		if from == slow.cfg.ID && len(p.GetAccesses()) > 0 {
			arrive()
			<-released
		}
	}
	put := func() *fsmpb.Access {
		digest := sha256.Sum256([]byte("k"))
		return &fsmpb.Access{
			Caller: agentID, Svid: fsmpb.SVIDKind_SVID_KIND_X509, Expires: time.Now().Add(48 * time.Hour).UnixNano(),
			RequestId: []byte("0123456789abcdef"), RequestDigest: digest[:], Op: &fsmpb.Access_Put{Put: &fsmpb.Put{
				Path: "k", Scope: "spiffe://hexr.cloud/agent/acme/bot/*", Sealed: []byte("sealed"), Size: 1,
			}},
		}
	}
	late := make(chan *fsmpb.Result, 1)
	go func() {
		results, _, err := slow.Do(t.Context(), []*fsmpb.Access{put()})
		if err != nil {
			t.Error(err)
			results = []*fsmpb.Result{nil}
		}
		late <- results[0]
	}()
	<-arrived
	results, _, err := leader.Do(t.Context(), []*fsmpb.Access{put()})
	if err != nil || results[0].GetWritten().GetVersion() != 1 {
		t.Fatal(err, results)
	}
	g.shift(30*time.Minute, "n1", "n2", "n3") // later on all clocks
	g.until("time to move", func() bool {
		g.must(g.get(g.leader(), "k"))
		return leader.Store().Time() > time.Now().Add(20*time.Minute).UnixNano()
	})
	g.leader().sweep(t.Context()) // the request id is forgotten
	release()
	if r := <-late; r.GetOutcome() != fsmpb.Outcome_OUTCOME_STALE {
		t.Errorf("the straggler: %v", r)
	}
	results, _, err = g.leader().Do(t.Context(), []*fsmpb.Access{put()})
	if err != nil || results[0].GetWritten().GetVersion() != 2 {
		t.Fatalf("the next put is not version 2, so the straggler was applied or the window is not over: %v %v", err, results)
	}
}
