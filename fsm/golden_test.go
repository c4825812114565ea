package fsm

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

var goldenCluster = [16]byte{1, 2, 3}

// goldenEntries are what released versions wrote. They are only added to.
func goldenEntries() map[string]*fsmpb.Entry {
	id, digest := []byte("0123456789abcdef"), []byte("0123456789abcdef0123456789abcdef")
	access := func(caller string, a *fsmpb.Access) *fsmpb.Access {
		a.Salt, a.RequestId, a.RequestDigest, a.Node, a.Caller = id, id, digest, "n1", caller
		a.Svid, a.Expires, a.Peer, a.Seen = fsmpb.SVIDKind_SVID_KIND_X509, testStart+1e12, "127.0.0.1:9", testStart
		return a
	}
	entry := func(accesses ...*fsmpb.Access) *fsmpb.Entry {
		return &fsmpb.Entry{
			Format: 1, Time: testStart, ClusterId: goldenCluster[:], Leader: "n1",
			Check: &fsmpb.Check{Size: 0, Root: digest}, Accesses: accesses,
		}
	}
	expected := uint64(0)
	write := put("api-keys/openai", agentScope, "v")
	write.GetPut().ExpectedVersion, write.GetPut().Labels = &expected, map[string]string{"a": "b", "c": "d"}
	scheduled, staged, period := put("k", agentScope, "v"), stage("k", agentScope, 7, "next"), 90*24*hour
	scheduled.GetPut().Rotation, staged.GetRotateStage().Labels = &period, map[string]string{"a": "b"}
	return map[string]*fsmpb.Entry{
		"entry_1_empty": entry(),
		"entry_1_vault": entry(access(mainID, write), access(mainID, get("api-keys/openai", "", 0)),
			access(mainID, del("k", agentScope)), access(mainID, undel("k", agentScope)), access(mainID, destroy("k", agentScope, 1))),
		"entry_1_rotation": entry(
			access(mainID, &fsmpb.Access{Op: &fsmpb.Access_Watch{Watch: &fsmpb.Watch{Prefix: "api-keys/", Scope: agentScope}}}),
			access(mainID, scheduled), access(mainID, begin("k", agentScope, 1)), access(mainID, staged),
			access(mainID, commit("k", agentScope, 7, 3, 2)), access(mainID, abort("k", agentScope, 7)), access(mainID, schedule("k", agentScope, 90*24*time.Hour))),
		"entry_1_cluster": entry(
			access(operID, &fsmpb.Access{Op: &fsmpb.Access_TokenCreate{TokenCreate: &fsmpb.TokenCreate{Hash: digest, NodeId: "n2", Ttl: 1}}}),
			access(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "versions_kept", Value: "3"}}}),
			access(operID, &fsmpb.Access{Op: &fsmpb.Access_Block{Block: &fsmpb.Block{Subject: "agent/evil"}}})),
		"entry_1_keys": entry(
			access(operID, keyAdd(fsmpb.Key_KIND_VALUE, 7)), access(nodeID, keyDurable(fsmpb.Key_KIND_VALUE, 7, digest)),
			access(nodeID, release(fsmpb.Key_KIND_VALUE, 7)), access(nodeID, activate(fsmpb.Key_KIND_VALUE, 7)),
			access(nodeID, &fsmpb.Access{Op: &fsmpb.Access_KeyRewrap{KeyRewrap: &fsmpb.KeyRewrap{
				KeyId: 7, Items: []*fsmpb.Rewrap{{Record: digest, Version: 3, Digest: digest, Wrapped: id}},
			}}}),
			access(nodeID, keyUse(8, true)), access(operID, &fsmpb.Access{Op: &fsmpb.Access_KeysGet{KeysGet: &fsmpb.KeysGet{}}}),
			access(audID, &fsmpb.Access{Op: &fsmpb.Access_AuditCheckpoint{AuditCheckpoint: &fsmpb.AuditCheckpoint{}}})),
	}
}

func TestGoldenEntries(t *testing.T) {
	for name, want := range goldenEntries() {
		text, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeEntry(data, goldenCluster)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s does not decode to what it was: %v", name, err)
		}
		again, err := deterministic.Marshal(want)
		if err != nil || string(again) != string(data) {
			t.Errorf("%s is written otherwise now", name)
		}
		for _, a := range got.GetAccesses() {
			if err := validateAccess(a, td); err != nil {
				t.Errorf("%s is not valid any more: %v", name, err)
			}
		}
	}
}
