package fsm

import (
	"testing"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

func FuzzApply(f *testing.F) {
	for _, e := range goldenEntries() {
		data, _ := deterministic.Marshal(e)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry(data, goldenCluster)
		if err != nil {
			return
		}
		model, st := mapTx{}, newState(goldenCluster)
		st.trustDomain, st.time = td, testStart
		for _, a := range e.GetAccesses() {
			if validateAccess(a, td) != nil {
				return
			}
		}
		results, rows := applyEntry(model, st, e, 1, 1, true, nil)
		if len(results) != len(e.GetAccesses()) || len(rows) != len(results) {
			t.Fatal("not one row and one result for each access")
		}
		for i := range rows {
			if _, err := audit.AppendRow(nil, &rows[i]); err != nil && rows[i].Operation != 0 {
				t.Fatalf("a row does not encode: %v", err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(mainID, "a/b", agentScope)
	f.Add(mainID, "812.3", agentScope)
	f.Fuzz(func(t *testing.T, id, path, scope string) {
		c, err := ParseCaller(id, td)
		if err == nil && c.ID != id {
			t.Fatal("an ID was changed")
		}
		if p, err := ParsePath(path); err == nil && string(p) != path {
			t.Fatal("a path was changed")
		}
		if p, err := ParsePlace(path); err == nil && p.String() != path {
			t.Fatal("a place was changed")
		}
		if s, err := parseFullScope(scope, td); err == nil && s.String() != scope {
			t.Fatal("a scope was changed")
		}
	})
}

// FuzzValidate: what the leader takes marshals, so that no access can spoil the
// entry that it is in.
func FuzzValidate(f *testing.F) {
	for op := range uint(9) {
		f.Add(op, "n1", agentScope, "127.0.0.1:1")
		f.Add(op, "n1\xff", agentScope, "127.0.0.1:1")
		f.Add(op, "n1", agentScope+"\xc0", "127.0.0.1:1")
		f.Add(op, "n1", agentScope, "\xed\xa0\x80")
	}
	f.Fuzz(func(t *testing.T, op uint, one, two, peer string) {
		a := &fsmpb.Access{
			Node: "n1", Caller: "spiffe://" + td + "/hexr/operator/ann", Salt: make([]byte, idSize), RequestId: make([]byte, idSize),
			RequestDigest: make([]byte, digestSize), Svid: fsmpb.SVIDKind_SVID_KIND_X509, Expires: 1, Seen: 1, Peer: peer,
		}
		switch op % 9 {
		case 0:
			a.Op = &fsmpb.Access_AuditQuery{AuditQuery: &fsmpb.AuditQuery{Caller: one, Path: two}}
		case 1:
			a.Op = &fsmpb.Access_AuditTail{AuditTail: &fsmpb.AuditTail{Caller: one}}
		case 2:
			a.Op = &fsmpb.Access_Block{Block: &fsmpb.Block{Subject: one}}
		case 3:
			a.Op = &fsmpb.Access_Unblock{Unblock: &fsmpb.Unblock{Subject: one}}
		case 4:
			a.Op = &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: one, Value: two}}
		case 5:
			a.Op = &fsmpb.Access_MemberAnnounce{MemberAnnounce: &fsmpb.MemberAnnounce{Address: one}}
		case 6:
			a.Op = &fsmpb.Access_List{List: &fsmpb.List{Prefix: one, Scope: two}}
		case 7:
			a.Op = &fsmpb.Access_MemberTransfer{MemberTransfer: &fsmpb.MemberTransfer{NodeId: one}}
		case 8:
			a.Op = &fsmpb.Access_Put{Put: &fsmpb.Put{
				Path: "k", Scope: agentScope, Sealed: []byte{1}, Labels: map[string]string{one: two},
			}}
		}
		if validateAccess(a, td) != nil {
			return
		}
		if _, err := deterministic.Marshal(a); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSettings: what is set stays within its bounds, and shows.
func FuzzSettings(f *testing.F) {
	f.Add("value_max_bytes", "65536")
	f.Add("undelete_window", "24h")
	f.Add("jwt_svid", "true")
	f.Add("format", "2")
	f.Fuzz(func(t *testing.T, name, value string) {
		s, err := withSetting(&fsmpb.Settings{}, name, value)
		if (err == nil) != (CheckSetting(name, value) == nil) {
			t.Fatal("the check before the log is another one")
		}
		if err != nil {
			return
		}
		if _, ok := SettingsMap(s)[name]; !ok {
			t.Fatalf("%s does not show", name)
		}
		m := s.ProtoReflect()
		for _, d := range settingTable {
			fd := m.Descriptor().Fields().ByName(d.name)
			if !m.Has(fd) {
				continue
			}
			n := m.Get(fd)
			if v, ok := n.Interface().(int64); ok && (v < d.least || v > d.max) {
				t.Fatalf("%s is %d", d.name, v)
			} else if !ok && (n.Uint() < uint64(d.least) || n.Uint() > uint64(d.max)) {
				t.Fatalf("%s is %d", d.name, n.Uint())
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	bench := newCluster(b)
	bench.one(mainID, put("k", agentScope, "v"), ok)
	for b.Loop() {
		accesses := make([]*fsmpb.Access, 64)
		for i := range accesses {
			accesses[i] = bench.access(mainID, get("k", "", 0))
		}
		bench.do(accesses...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/access")
}

// FuzzPlaces: cursors of watches and of lists are read back as they were written,
// or refused.
func FuzzPlaces(f *testing.F) {
	f.Add("7.2")
	f.Add("18446744073709551615")
	f.Add("3:api-keys/openai")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePlace(s); err == nil && p.String() != s {
			t.Fatal("another place")
		}
		p, err := parsePosition(s)
		if err != nil {
			return
		}
		if again, err := parsePosition(p.String()); err != nil || again != p {
			t.Fatal("another position")
		}
	})
}
