package hexrd_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/identity"
)

var memberAttacks = []row{
	{"join", "no token, one of another node, a used one with another key or address, a revoked one, text that is none, an address that is none or too long; an agent, an operator",
		"refused: no keyring leaves, nobody is admitted", (*attack).join},
	{"join-changes-a-member", "a member's ID with another audit key, another address, a token of its own", "refused: the member is as it was", (*attack).joinAsMember},
	{"peer-service", "each call between nodes by an agent, an operator, a node that is no member, a member of another cluster; proposals in another's name", "PermissionDenied; not a member; wrong cluster",
		(*attack).peerService},
	{"token-lifetime", "a join token's life of 0, below 0, above 24 h, beyond 2^63, nonsense", "400", (*attack).tokenLifetime},
	{"self-service", "an agent, a provisioner, an auditor that blocks, changes settings, makes tokens, removes members; an operator that blocks itself or a node", "403; 400", (*attack).selfService},
}

var surfaceAttacks = []row{
	{"reflection", "gRPC reflection, channelz, services and methods that don't exist", "Unimplemented", (*attack).reflection},
	{"browsers", "gRPC-web, CORS preflights, `Origin`", "404, no header of CORS", (*attack).browsers},
	{"debug", "`/debug/pprof`, `/debug/vars`, `/leave`, `/metrics` over the port; the admin socket", "401 without an identity, else 404 or 403; a socket of mode 0600", (*attack).debug},
	{"redirects", "everything that makes other servers redirect", "no answer has a `Location`", (*attack).redirects},
}

// nodeTLS is a node's identity as the network between nodes needs it.
type nodeTLS struct{ identity.Source }

func (n nodeTLS) Server(alpn []string, require bool) *tls.Config {
	return identity.ServerTLS(n.Source, domain, identity.ServerOptions{ALPN: alpn, Require: require})
}

func (n nodeTLS) Client(_ string, alpn ...string) *tls.Config {
	return identity.ClientTLS(n.Source, identity.AuthorizeNode(domain), alpn...)
}

func (n nodeTLS) Authenticate(tls.ConnectionState) (cluster.Peer, error) {
	return cluster.Peer{}, errors.New("it accepts nobody")
}

// peers calls the node as another one would.
func (a *attack) peers(path string, id [16]byte) *cluster.Peers {
	a.t.Helper()
	src, err := identity.Open(a.t.Context(), identity.Config{Socket: a.socket(path, 30*time.Minute, true)})
	if err != nil {
		a.t.Fatal(err)
	}
	p := cluster.NewPeers(cluster.PeersConfig{TLS: nodeTLS{src}, ClusterID: func() [16]byte { return id }})
	a.t.Cleanup(func() { _ = p.Close(); _ = src.Close() })
	return p
}

func (a *attack) clusterID() (id [16]byte) {
	a.t.Helper()
	got, err := a.client("/hexr/operator/ann").Status(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	b, err := hex.DecodeString(got.GetClusterId())
	if err != nil {
		a.t.Fatal(err)
	}
	return [16]byte(b)
}

func (a *attack) token(nodeID string) (string, string) {
	a.t.Helper()
	t, err := a.client("/hexr/operator/ann").CreateToken(a.t.Context(), nodeID, time.Hour)
	if err != nil {
		a.t.Fatal(err)
	}
	return t.GetToken(), t.GetId()
}

func (a *attack) joined(as string, req *clusterpb.JoinRequest) (*clusterpb.JoinResponse, error) {
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Second)
	defer cancel()
	return a.peers(as, [16]byte{}).Join(ctx, a.server.Addr(), req)
}

func joinRequest(token, addr string, key byte) *clusterpb.JoinRequest {
	audit := make([]byte, 32)
	audit[0] = key
	return &clusterpb.JoinRequest{Token: []byte(token), Address: addr, AuditKey: audit, RequestId: make([]byte, 16)}
}

func (a *attack) join() {
	const n8 = "/hexr/node/n8"
	others, _ := a.token("n7")
	revoked, id := a.token("n8")
	if err := a.client("/hexr/operator/ann").RevokeToken(a.t.Context(), id); err != nil {
		a.t.Fatal(err)
	}
	good, _ := a.token("n8")
	for name, c := range map[string]struct {
		as  string
		req *clusterpb.JoinRequest
	}{
		"no token":             {n8, joinRequest("", "127.0.0.1:9", 1)},
		"no token's text":      {n8, joinRequest("hexr-join-x", "127.0.0.1:9", 1)},
		"another node's token": {n8, joinRequest(others, "127.0.0.1:9", 1)},
		"a revoked token":      {n8, joinRequest(revoked, "127.0.0.1:9", 1)},
		"a long token":         {n8, joinRequest(strings.Repeat("a", 1<<20), "127.0.0.1:9", 1)},
		"no address":           {n8, joinRequest(good, "", 1)},
		"an address too long":  {n8, joinRequest(good, strings.Repeat("a", 300)+":1", 1)},
		"a bad address":        {n8, joinRequest(good, "127.0.0.1", 1)},
		"an agent":             {victim, joinRequest(good, "127.0.0.1:9", 1)},
		"an operator":          {"/hexr/operator/ann", joinRequest(good, "127.0.0.1:9", 1)},
	} {
		if resp, err := a.joined(c.as, c.req); err == nil || len(resp.GetKeyring()) > 0 {
			a.t.Errorf("%s: it has joined", name)
		}
	}
	if _, err := a.joined(n8, joinRequest(good, "127.0.0.1:9", 1)); err != nil {
		a.t.Fatalf("the good token: %v", err)
	}
	if _, err := a.joined(n8, joinRequest(good, "127.0.0.1:9", 1)); err != nil {
		a.t.Errorf("the same request again, whose answer was lost: %v", err)
	}
	for name, req := range map[string]*clusterpb.JoinRequest{
		"another key": joinRequest(good, "127.0.0.1:9", 2), "another address": joinRequest(good, "127.0.0.1:8", 1), "without it": joinRequest("", "127.0.0.1:9", 1),
	} {
		if resp, err := a.joined(n8, req); err == nil || len(resp.GetKeyring()) > 0 {
			a.t.Errorf("a used token, %s: it has joined", name)
		}
	}
	if resp, err := a.joined("/hexr/node/n6", joinRequest(good, "127.0.0.1:9", 1)); err == nil || len(resp.GetKeyring()) > 0 {
		a.t.Error("a used token admits another node")
	}
}

func (a *attack) joinAsMember() {
	operator := a.client("/hexr/operator/ann")
	before, err := operator.Members(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	token, _ := a.token("n1")
	for name, req := range map[string]*clusterpb.JoinRequest{
		"another key": joinRequest(token, "127.0.0.1:1", 9), "another address": joinRequest(token, "127.0.0.1:7", 9), "no token": joinRequest("", "127.0.0.1:1", 9),
	} {
		if resp, err := a.joined("/hexr/node/n1", req); err == nil || len(resp.GetKeyring()) > 0 {
			a.t.Errorf("%s: it has joined", name)
		}
	}
	if err := a.peers("/hexr/node/n1", a.clusterID()).Enter(a.t.Context(), "", a.server.Addr(), &clusterpb.EnterRequest{Address: "127.0.0.1:7"}); err == nil {
		a.t.Error("a member enters at another address")
	}
	after, err := operator.Members(a.t.Context())
	if err != nil || after.GetMembers()[0].GetAddress() != before.GetMembers()[0].GetAddress() || len(after.GetMembers()) != len(before.GetMembers()) {
		a.t.Errorf("the members were %v and are %v, %v", before, after, err)
	}
}

func (a *attack) peerService() {
	id := a.clusterID()
	ctx, addr := a.t.Context(), a.server.Addr()
	for _, as := range []string{victim, "/hexr/operator/ann", "/hexr/auditor/ben"} {
		conn := a.grpc(a.as(as))
		for _, m := range clusterpb.Peer_ServiceDesc.Methods {
			err := conn.Invoke(ctx, "/hexr.cluster.v1.Peer/"+m.MethodName, &clusterpb.StatusRequest{}, &clusterpb.StatusResponse{})
			if status.Code(err) != codes.PermissionDenied {
				a.t.Errorf("%s as %s: %v", m.MethodName, as, err)
			}
		}
	}
	refused := func(what string, err error, want clusterpb.Refusal_Kind) {
		a.t.Helper()
		var r *cluster.RefusalError
		if !errors.As(err, &r) || r.Kind != want {
			a.t.Errorf("%s: %v", what, err)
		}
	}
	stranger := a.peers("/hexr/node/n9", id)
	_, err := stranger.Propose(ctx, "", addr, []byte("x"))
	refused("a proposal of no member", err, clusterpb.Refusal_KIND_NOT_MEMBER)
	_, err = stranger.Status(ctx, "", addr, "")
	refused("status for no member", err, clusterpb.Refusal_KIND_NOT_MEMBER)
	_, err = stranger.Root(ctx, "", addr, 1)
	refused("a root for no member", err, clusterpb.Refusal_KIND_NOT_MEMBER)
	refused("a removal by no member", stranger.Change(ctx, "", addr, &clusterpb.ChangeRequest{Kind: clusterpb.ChangeRequest_KIND_REMOVE, NodeId: "n1"}), clusterpb.Refusal_KIND_NOT_MEMBER)
	refused("entering without a join", stranger.Enter(ctx, "", addr, &clusterpb.EnterRequest{Address: "127.0.0.1:9"}), clusterpb.Refusal_KIND_DENIED)
	_, err = a.peers("/hexr/node/n1", [16]byte{7}).Propose(ctx, "", addr, []byte("x"))
	refused("a member of another cluster", err, clusterpb.Refusal_KIND_WRONG_CLUSTER)
	_, err = a.peers("/hexr/node/n1", id).Propose(ctx, "", addr, []byte("\xff\xff"))
	refused("a proposal that is none", err, clusterpb.Refusal_KIND_INVALID)
	named, err := proto.Marshal(&fsmpb.Proposal{Format: 1, ClusterId: id[:], Accesses: []*fsmpb.Access{{Node: "n2"}}})
	if err != nil {
		a.t.Fatal(err)
	}
	_, err = a.peers("/hexr/node/n1", id).Propose(ctx, "", addr, named)
	refused("a proposal in another's name", err, clusterpb.Refusal_KIND_INVALID)
}

func (a *attack) tokenLifetime() {
	for _, ttl := range []string{"0s", "-1h", "24h1ns", "9999999h", "1e9h", "9223372036854775807ns", "9223372036854775808ns", "1", "forever", "1h-2h"} {
		a.want(ttl, a.ask("/hexr/operator/ann", "POST", "/v1/cluster/tokens", `{"node_id":"n5","ttl":"`+ttl+`"}`), 400, "INVALID_ARGUMENT")
	}
	rpc := hexrv1.NewClusterClient(a.grpc(a.as("/hexr/operator/ann")))
	for _, ttl := range []*durationpb.Duration{
		{}, {Seconds: -1}, {Seconds: 1 << 62}, {Seconds: -1 << 62}, {Seconds: 1, Nanos: -2_000_000_000}, {Seconds: 86_401}, {Nanos: -1},
	} {
		if _, err := rpc.CreateToken(a.t.Context(), &hexrv1.CreateTokenRequest{NodeId: "n5", Ttl: ttl}); status.Code(err) != codes.InvalidArgument {
			a.t.Errorf("%v: %v", ttl, err)
		}
	}
	for _, id := range []string{"", "N5", "n_5", "-n5", "n5-", "n5/x", "../n5", strings.Repeat("n", 64)} {
		a.want("node "+id, a.ask("/hexr/operator/ann", "POST", "/v1/cluster/tokens", `{"node_id":"`+id+`"}`), 400, "INVALID_ARGUMENT")
	}
}

func (a *attack) selfService() {
	for _, as := range []string{thief, "/hexr/provisioner/acme/ci", "/hexr/auditor/ben", "/hexr/node/n1"} {
		for _, c := range [][3]string{
			{"POST", "/v1/cluster/blocks", `{"subject":"agent/acme"}`}, {"DELETE", "/v1/cluster/blocks?subject=agent/acme", ""}, {"GET", "/v1/cluster/blocks", ""},
			{"PUT", "/v1/cluster/settings/join_without_token", `{"value":"true"}`}, {"GET", "/v1/cluster/settings", ""}, {"POST", "/v1/cluster/tokens", `{"node_id":"n5"}`},
			{"GET", "/v1/cluster/tokens", ""}, {"DELETE", "/v1/cluster/tokens/0011223344556677", ""}, {"DELETE", "/v1/cluster/members/n1", ""}, {"POST", "/v1/cluster/transfer", `{}`},
		} {
			a.want(as+" "+c[1], a.ask(as, c[0], c[1], c[2]), 403, "WRONG_CLASS")
		}
	}
	for _, subject := range []string{"spiffe://hexr.cloud/hexr/operator/ann", "spiffe://hexr.cloud/hexr/node/n1", "agent", "agent/", "agent/a/b/c", "hexr/operator", "", "spiffe://evil.cloud/agent/a/b/c"} {
		a.want("block of "+subject, a.ask("/hexr/operator/ann", "POST", "/v1/cluster/blocks", `{"subject":"`+subject+`"}`), 400, "INVALID_ARGUMENT")
	}
}

func (a *attack) reflection() {
	for _, as := range []string{victim, "/hexr/operator/ann"} {
		conn := a.grpc(a.as(as))
		for _, m := range []string{
			"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/grpc.channelz.v1.Channelz/GetServers",
			"/hexr.v1.Vault/Steal", "/hexr.v1.vault/Get", "/hexr.v1.Vault/get", "/Vault/Get", "/", "/hexr.v1.Vault//Get", "/hexr.v1.Admin/Shutdown", "/grpc.health.v1.Health/Steal",
		} {
			err := conn.Invoke(a.t.Context(), m, &hexrv1.WhoAmIRequest{}, &hexrv1.WhoAmIResponse{})
			if status.Code(err) != codes.Unimplemented {
				a.t.Errorf("%s: %v", m, err)
			}
		}
	}
}

func (a *attack) browsers() {
	const origin = "Origin: https://evil.com"
	for what, got := range map[string]reply{
		"preflight":      a.ask(victim, "OPTIONS", "/v1/secrets/"+canaryPath, "", origin, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"),
		"get":            a.ask(victim, "GET", "/v1/secrets/"+canaryPath, "", origin),
		"by nobody":      a.ask("", "OPTIONS", "/v1/secrets/"+canaryPath, "", origin, "Access-Control-Request-Method: GET"),
		"gRPC-web":       a.ask(victim, "POST", "/hexr.v1.Vault/Get", "\x00\x00\x00\x00\x00", origin, "Content-Type: application/grpc-web+proto", "X-Grpc-Web: 1"),
		"gRPC-web text":  a.ask(victim, "POST", "/hexr.v1.Vault/Get", "AAAAAAA=", origin, "Content-Type: application/grpc-web-text"),
		"gRPC over HTTP": a.ask(victim, "POST", "/hexr.v1.Vault/Get", "\x00\x00\x00\x00\x00", "Content-Type: application/grpc"),
		"a web socket":   a.ask(victim, "GET", "/v1/whoami?socket=1", "", origin, "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
	} {
		for name := range got.header {
			if strings.HasPrefix(name, "Access-Control-") {
				a.t.Errorf("%s: %s", what, name)
			}
		}
		if what != "get" && got.status < 400 {
			a.t.Errorf("%s: %s", what, got)
		}
	}
}

func (a *attack) debug() {
	for _, path := range []string{
		"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/vars", "/debug/requests", "/leave", "/metrics/", "/admin", "/v1/sys/seal", "/v1/sys/raw", "/v2/keys", "/",
		"/index.html", "/.env", "/favicon.ico", "/v1", "/v1/", "/swagger", "/server-status", "/actuator/env",
	} {
		a.want(path, a.ask("", "GET", path, ""), 401, "NO_IDENTITY")
		a.want(path, a.ask("/hexr/operator/ann", "GET", path, ""), 404, "UNKNOWN_METHOD")
	}
	a.want("leave", a.ask("/hexr/operator/ann", "POST", "/leave", ""), 404, "UNKNOWN_METHOD")
	a.want("metrics", a.ask(victim, "GET", "/metrics", ""), 403, "WRONG_CLASS")
	a.want("metrics", a.ask("", "GET", "/metrics", ""), 401, "NO_IDENTITY")
	info, err := os.Stat(a.admin)
	if err != nil || info.Mode().Perm() != 0o600 {
		a.t.Errorf("the admin socket: %v, %v", info, err)
	}
	text := adminMetrics(a.t, a.admin)
	if !strings.Contains(text, "hexrd_raft_leader") {
		a.t.Error("no metrics")
	}
	quiet(a.t, "the metrics", text)
}

func (a *attack) redirects() {
	for _, path := range []string{
		"//evil.com", "//evil.com/v1/secrets", "/\\evil.com", "/%2F%2Fevil.com", "/v1/secrets//", "/v1/secrets/", "/v1/audit/", "/v1/..//evil.com", "/v1/whoami?next=https://evil.com",
		"/v1/secrets?return_to=https://evil.com", "/health/", "/metrics/..", "/v1/cluster",
	} {
		for _, as := range []string{"", victim} {
			got := a.ask(as, "GET", path, "")
			if got.header.Get("Location") != "" || got.status >= 300 && got.status < 400 || got.status < 300 && path != "/v1/secrets/" {
				a.t.Errorf("%s: %s", path, got)
			}
		}
	}
}
