package node

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/node/nodepb"
	"github.com/hexrdev/hexrd/seal"
)

// FuzzSnapshotMeta: a damaged file is an error, and no panic of raft's.
func FuzzSnapshotMeta(f *testing.F) {
	good := &nodepb.SnapshotMeta{Format: snapshotFormat, Id: "1-1-1", Index: 1, Term: 1, Configuration: raft.EncodeConfiguration(
		raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "127.0.0.1:1"}}})}
	data, err := proto.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	good.Configuration = []byte("\xdf\xff\xff\xff\xff")
	if data, err = proto.Marshal(good); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := decodeMeta(data); (m == nil) == (err == nil) {
			t.Fatal("neither meta nor an error")
		}
	})
}

// FuzzProposal: what a node proposes for another one, or not decodable, is
// refused.
func FuzzProposal(f *testing.F) {
	keys, err := seal.NewKeyring([16]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	n := &Node{cfg: Config{Keys: keys}.withDefaults()}
	id := keys.ClusterID()
	data, err := proto.Marshal(&fsmpb.Proposal{Format: proposalFormat, ClusterId: id[:], NodeTime: time.Now().UnixNano(), Accesses: []*fsmpb.Access{
		{Node: "n1", Caller: agentID, Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "k"}}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := n.decodeProposal("n1", data)
		if err != nil {
			return
		}
		for _, a := range p.GetAccesses() {
			if a.GetNode() != "n1" {
				t.Fatal("in another node's name")
			}
		}
	})
}
