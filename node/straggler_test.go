package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestStraggler: a put that was on its way for longer than the request window,
// while the caller sent it again elsewhere and that was forgotten, is not applied
// a second time.
func TestStraggler(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	leader := g.leader()
	slow := g.follower()
	sent := make(chan []byte, 1)
	g.hold = func(ctx context.Context, from string, p *fsmpb.Proposal) {
		if data, err := proto.Marshal(p); from == slow.cfg.ID && len(p.GetAccesses()) > 0 && err == nil {
			sent <- data
			<-ctx.Done()
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
	caller, givesUp := context.WithCancel(t.Context())
	tried := make(chan error, 1)
	go func() {
		_, _, err := slow.Do(caller, []*fsmpb.Access{put()})
		tried <- err
	}()
	straggler := <-sent
	givesUp()
	if err := <-tried; !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(err)
	}
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
	reply, err := g.leader().HandlePropose(t.Context(), slow.cfg.ID, straggler)
	var late fsmpb.ProposalReply
	if err := errors.Join(err, proto.Unmarshal(reply, &late)); err != nil || late.GetResults()[0].GetOutcome() != fsmpb.Outcome_OUTCOME_STALE {
		t.Errorf("the straggler: %v, %v", late.GetResults(), err)
	}
	results, _, err = g.leader().Do(t.Context(), []*fsmpb.Access{put()})
	if err != nil || results[0].GetWritten().GetVersion() != 2 {
		t.Fatalf("the next put is not version 2, so the straggler was applied or the window is not over: %v %v", err, results)
	}
}

// TestRequestIDsOutlive: what a request id stands for is remembered past a delete,
// by the next leader, and by a node that has it from a snapshot alone.
func TestRequestIDsOutlive(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{TrailingEntries: 1})
	try := func(n *Node, caller, content string) *fsmpb.Result {
		t.Helper()
		digest := sha256.Sum256([]byte(content))
		results, _, err := n.Do(t.Context(), []*fsmpb.Access{{
			Caller: caller, Svid: fsmpb.SVIDKind_SVID_KIND_X509, Expires: time.Now().Add(time.Hour).UnixNano(),
			RequestId: []byte("0123456789abcdef"), RequestDigest: digest[:], Op: &fsmpb.Access_Put{Put: &fsmpb.Put{
				Path: "k", Scope: "spiffe://hexr.cloud/agent/acme/bot/*", Sealed: []byte("sealed " + content), Size: 1,
			}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	check := func(when string, n *Node) {
		t.Helper()
		if r := try(n, agentID, "v"); r.GetOutcome() != fsmpb.Outcome_OUTCOME_REPLAYED || r.GetWritten().GetVersion() != 1 {
			t.Errorf("%s: the same again: %v", when, r)
		}
		if r := try(n, agentID, "other"); r.GetOutcome() != fsmpb.Outcome_OUTCOME_MISMATCH {
			t.Errorf("%s: other content: %v", when, r)
		}
	}
	first := g.leader()
	away := "n3"
	if first.cfg.ID == away {
		away = "n2"
	}
	g.stop(away)
	if r := try(first, agentID, "v"); r.GetWritten().GetVersion() != 1 {
		t.Fatal(r)
	}
	digest := sha256.Sum256([]byte("delete"))
	g.must(g.do(first, &fsmpb.Access{RequestDigest: digest[:], Op: &fsmpb.Access_Delete{Delete: &fsmpb.Delete{
		Path: "k", Scope: "spiffe://hexr.cloud/agent/acme/bot/*",
	}}}))
	check("past a delete", first)
	for i := range 20 {
		g.must(g.put(first, fmt.Sprint("x", i)))
	}
	for _, n := range g.nodes {
		g.must(n.raft.Load().Snapshot().Error())
	}
	g.start(away, false, false)
	g.until("the follower to come back", func() bool { return g.node(away).Store().AppliedIndex() >= first.Store().AppliedIndex() })
	metas, err := g.node(away).snapshots.List()
	if err != nil || len(metas) == 0 {
		t.Fatal("it came back without a snapshot: the test shows nothing", err)
	}
	g.until("it to lead", func() bool {
		_ = g.leader().Transfer(t.Context(), away)
		return g.leader().cfg.ID == away
	})
	check("by a leader that has it from a snapshot", g.node(away))
	if r := try(g.node(away), "spiffe://hexr.cloud/agent/acme/bot/writer", "v"); r.GetOutcome() != fsmpb.Outcome_OUTCOME_GRANTED {
		t.Errorf("another caller's is its own: %v", r)
	}
}
