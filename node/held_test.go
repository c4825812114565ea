package node

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestHeldValuesAreNotSent: a follower gets a value once, and then what the log
// decides; another version is sent, and nothing is answered that is not granted.
func TestHeldValuesAreNotSent(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	n := g.node("n2")
	if n == g.leader() {
		n = g.node("n3")
	}
	var sent int // bytes of values in the last reply with one result
	g.answered = func(_ string, reply []byte) {
		var r fsmpb.ProposalReply
		if err := proto.Unmarshal(reply, &r); err == nil && len(r.GetResults()) == 1 {
			sent = len(r.GetResults()[0].GetSecret().GetSealed())
		}
	}
	get := func(caller string) *fsmpb.Result {
		results, _, err := n.Do(t.Context(), []*fsmpb.Access{{
			Caller: caller, Svid: fsmpb.SVIDKind_SVID_KIND_X509, Expires: time.Now().Add(time.Hour).UnixNano(),
			Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "k"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	expect := func(what string, r *fsmpb.Result, version uint64, bytesSent bool) {
		t.Helper()
		s := r.GetSecret()
		digest := sha256.Sum256(s.GetSealed())
		if r.GetOutcome() != fsmpb.Outcome_OUTCOME_GRANTED || s.GetVersion() != version || !bytes.Equal(digest[:], s.GetDigest()) || bytesSent != (sent > 0) {
			t.Errorf("%s: %v with %d bytes sent", what, r, sent)
		}
	}
	g.must(g.put(n, "k"))
	expect("the first get", get(agentID), 1, true)
	expect("the second, which is held from now on", get(agentID), 1, true)
	expect("the third", get(agentID), 1, false)
	expect("another process's", get("spiffe://hexr.cloud/agent/acme/bot/other"), 1, true)
	g.must(g.do(n, &fsmpb.Access{RequestDigest: make([]byte, 32), Op: &fsmpb.Access_Put{Put: &fsmpb.Put{
		Path: "k", Scope: "spiffe://hexr.cloud/agent/acme/bot/*", Sealed: []byte("another value"), Size: 1,
	}}}))
	expect("after a put", get(agentID), 2, true)
	expect("again", get(agentID), 2, true)
	expect("and again", get(agentID), 2, false)
	if r := get("spiffe://hexr.cloud/agent/acme/stranger/main"); r.GetOutcome() != fsmpb.Outcome_OUTCOME_NOT_FOUND || r.GetSecret() != nil {
		t.Errorf("a stranger gets %v", r)
	}
	g.must(g.do(n, &fsmpb.Access{RequestDigest: make([]byte, 32), Op: &fsmpb.Access_Delete{Delete: &fsmpb.Delete{
		Path: "k", Scope: "spiffe://hexr.cloud/agent/acme/bot/*",
	}}}))
	if r := get(agentID); r.GetOutcome() != fsmpb.Outcome_OUTCOME_NOT_FOUND || r.GetSecret() != nil {
		t.Errorf("what was deleted is answered: %v", r)
	}
}

// TestHeld: large values, and those that had no room in a reply, are not held.
func TestHeld(t *testing.T) {
	h, err := newHeld()
	if err != nil {
		t.Fatal(err)
	}
	accesses := []*fsmpb.Access{
		{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "small"}}}, {Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "large"}}},
		{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "none"}}}, {Op: &fsmpb.Access_Describe{Describe: &fsmpb.Describe{Path: "small"}}},
	}
	found, digests := h.find(accesses)
	if digests != nil {
		t.Fatal("something is held at first")
	}
	result := func(digest string, size int) *fsmpb.Result {
		return &fsmpb.Result{Value: &fsmpb.Result_Secret{Secret: &fsmpb.Secret{Digest: []byte(digest), Sealed: make([]byte, size)}}}
	}
	for range 2 {
		if digests != nil {
			t.Fatal("what was sent once is held")
		}
		h.fill(accesses, found, []*fsmpb.Result{result("digest-a", heldSize), result("digest-b", heldSize+1), result("digest-c", 0), result("digest-d", 1)})
		found, digests = h.find(accesses)
	}
	if string(digests[0]) != "digest-a" || digests[1] != nil || digests[2] != nil || digests[3] != nil {
		t.Errorf("%q are held", digests)
	}
	results := []*fsmpb.Result{result("digest-a", heldSize), result("digest-b", 7), result("digest-c", 7), result("digest-d", 7)}
	dropHeld(results, digests)
	h.fill(accesses, found, results)
	for i, want := range []int{heldSize, 7, 7, 7} {
		if got := len(results[i].GetSecret().GetSealed()); got != want {
			t.Errorf("result %d has %d bytes, want %d", i, got, want)
		}
	}
	other := []*fsmpb.Result{result("digest-z", 0), {}, {}, {}} // another version, without room for its value
	h.fill(accesses, found, other)
	if len(other[0].GetSecret().GetSealed()) > 0 {
		t.Error("a value of another version is answered")
	}
}
