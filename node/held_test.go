package node

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

func getOf(path string) *fsmpb.Access {
	a := &fsmpb.Access{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: path}}}
	asAgent(a)
	return a
}

// TestHeldValuesAreNotSent: a follower whose store has the version that the log decides
// on is sent the decision alone, and answers nothing that is not granted.
func TestHeldValuesAreNotSent(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	n := g.follower()
	var sent int // bytes of values in the last reply with one result
	g.answered = func(_ string, reply []byte) {
		var r fsmpb.ProposalReply
		if err := proto.Unmarshal(reply, &r); err == nil && len(r.GetResults()) == 1 {
			sent = len(r.GetResults()[0].GetSecret().GetSealed())
		}
	}
	get := func(a *fsmpb.Access) *fsmpb.Result {
		results, _, err := n.Do(t.Context(), []*fsmpb.Access{a})
		if err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	for version := uint64(1); version <= 2; version++ {
		put := putOf("k")
		put.GetPut().Sealed = bytes.Repeat([]byte{byte(version)}, 100)
		g.must(g.do(n, put))
		g.until("the value to be held", func() bool {
			s := get(getOf("k")).GetSecret()
			if digest := sha256.Sum256(s.GetSealed()); s.GetVersion() != version || !bytes.Equal(digest[:], s.GetDigest()) {
				t.Fatalf("version %d: %v with %d bytes sent", version, s, sent)
			}
			return sent == 0
		})
	}
	stranger := getOf("k")
	stranger.Caller = "spiffe://hexr.cloud/agent/acme/stranger/main"
	if r := get(stranger); r.GetOutcome() != fsmpb.Outcome_OUTCOME_NOT_FOUND || r.GetSecret() != nil {
		t.Errorf("a stranger gets %v", r)
	}
	g.must(g.do(n, &fsmpb.Access{RequestDigest: make([]byte, 32), Op: &fsmpb.Access_Delete{Delete: &fsmpb.Delete{
		Path: "k", Scope: "spiffe://hexr.cloud/agent/acme/bot/*",
	}}}))
	if r := get(getOf("k")); r.GetOutcome() != fsmpb.Outcome_OUTCOME_NOT_FOUND || r.GetSecret() != nil {
		t.Errorf("what was deleted is answered: %v", r)
	}
}

// TestOtherValuesAreSent: who holds another version, or says nothing of one, is sent what
// the log decides on, in each place of a proposal.
func TestOtherValuesAreSent(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	leader, from := g.leader(), g.follower()
	g.must(g.put(leader, "a"))
	g.must(g.put(leader, "b"))
	digest := func(path string) []byte {
		d := sha256.Sum256(putOf(path).GetPut().GetSealed())
		return d[:]
	}
	for name, c := range map[string]struct {
		holds [][]byte
		sent  []bool // a, b
	}{
		"nothing":        {nil, []bool{true, true}},
		"one":            {[][]byte{nil, digest("b")}, []bool{true, false}},
		"both":           {[][]byte{digest("a"), digest("b")}, []bool{false, false}},
		"each the other": {[][]byte{digest("b"), digest("a")}, []bool{true, true}},
	} {
		p := from.proposal([]*fsmpb.Access{getOf("a"), getOf("b")})
		p.Holds = c.holds
		if err := from.fill(p.GetAccesses()); err != nil {
			t.Fatal(err)
		}
		data, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := leader.HandlePropose(t.Context(), from.cfg.ID, data)
		if err != nil {
			t.Fatal(err)
		}
		var r fsmpb.ProposalReply
		if err := proto.Unmarshal(answer, &r); err != nil {
			t.Fatal(err)
		}
		for i, path := range []string{"a", "b"} {
			s := r.GetResults()[i].GetSecret()
			if s.GetPath() != path || !bytes.Equal(s.GetDigest(), digest(path)) || (len(s.GetSealed()) > 0) != c.sent[i] {
				t.Errorf("who holds %s: %v", name, s)
			}
		}
	}
}

// TestFillHeld: a result gets the value that it names, and no other.
func TestFillHeld(t *testing.T) {
	secret := func(digest string, size int) *fsmpb.Secret {
		return &fsmpb.Secret{Digest: []byte(digest), Sealed: make([]byte, size)}
	}
	result := func(digest string, size int) *fsmpb.Result {
		return &fsmpb.Result{Value: &fsmpb.Result_Secret{Secret: secret(digest, size)}}
	}
	found := []*fsmpb.Secret{secret("digest-a", 7), secret("digest-b", 7), secret("digest-c", 7), nil, secret("digest-e", 7)}
	if d := digestsOf(found); len(d) != 5 || string(d[0]) != "digest-a" || d[3] != nil {
		t.Errorf("%q are held", d)
	}
	if d := digestsOf(make([]*fsmpb.Secret, 5)); d != nil {
		t.Errorf("of nothing %q are held", d)
	}
	results := []*fsmpb.Result{result("digest-a", 0), result("digest-z", 0), result("digest-c", 9), result("", 0), {}}
	fillHeld(found, results)
	for i, want := range []int{7, 0, 9, 0, 0} {
		if got := len(results[i].GetSecret().GetSealed()); got != want {
			t.Errorf("result %d has %d bytes, want %d", i, got, want)
		}
	}
}
