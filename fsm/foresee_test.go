package fsm

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

func (b *bench) foreseen(caller string, a *fsmpb.Access) *fsmpb.Secret {
	return b.store.Foresee([]*fsmpb.Access{b.access(caller, a)})[0]
}

// TestForesee: what a get would release is there, and nothing that it would not.
func TestForesee(t *testing.T) {
	b := copying(t)
	b.one(mainID, put("k", agentScope, "first"), ok)
	b.one(mainID, put("k", agentScope, "second"), ok)
	b.one(mainID, put("gone", agentScope, "v"), ok)
	b.one(mainID, del("gone", agentScope), ok)
	for _, c := range []struct {
		what, caller string
		a            *fsmpb.Access
		want         string
	}{
		{"its own", mainID, get("k", "", 0), "second"},
		{"by its scope", mainID, get("k", agentScope, 0), "second"},
		{"an older version", mainID, get("k", agentScope, 1), "first"},
		{"a version that never was", mainID, get("k", agentScope, 3), ""},
		{"what is not there", mainID, get("none", "", 0), ""},
		{"what was deleted", mainID, get("gone", "", 0), ""},
		{"another tenant's", "spiffe://hexr.cloud/agent/other/bot/main", get("k", agentScope, 0), ""},
		{"of a class that reads no values", operID, get("k", agentScope, 0), ""},
		{"of nobody", "nobody", get("k", "", 0), ""},
		{"no get", mainID, put("k", agentScope, "v"), ""},
	} {
		s := b.foreseen(c.caller, c.a)
		digest := sha256.Sum256(s.GetSealed())
		if c.want == "" && s != nil || c.want != "" && (string(s.GetSealed()) != "sealed "+c.want || !bytes.Equal(digest[:], s.GetDigest())) {
			t.Errorf("%s: %v", c.what, s)
		}
	}
	large := strings.Repeat("v", foreseenMost/128)
	b.one(mainID, put("large", agentScope, large), ok)
	many := make([]*fsmpb.Access, 130)
	for i := range many {
		many[i] = b.access(mainID, get("large", "", 0))
	}
	for i, s := range b.store.Foresee(many) {
		if (s != nil) != (i < 128) {
			t.Errorf("value %d of %d bytes is there: %v", i, len(large), s != nil)
		}
	}
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	if b.foreseen(mainID, get("k", "", 0)) != nil {
		t.Error("a closed store answers")
	}
}

// TestForeseeDamage: what can't be read is left to the leader, and said once.
func TestForeseeDamage(t *testing.T) {
	b := newCluster(t)
	var log bytes.Buffer
	b.store.log = slog.New(slog.NewTextHandler(&log, nil))
	for _, path := range []string{"a", "b"} {
		b.one(mainID, put(path, agentScope, "v"), ok)
	}
	scope, err := parseFullScope(agentScope, td)
	if err != nil {
		t.Fatal(err)
	}
	record := RecordKey(b.keys, scope, "a")
	if err := b.store.db.Set(fullKey(tableValue, valueKey(record[:], 1)), []byte("no row"), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.cold()
		if b.foreseen(mainID, get("a", "", 0)) != nil {
			t.Error("a damaged value is there")
		}
		if b.foreseen(mainID, get("b", "", 0)) == nil {
			t.Error("another value is not there")
		}
	}
	if n := strings.Count(log.String(), "look at the disk"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

// TestHeldIsNotRead: a leader neither reads nor shows the value that who asks holds.
func TestHeldIsNotRead(t *testing.T) {
	b := copying(t)
	b.one(mainID, put("k", agentScope, "first"), ok)
	held := b.foreseen(mainID, get("k", "", 0)).GetDigest()
	ask := func() *fsmpb.Secret {
		data := b.entry(b.access(mainID, put("other", agentScope, "v")), b.access(mainID, get("k", "", 0)))
		b.store.Expect(data, [][]byte{nil, held})
		b.cold()
		b.index++
		results, err := b.store.Apply(b.index, 1, data, true)
		if err != nil {
			t.Fatal(err)
		}
		return results[1].GetSecret()
	}
	copies, store := b.store.ValueReads()
	s := ask()
	if c, o := b.store.ValueReads(); s.GetVersion() != 1 || !bytes.Equal(s.GetDigest(), held) || len(s.GetSealed()) > 0 || c != copies || o != store {
		t.Errorf("%v, and %d values were read", s, c+o-copies-store)
	}
	b.one(mainID, put("k", agentScope, "second"), ok)
	if s := ask(); s.GetVersion() != 2 || string(s.GetSealed()) != "sealed second" {
		t.Errorf("of another version than the one that is held: %v", s)
	}
}
