package hexrd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/identity"
	"github.com/hexrdev/hexrd/seal"
)

// dialer is a node's identity, for calls that its program would not make.
type dialer struct {
	cluster.TLS
	source identity.Source
}

func (d dialer) Client(nodeID string, alpn ...string) *tls.Config {
	authorize := identity.AuthorizeNode(domain)
	if nodeID != "" {
		authorize = identity.AuthorizeExactly(domain, nodeID)
	}
	return identity.ClientTLS(d.source, authorize, alpn...)
}

func (d dialer) Authenticate(state tls.ConnectionState) (cluster.Peer, error) {
	p, err := identity.Authenticate(state, d.source, domain)
	return cluster.Peer{ID: p.ID.String(), NotAfter: p.NotAfter, Kind: p.Kind}, err
}

func (d dialer) Updated() <-chan struct{} { return d.source.Updated() }

// peersAs speaks to nodes as one of them.
func (f *fleet) peersAs(id string, clusterID [16]byte) *cluster.Peers {
	f.t.Helper()
	source, err := identity.Open(f.t.Context(), identity.Config{Socket: f.socket("/hexr/node/"+id, time.Hour, true)})
	if err != nil {
		f.t.Fatal(err)
	}
	p := cluster.NewPeers(cluster.PeersConfig{TLS: dialer{source: source}, ClusterID: func() [16]byte { return clusterID }})
	f.t.Cleanup(func() { _, _ = p.Close(), source.Close() })
	return p
}

func (f *fleet) id() [16]byte {
	f.t.Helper()
	resp, err := f.op.AuditCheckpoint(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := audit.ReadCheckpoint([]byte(resp.GetCheckpoint()))
	if err != nil {
		f.t.Fatal(err)
	}
	return c.Cluster
}

func refusal(err error) clusterpb.Refusal_Kind {
	var r *cluster.RefusalError
	if errors.As(err, &r) {
		return r.Kind
	}
	return clusterpb.Refusal_KIND_UNSPECIFIED
}

func publicKey(t *testing.T) ed25519.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// TestJoinAnswers: a lost answer is given again to the same node with the same
// token; a token admits nobody else, and a member's key does not change.
func TestJoinAnswers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1")
	token, err := f.op.CreateToken(t.Context(), "n4", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key := publicKey(t)
	n4, n5 := f.peersAs("n4", [16]byte{}), f.peersAs("n5", [16]byte{})
	join := func(p *cluster.Peers, change func(*clusterpb.JoinRequest)) (*clusterpb.JoinResponse, error) {
		req := &clusterpb.JoinRequest{Address: "127.0.0.1:4", AuditKey: key, Token: []byte(token.GetToken()), RequestId: make([]byte, 16)}
		if change != nil {
			change(req)
		}
		return p.Join(t.Context(), f.addrs["n1"], req)
	}
	first, err := join(n4, nil)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := join(n4, nil)
	if err != nil {
		t.Fatal(err)
	}
	ring := func(resp *clusterpb.JoinResponse) *seal.Keyring {
		k, err := seal.ImportKeyring(resp.GetKeyring())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a, b := ring(first), ring(lost)
	if !bytes.Equal(first.GetClusterId(), lost.GetClusterId()) || !slices.Equal(a.Keys(), b.Keys()) || a.Merge(b) != nil {
		t.Error("the answer is another the second time")
	}
	for name, try := range map[string]func() (*clusterpb.JoinResponse, error){
		"another node with the token": func() (*clusterpb.JoinResponse, error) { return join(n5, nil) },
		"another audit key": func() (*clusterpb.JoinResponse, error) {
			return join(n4, func(r *clusterpb.JoinRequest) { r.AuditKey = publicKey(t) })
		},
		"another address": func() (*clusterpb.JoinResponse, error) {
			return join(n4, func(r *clusterpb.JoinRequest) { r.Address = "127.0.0.1:5" })
		},
		"a member's ID": func() (*clusterpb.JoinResponse, error) { return join(f.peersAs("n1", [16]byte{}), nil) },
		"no token": func() (*clusterpb.JoinResponse, error) {
			return join(n5, func(r *clusterpb.JoinRequest) { r.Token = nil })
		},
	} {
		if resp, err := try(); refusal(err) != clusterpb.Refusal_KIND_DENIED || len(resp.GetKeyring()) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(f.granted("member.join")); n != 2 {
		t.Errorf("%d granted joins", n)
	}
	if rows := f.granted("key.release"); len(rows) != 2 || rows[0].GetDetail() != "n4" {
		t.Errorf("releases: %v", rows)
	}
}

// TestRemovedNodeGetsNothing asks, as a node that was removed, for all that
// members get.
func TestRemovedNodeGetsNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2", "n3")
	id := f.id()
	n3 := f.peersAs("n3", id)
	value := f.active("value")
	var keyID uint32
	if _, err := parseHex(value.GetId(), &keyID); err != nil {
		t.Fatal(err)
	}
	if key, err := n3.Key(t.Context(), "n1", f.addrs["n1"], "value", keyID); err != nil || len(key) == 0 {
		t.Fatalf("a member gets no key: %v", err)
	}
	f.stop("n3")
	if err := f.op.RemoveMember(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	next := f.rotate("value")
	f.until("the next key to be active", func() bool { return f.key(next.GetId()).GetState() == "active" })
	if _, err := parseHex(next.GetId(), &keyID); err != nil {
		t.Fatal(err)
	}
	token, err := f.op.CreateToken(t.Context(), "n3", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"n1", "n2"} {
		addr := f.addrs[to]
		for name, try := range map[string]func() error{
			"key":     func() error { _, err := n3.Key(t.Context(), to, addr, "value", keyID); return err },
			"status":  func() error { _, err := n3.Status(t.Context(), to, addr, ""); return err },
			"propose": func() error { _, err := n3.Propose(t.Context(), to, addr, nil); return err },
			"root":    func() error { _, err := n3.Root(t.Context(), to, addr, 1); return err },
			"sign":    func() error { _, err := n3.Sign(t.Context(), to, addr, &clusterpb.SignRequest{}); return err },
			"key use": func() error { _, err := n3.KeyUse(t.Context(), to, addr); return err },
			"change": func() error {
				return n3.Change(t.Context(), to, addr, &clusterpb.ChangeRequest{Kind: clusterpb.ChangeRequest_KIND_ADDRESS, Address: "127.0.0.1:3"})
			},
		} {
			if err := try(); refusal(err) != clusterpb.Refusal_KIND_NOT_MEMBER {
				t.Errorf("%s of %s: %v", name, to, err)
			}
		}
		if err := n3.Enter(t.Context(), to, addr, &clusterpb.EnterRequest{Address: "127.0.0.1:3"}); refusal(err) != clusterpb.Refusal_KIND_DENIED {
			t.Errorf("enter at %s: %v", to, err)
		}
		resp, err := n3.Join(t.Context(), addr, &clusterpb.JoinRequest{
			Address: "127.0.0.1:3", AuditKey: publicKey(t), Token: []byte(token.GetToken()), RequestId: make([]byte, 16),
		})
		if refusal(err) != clusterpb.Refusal_KIND_DENIED || len(resp.GetKeyring()) > 0 {
			t.Errorf("join at %s with a new token: %v", to, err)
		}
	}
}

// TestNodeOfAnotherCluster: the same trust domain, even the same node ID, is not
// enough.
func TestNodeOfAnotherCluster(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2")
	foreign := f.peersAs("n2", [16]byte{9})
	to, addr := "n1", f.addrs["n1"]
	for name, try := range map[string]func() error{
		"propose": func() error { _, err := foreign.Propose(t.Context(), to, addr, nil); return err },
		"status":  func() error { _, err := foreign.Status(t.Context(), to, addr, ""); return err },
		"root":    func() error { _, err := foreign.Root(t.Context(), to, addr, 1); return err },
		"key":     func() error { _, err := foreign.Key(t.Context(), to, addr, "value", 1); return err },
		"sign":    func() error { _, err := foreign.Sign(t.Context(), to, addr, &clusterpb.SignRequest{}); return err },
		"enter":   func() error { return foreign.Enter(t.Context(), to, addr, &clusterpb.EnterRequest{}) },
		"change":  func() error { return foreign.Change(t.Context(), to, addr, &clusterpb.ChangeRequest{}) },
	} {
		if err := try(); refusal(err) != clusterpb.Refusal_KIND_WRONG_CLUSTER {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A real one: n3 has a cluster of its own, and is sent to this one.
	f.addrs["n3"] = freeAddress(t)
	f.start("n3", func(c *hexrd.Config) { c.Bootstrap = true })
	f.stop("n3")
	token, err := f.op.CreateToken(t.Context(), "n3", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.start("n3", func(c *hexrd.Config) { c.Join, c.Token = []string{addr}, token.GetToken() })
	members, err := f.op.Members(t.Context())
	if err != nil || len(members.GetMembers()) != 2 {
		t.Errorf("members: %v, %v", members, err)
	}
	own := f.dial("/hexr/operator/ann", f.addrs["n3"])
	f.until("n3 to lead its own cluster", func() bool {
		st, err := own.Status(t.Context())
		return err == nil && st.GetLeader() == "n3"
	})
}

// TestLaggingFollowerAdmitsANewLeader: a node that was away while another joined
// and took the lead takes that one's entries. Who led before is gone: a deposed
// leader goes on sending what it had for a moment.
func TestLaggingFollowerAdmitsANewLeader(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2", "n3", "n5")
	f.stop("n3")
	f.join("n4")
	f.until("n4 to vote", func() bool {
		m, err := f.op.Members(t.Context())
		return err == nil && m.GetVoters() == 5
	})
	members, err := f.op.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.until("n4 to lead", func() bool {
		leader, err := f.op.TransferLeadership(t.Context(), "n4")
		return err == nil && leader == "n4"
	})
	if leader, err := f.op.TransferLeadership(t.Context(), "n4"); err != nil || leader != "n4" {
		t.Errorf("a transfer to who leads: %q, %v", leader, err)
	}
	f.stop(members.GetLeader())
	bot := f.dial("/agent/acme/bot/main", f.addrs["n4"])
	if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	f.start("n3", nil)
	f.until("n3 to catch up under n4", func() bool {
		m, err := f.op.Members(t.Context())
		if err != nil || m.GetLeader() != "n4" {
			return false
		}
		for _, n := range m.GetMembers() {
			if n.GetId() == "n3" {
				return n.GetState() == "follower" && n.GetLag() == 0 && n.GetApplied() > 0
			}
		}
		return false
	})
	if s, err := f.dial("/agent/acme/bot/main", f.addrs["n3"]).Get(t.Context(), "k"); err != nil || s.Text() != "v" {
		t.Fatal(err)
	}
}

// TestKeyringThatWentBack: a node whose keyring is an older copy gets what it
// lacks from the others, and until then says that it can't answer.
func TestKeyringThatWentBack(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2", "n3")
	file := f.keyringOf("n3")
	f.stop("n3")
	old := f.read(file)
	f.start("n3", nil)
	k := f.rotate("value")
	f.until("the key to be active", func() bool { return f.key(k.GetId()).GetState() == "active" })
	bot := f.dial("/agent/acme/bot/main", f.addrs["n1"])
	if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	f.stop("n3")
	f.write(file, old)
	before := len(f.granted("key.release"))
	f.start("n3", nil)
	third := f.dial("/agent/acme/bot/main", f.addrs["n3"])
	f.until("n3 to open it again", func() bool {
		s, err := third.Get(t.Context(), "k")
		if err != nil && !errors.Is(err, client.ErrUnavailable) {
			t.Fatalf("in the meantime: %v", err)
		}
		return err == nil && s.Text() == "v"
	})
	if after := f.granted("key.release"); len(after) != before+1 || !strings.HasSuffix(after[before].GetDetail(), k.GetId()) {
		t.Errorf("releases: %v", after)
	}
}

// TestCheckpointSignatures: a node signs what its own tree has, and nothing else.
func TestCheckpointSignatures(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2", "n3")
	resp, err := f.op.AuditCheckpoint(t.Context())
	if err != nil || resp.GetMembers() != 3 || len(resp.GetSigners()) < 2 {
		t.Fatal(resp, err)
	}
	c, err := audit.ReadCheckpoint([]byte(resp.GetCheckpoint()))
	if err != nil {
		t.Fatal(err)
	}
	n1 := f.peersAs("n1", c.Cluster)
	sign := func(change func(*clusterpb.SignRequest)) ([]byte, error) {
		req := &clusterpb.SignRequest{RaftIndex: c.RaftIndex, Size: c.Size, Root: c.Root[:]}
		change(req)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return n1.Sign(ctx, "n2", f.addrs["n2"], req)
	}
	if note, err := sign(func(*clusterpb.SignRequest) {}); err != nil || !bytes.Contains(note, []byte("/n2 ")) {
		t.Fatalf("%s, %v", note, err)
	}
	for name, change := range map[string]func(*clusterpb.SignRequest){
		"another root":           func(r *clusterpb.SignRequest) { r.Root = make([]byte, 32) },
		"another size":           func(r *clusterpb.SignRequest) { r.Size-- },
		"an entry without rows":  func(r *clusterpb.SignRequest) { r.RaftIndex = 1 },
		"no entry":               func(r *clusterpb.SignRequest) { r.RaftIndex = 0 },
		"an entry of the future": func(r *clusterpb.SignRequest) { r.RaftIndex += 1000 },
	} {
		if note, err := sign(change); err == nil || len(note) > 0 {
			t.Errorf("%s is signed: %s", name, note)
		}
	}
	f.stop("n3")
	resp, err = f.op.AuditCheckpoint(t.Context())
	if err != nil || len(resp.GetSigners()) != 2 || resp.GetMembers() != 3 {
		t.Errorf("with one node down: %v, %v", resp, err)
	}
}
