package fsm

import (
	"testing"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	ok       = fsmpb.Outcome_OUTCOME_GRANTED
	no       = fsmpb.Outcome_OUTCOME_DENIED
	none     = fsmpb.Outcome_OUTCOME_NOT_FOUND
	clash    = fsmpb.Outcome_OUTCOME_CONFLICT
	shadow   = fsmpb.Outcome_OUTCOME_SHADOWED
	again    = fsmpb.Outcome_OUTCOME_REPLAYED
	mismatch = fsmpb.Outcome_OUTCOME_MISMATCH
	wasGone  = fsmpb.Outcome_OUTCOME_GONE
)

func TestScopesDecideWhoReads(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("key", agentScope, "agent's"), ok)
	b.one(mainID, put("notes", researScope, "researcher's"), ok)
	b.one(provID, put("shared", tenantScope, "tenant's"), ok)
	for _, c := range []struct {
		name, caller, path, scope string
		want                      fsmpb.Outcome
	}{
		{"own agent", writerID, "key", "", ok},
		{"own process", researID, "notes", "", ok},
		{"sibling's is denied", writerID, "notes", "", no},
		{"main can't read a process's", mainID, "notes", "", no},
		{"pinned sibling", writerID, "notes", researScope, no},
		{"tenant's from another agent", otherID, "shared", "", ok},
		{"another agent's is not found", otherID, "key", "", none},
		{"another agent's, pinned, is denied", otherID, "key", agentScope, no},
		{"another tenant", foreign, "shared", "", none},
		{"another tenant, pinned", foreign, "shared", tenantScope, no},
		{"provisioners never read", provID, "shared", tenantScope, no},
		{"operators never read", operID, "shared", tenantScope, no},
		{"auditors never read", audID, "shared", tenantScope, no},
		{"nodes never read", nodeID, "shared", tenantScope, no},
		{"nothing there", writerID, "nothing", "", none},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			b.one(c.caller, get(c.path, c.scope, 0), c.want)
		})
	}
}

func TestNarrowestRecordDecides(t *testing.T) {
	b := newCluster(t)
	b.one(provID, put("k", tenantScope, "tenant"), ok)
	b.one(mainID, put("k", agentScope, "agent"), ok)
	b.one(researID, put("k", researScope, "process"), ok)
	read := func(want string) {
		t.Helper()
		if got := string(b.one(researID, get("k", "", 0), ok).GetSecret().GetSealed()); got != "sealed "+want {
			t.Fatalf("read %q, want %q", got, want)
		}
	}
	read("process")
	b.one(researID, put("k", agentScope, "hidden"), shadow)
	b.one(researID, del("k", researScope), ok)
	b.one(researID, get("k", "", 0), none) // a deleted one hides the broader ones
	b.one(mainID, destroy("k", researScope, 0), ok)
	read("agent")
	b.one(mainID, destroy("k", agentScope, 0), ok)
	read("tenant")
}

func TestWhoWrites(t *testing.T) {
	b := newCluster(t)
	for _, c := range []struct {
		name, caller, scope string
		want                fsmpb.Outcome
	}{
		{"process to its agent", writerID, agentScope, ok},
		{"process to a sibling", writerID, researScope, no},
		{"main to a process", mainID, researScope, ok},
		{"agent to the tenant", mainID, tenantScope, no},
		{"provisioner to the tenant", provID, tenantScope, ok},
		{"another agent", otherID, agentScope, no},
		{"operator", operID, tenantScope, no},
		{"auditor", audID, tenantScope, no},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			b.one(c.caller, put("w/"+c.name[:4], c.scope, "v"), c.want)
		})
	}
}

func TestProvisionedRecordsStay(t *testing.T) {
	b := newCluster(t)
	b.one(provID, put("k", agentScope, "theirs"), ok)
	b.one(mainID, put("k", agentScope, "mine"), no)
	b.one(mainID, del("k", agentScope), no)
	b.one(mainID, destroy("k", agentScope, 0), no)
	b.one(provID, del("k", agentScope), ok)
	b.one(mainID, undel("k", agentScope), no)
	b.one(provID, undel("k", agentScope), ok)
	b.one(provID, destroy("k", agentScope, 0), ok)
	if v := b.one(mainID, put("k", agentScope, "mine"), ok).GetWritten().GetVersion(); v != 2 {
		t.Fatalf("version %d after a destroy, want 2: numbers never start again", v)
	}
}

func TestDestroyOfTheAgentsScopeIsMains(t *testing.T) {
	b := newCluster(t)
	b.one(writerID, put("k", agentScope, "v"), ok)
	b.one(writerID, destroy("k", agentScope, 0), no)
	b.one(mainID, destroy("k", agentScope, 0), ok)
}

func TestVersionsAndCompareAndSet(t *testing.T) {
	b := newCluster(t)
	cas := func(expected uint64, want fsmpb.Outcome) *fsmpb.Result {
		t.Helper()
		a := put("k", agentScope, "v")
		a.GetPut().ExpectedVersion = &expected
		return b.one(mainID, a, want)
	}
	cas(1, clash)
	cas(0, ok)
	cas(0, clash)
	cas(1, ok)
	b.one(mainID, get("k", "", 1), ok)
	b.one(mainID, get("k", "", 3), none)
	b.one(mainID, destroy("k", agentScope, 1), ok)
	b.one(mainID, get("k", "", 1), none)
	b.one(mainID, destroy("k", agentScope, 1), wasGone)
	b.one(mainID, get("k", "", 0), ok)
	b.one(mainID, del("k", agentScope), ok)
	cas(2, clash)
	if v := cas(0, ok).GetWritten().GetVersion(); v != 3 {
		t.Fatalf("version %d, want 3", v)
	}
	for range 20 {
		b.one(mainID, put("k", agentScope, "v"), ok)
	}
	list := b.one(mainID, &fsmpb.Access{Op: &fsmpb.Access_Versions{Versions: &fsmpb.Versions{Path: "k"}}}, ok).GetVersionList()
	if n := len(list.GetVersions()); n != 10 || list.GetVersions()[9].GetVersion() != 23 {
		t.Fatalf("%d versions are kept, want the last 10", n)
	}
	b.one(mainID, get("k", "", 3), none)
}

func TestDeleteUndelete(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, undel("k", agentScope), none)
	b.one(mainID, del("k", agentScope), none)
	b.one(mainID, put("k", agentScope, "v"), ok)
	b.one(mainID, undel("k", agentScope), clash)
	b.one(mainID, del("k", agentScope), ok)
	b.one(mainID, get("k", "", 0), none)
	b.one(mainID, get("k", "", 1), none)
	b.one(mainID, undel("k", agentScope), ok)
	b.one(mainID, get("k", "", 0), ok)
	b.one(mainID, del("k", agentScope), ok)
	b.now += 25 * int64(time.Hour)
	b.one(mainID, undel("k", agentScope), wasGone)
	sweep := &fsmpb.Access{Op: &fsmpb.Access_Sweep{Sweep: &fsmpb.Sweep{Limit: 100}}}
	if !b.store.SweepDue(b.now) {
		t.Fatal("nothing to sweep")
	}
	if n := b.one(nodeID, sweep, ok).GetSwept().GetDestroyed(); n != 1 {
		t.Fatalf("the sweep destroyed %d", n)
	}
	b.one(mainID, undel("k", agentScope), wasGone)
}

func TestRequestIDs(t *testing.T) {
	b := newCluster(t)
	id := []byte("0123456789abcdef")
	with := func(a *fsmpb.Access) *fsmpb.Access {
		a.RequestId = id
		return a
	}
	b.one(mainID, with(put("k", agentScope, "v")), ok)
	if v := b.one(mainID, with(put("k", agentScope, "v")), again).GetWritten().GetVersion(); v != 1 {
		t.Fatalf("replayed version %d", v)
	}
	b.one(mainID, with(put("k", agentScope, "other")), mismatch)
	b.one(mainID, with(put("k2", agentScope, "v")), mismatch)
	b.one(mainID, with(del("k", agentScope)), mismatch)
	b.one(writerID, with(put("k", agentScope, "v")), ok) // another caller's is its own
	b.one(mainID, del("k", agentScope), ok)
	b.one(mainID, with(put("k", agentScope, "v")), again) // also past a delete
	stale := b.access(mainID, with(put("k", agentScope, "v")))
	b.now += 11 * int64(time.Minute)
	b.want(b.do(stale)[0], fsmpb.Outcome_OUTCOME_STALE)
	b.one(mainID, with(put("k", agentScope, "v")), ok) // a new life of the id after the window
}

func TestExpiryAndBlocks(t *testing.T) {
	b := newCluster(t)
	a := b.access(mainID, get("k", "", 0))
	a.Expires = b.now
	b.want(b.do(a)[0], fsmpb.Outcome_OUTCOME_EXPIRED)
	block := func(s string, want fsmpb.Outcome) {
		b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_Block{Block: &fsmpb.Block{Subject: s}}}, want)
	}
	for _, subject := range []string{mainID, "agent/acme/bot", "agent/acme"} {
		b.one(mainID, get("k", "", 0), none)
		block(subject, ok)
		b.one(mainID, get("k", "", 0), fsmpb.Outcome_OUTCOME_BLOCKED)
		b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_Unblock{Unblock: &fsmpb.Unblock{Subject: subject}}}, ok)
	}
	block("agent", fsmpb.Outcome_OUTCOME_INVALID)
	block(nodeID, fsmpb.Outcome_OUTCOME_INVALID)
	block(operID, fsmpb.Outcome_OUTCOME_INVALID)
}

// TestJWTSVIDs: whether a JWT-SVID counts is the cluster's state, and never for
// others than agents.
func TestJWTSVIDs(t *testing.T) {
	b := newCluster(t)
	try := func(id string, op *fsmpb.Access, want fsmpb.Outcome) {
		t.Helper()
		a := b.access(id, op)
		a.Svid, a.TokenDigest = fsmpb.SVIDKind_SVID_KIND_JWT, make([]byte, 32)
		b.want(b.do(a)[0], want)
	}
	set := func(value string) {
		b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "jwt_svid", Value: value}}}, ok)
	}
	try(mainID, get("k", "", 0), denied().GetOutcome())
	set("true")
	try(mainID, get("k", "", 0), none)
	try(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsGet{SettingsGet: &fsmpb.SettingsGet{}}}, denied().GetOutcome())
	try(nodeID, &fsmpb.Access{Op: &fsmpb.Access_MemberLeave{MemberLeave: &fsmpb.MemberLeave{}}}, denied().GetOutcome())
	set("false")
	try(mainID, get("k", "", 0), denied().GetOutcome())

	a := b.access(mainID, get("k", "", 0))
	if a.Svid = fsmpb.SVIDKind_SVID_KIND_JWT; validateAccess(a, td) == nil {
		t.Error("a JWT-SVID without its digest is valid")
	}
	if a.Svid, a.TokenDigest = fsmpb.SVIDKind_SVID_KIND_X509, make([]byte, 32); validateAccess(a, td) == nil {
		t.Error("an X.509-SVID with a token's digest is valid")
	}
}

func TestQuota(t *testing.T) {
	b := newCluster(t)
	set := func(name, value string) {
		b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: name, Value: value}}}, ok)
	}
	set("agent_secrets_max", "2")
	b.one(mainID, put("a", agentScope, "v"), ok)
	b.one(mainID, put("b", agentScope, "v"), ok)
	b.one(mainID, put("c", agentScope, "v"), fsmpb.Outcome_OUTCOME_QUOTA)
	b.one(mainID, put("a", agentScope, "v2"), ok)
	b.one(otherID, put("c", "spiffe://hexr.cloud/agent/acme/other/*", "v"), ok)
	b.one(mainID, destroy("a", agentScope, 0), ok)
	b.one(mainID, put("c", agentScope, "v"), ok)
}
