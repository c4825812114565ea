package fsm

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// goldenRows are rows of the store as released versions wrote them.
func goldenRows() map[string]proto.Message {
	id := []byte("0123456789abcdef")
	return map[string]proto.Message{
		"row_1_meta": &fsmpb.Meta{
			Format: 1, ClusterId: id, TrustDomain: td, Index: 9, Term: 2, Time: testStart, Size: 3, Range: [][]byte{id, id},
			Configuration: &fsmpb.Configuration{Index: 4, Servers: []*fsmpb.Server{{Id: "n1", Address: "a:1", Voter: true}}},
			Marks:         []*fsmpb.Mark{{Node: "n1", Index: 9}},
		},
		"row_1_head": &fsmpb.Head{
			Path: "a/b", Scope: agentScope, Version: 3, DeletedAt: 5, ByProvisioner: true, CreatedAt: 1,
			Versions: []*fsmpb.VersionMeta{{
				Version: 3, CreatedAt: 2, Size: 7, Digest: id, RequestId: id, Destroyed: true, Labels: map[string]string{"x": "y"},
			}},
		},
		"row_1_head_rotation": &fsmpb.Head{
			Path: "a/b", Scope: agentScope, Version: 3, CreatedAt: 1, Current: 2, CurrentSince: 6, Generation: 4, Period: 90 * 24 * hour,
			DueAt: testStart, Overdue: true,
			Rotation: &fsmpb.Rotation{Holder: mainID, Generation: 4, LeaseUntil: 9, Pending: 3, Base: 2, ByProvisioner: true},
			Versions: []*fsmpb.VersionMeta{
				{Version: 1, ExpiresAt: 8, Digest: id, RequestId: id}, {Version: 2, Digest: id, RequestId: id}, {Version: 3, Pending: true, Digest: id, RequestId: id},
			},
		},
		"row_1_log": &fsmpb.ChangeLog{First: 3, Next: 9, Last: &fsmpb.Position{Index: 70, Number: 2}, Trimmed: &fsmpb.Position{Index: 50, Number: 1}},
		"row_1_change": &fsmpb.Change{
			Position: &fsmpb.Position{Index: 70, Number: 2}, Time: testStart, Kind: fsmpb.Change_KIND_ROTATE, Path: "a/b", Scope: agentScope, Version: 3,
		},
		"row_1_totals":     &fsmpb.Totals{Overdue: 2},
		"row_1_expiry":     &fsmpb.Expiry{Kind: fsmpb.Expiry_KIND_GRACE, Key: id, DeletedAt: 5},
		"row_1_remembered": &fsmpb.Remembered{Record: id, Operation: 2, Digest: id, Result: id, Time: testStart},
		"row_1_member":     &fsmpb.Members{Members: []*fsmpb.Member{{Id: "n1", Address: "a:1", AuditKey: id, JoinedAt: 1, Removed: true, TokenHash: id}}},
		"row_1_meta_uses":  &fsmpb.Meta{Format: 1, Index: 9, ValueKeyUses: []*fsmpb.KeyUses{{KeyId: 7, Versions: 3}}},
		"row_1_head_key": &fsmpb.Head{
			Path: "a", Version: 1, Versions: []*fsmpb.VersionMeta{{Version: 1, Digest: id, ValueKey: 7}},
		},
		"row_1_member_rows": &fsmpb.Members{Members: []*fsmpb.Member{{Id: "n1", JoinedRow: 3, RemovedRow: 4}}},
		"row_1_keys": &fsmpb.Keys{Keys: []*fsmpb.Key{{
			Kind: fsmpb.Key_KIND_STORAGE, Id: 7, State: fsmpb.Key_STATE_RETIRED, CreatedAt: 1, ActivatedAt: 2, RetiredAt: 3,
			Fingerprint: id, Holders: []string{"n1", "n2"}, UnusedBy: []string{"n1"}, RequestId: id,
		}}},
		"row_1_reseal":     &fsmpb.Reseal{KeyId: 7, Cursor: id, Clean: 6},
		"row_1_block":      &fsmpb.RowBlock{First: 7, Rows: [][]byte{id, id}},
		"row_2_postings":   &fsmpb.Postings{Keys: []uint64{5, 0, 1 << 62}, Rows: []uint64{4096, 2, 4097}},
		"row_2_index":      &fsmpb.Index{Runs: []uint64{3, 0, 7}},
		"row_3_remembered": &fsmpb.Remembered{Record: id, Operation: 2, Digest: id, Result: id, Time: testStart, Until: testStart + hour},
		"row_3_dues":       &fsmpb.RequestDues{Items: slices.Concat(id[:8], id[8:], id, id)},
		"row_3_meta":       &fsmpb.Meta{Format: 3, Index: 9, Swept: id},
		"row_4_head": &fsmpb.Head{
			Path: "a", Version: 2, Versions: []*fsmpb.VersionMeta{{Version: 1, Apart: true}, {Version: 2, Digest: id, RequestId: id, Apart: true}},
		},
		"row_4_value":     &fsmpb.Value{Sealed: id, RequestId: id},
		"row_1_directory": &fsmpb.Directory{NextPage: 2, Pages: []*fsmpb.DirectoryPage{{Id: 0}, {Id: 1, First: "m"}}},
	}
}

func TestGoldenRows(t *testing.T) {
	for name, want := range goldenRows() {
		text, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		got := want.ProtoReflect().New().Interface()
		if err := decode(data, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s does not decode to what it was: %v", name, err)
		}
	}
}
