package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
)

// backend answers as a replica would.
type backend struct{ adm *members }

func (b backend) Propose(_ context.Context, from string, p []byte) ([]byte, error) {
	switch string(p) {
	case "elsewhere":
		return nil, &RefusalError{Kind: clusterpb.Refusal_KIND_NOT_LEADER, LeaderID: "n7", LeaderAddress: "x:1"}
	case "break":
		return nil, errors.New("it broke")
	}
	return append([]byte(from+" "), p...), nil
}
func (backend) Join(context.Context, Peer, *clusterpb.JoinRequest, string) (*clusterpb.JoinResponse, error) {
	return &clusterpb.JoinResponse{ClusterId: testID[:]}, nil
}
func (backend) Enter(context.Context, string, *clusterpb.EnterRequest) error { return nil }
func (backend) Status(context.Context, string) (*clusterpb.StatusResponse, error) {
	return &clusterpb.StatusResponse{Id: "n1"}, nil
}
func (backend) Root(context.Context, uint64) ([]byte, error)                   { return []byte("root"), nil }
func (backend) Change(context.Context, string, *clusterpb.ChangeRequest) error { return nil }
func (backend) Key(context.Context, Peer, *clusterpb.KeyRequest) ([]byte, error) {
	return []byte("key"), nil
}
func (backend) KeyUse(context.Context) ([]*clusterpb.StorageKeyUse, error)   { return nil, nil }
func (backend) Sign(context.Context, *clusterpb.SignRequest) ([]byte, error) { return nil, nil }
func (backend) ClusterID() [16]byte                                          { return testID }
func (b backend) IsMember(id string) bool                                    { return b.adm.IsMember(id) }

func serve(t *testing.T, adm *members) string {
	t.Helper()
	l := listen(t, newTLS("node/n1", longLived), adm, Limits{})
	s := grpc.NewServer(grpc.Creds(Credentials()))
	RegisterPeer(s, backend{adm})
	serveProposals(t, l, backend{adm})
	ended := make(chan error, 2)
	go func() { ended <- s.Serve(l.Nodes()) }()
	go func() { ended <- s.Serve(l.GRPC()) }()
	t.Cleanup(func() {
		s.Stop()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Log(err)
		}
	})
	return l.Addr().String()
}

func peersAs(t *testing.T, name string, cluster [16]byte) *Peers {
	t.Helper()
	p := NewPeers(PeersConfig{TLS: newTLS(name, longLived), ClusterID: func() [16]byte { return cluster }})
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestPeerService(t *testing.T) {
	addr := serve(t, newMembers("n2"))
	ctx := t.Context()
	member := peersAs(t, "node/n2", testID)
	if reply, err := member.Propose(ctx, "n1", addr, []byte("p")); err != nil || string(reply) != "n2 p" {
		t.Fatalf("%q, %v", reply, err)
	}
	_, err := member.Propose(ctx, "n1", addr, []byte("elsewhere"))
	var r *RefusalError
	if !errors.As(err, &r) || r.LeaderID != "n7" || r.LeaderAddress != "x:1" {
		t.Errorf("another leader: %v", err)
	}
	if _, err := member.Propose(ctx, "n1", addr, []byte("break")); refusedWith(err) != clusterpb.Refusal_KIND_UNKNOWN_OUTCOME {
		t.Errorf("what broke: %v", err)
	}
	if _, err := member.Propose(ctx, "n1", "127.0.0.1:1", nil); refusedWith(err) != clusterpb.Refusal_KIND_UNAVAILABLE {
		t.Errorf("nobody there is certain: %v", err)
	}
	if _, err := member.Propose(ctx, "n3", addr, nil); refusedWith(err) != clusterpb.Refusal_KIND_UNAVAILABLE {
		t.Errorf("another node than dialled: %v", err)
	}
	if _, err := peersAs(t, "node/n2", [16]byte{9}).Status(ctx, "n1", addr, ""); refusedWith(err) != clusterpb.Refusal_KIND_WRONG_CLUSTER {
		t.Errorf("another cluster: %v", err)
	}
	stranger := peersAs(t, "node/n9", testID)
	if _, err := stranger.Propose(ctx, "n1", addr, nil); refusedWith(err) != clusterpb.Refusal_KIND_NOT_MEMBER {
		t.Errorf("no member: %v", err)
	}
	if key, err := member.Key(ctx, "n1", addr, "value", 7); err != nil || string(key) != "key" {
		t.Errorf("a member gets %q: %v", key, err)
	}
	if key, err := stranger.Key(ctx, "n1", addr, "value", 7); refusedWith(err) != clusterpb.Refusal_KIND_NOT_MEMBER || len(key) > 0 {
		t.Errorf("a key for no member: %v", err)
	}
	if key, err := peersAs(t, "node/n2", [16]byte{9}).Key(ctx, "n1", addr, "value", 7); refusedWith(err) != clusterpb.Refusal_KIND_WRONG_CLUSTER || len(key) > 0 {
		t.Errorf("a key for another cluster: %v", err)
	}
	if _, err := stranger.Join(ctx, addr, &clusterpb.JoinRequest{}); err != nil {
		t.Errorf("a node may ask to join: %v", err)
	}
}

// TestPeerServiceIsForNodes calls every method as an agent.
func TestPeerServiceIsForNodes(t *testing.T) {
	addr := serve(t, newMembers("n2"))
	agent := peersAs(t, "agent/a", testID)
	conn, err := agent.take(target{"n1", addr})
	if err != nil {
		t.Fatal(err)
	}
	methods := clusterpb.Peer_ServiceDesc.Methods
	if len(methods) != 8 {
		t.Errorf("%d methods: is the new one for nodes alone?", len(methods))
	}
	for _, m := range methods {
		err := conn.Invoke(t.Context(), "/hexr.cluster.v1.Peer/"+m.MethodName, &clusterpb.StatusRequest{}, &clusterpb.StatusResponse{})
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s as an agent: %v", m.MethodName, err)
		}
	}
}

// trial is a leader with one non-voter.
type trial struct {
	addr     string
	promoted chan string
}

func (trial) IsLeader() bool  { return true }
func (trial) Applied() uint64 { return 0 }
func (l trial) Members() []*clusterpb.Member {
	return []*clusterpb.Member{{Id: "n1", Address: l.addr}, {Id: "n5", Address: "127.0.0.1:1"}, {Id: "n6", Voter: true}}
}
func (l trial) Promote(_ context.Context, m *clusterpb.Member) error {
	l.promoted <- m.GetId()
	return nil
}

func TestAutopilot(t *testing.T) {
	l := trial{serve(t, newMembers("n2")), make(chan string)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Autopilot{Cluster: l, Peers: peersAs(t, "node/n2", testID), Logger: quietLog, Interval: time.Millisecond}.Run(ctx)
	}()
	if id := <-l.promoted; id != "n1" {
		t.Errorf("%s was promoted", id)
	}
	cancel()
	for {
		select {
		case <-l.promoted:
		case <-done:
			return
		}
	}
}
