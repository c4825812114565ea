package hexrd_test

import (
	"crypto/tls"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/frames"
)

// sessionOf is a session of an identity.
type sessionOf struct {
	t     testing.TB
	calls *frames.Conn
	last  uint64
}

func (l *limited) session(path string) *sessionOf {
	l.t.Helper()
	d := tls.Dialer{Config: l.tlsAs(path, "hexr-session")}
	conn, err := d.DialContext(l.t.Context(), "tcp", l.server.Addr())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	return &sessionOf{t: l.t, calls: frames.New(conn, 2<<20, time.Minute)}
}

func (s *sessionOf) send(method string, req proto.Message) error {
	s.t.Helper()
	data, err := proto.Marshal(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.last++
	return s.calls.Write(&hexrv1.Call{Id: s.last, Method: method, Request: data})
}

// ask is a call and its answer: the failure's reason, if it failed.
func (s *sessionOf) ask(method string, req, resp proto.Message) (reason string) {
	s.t.Helper()
	if err := s.send(method, req); err != nil {
		s.t.Fatal(err)
	}
	a := &hexrv1.Answer{}
	if err := s.calls.Read(a); err != nil {
		s.t.Fatal(err)
	}
	if err := proto.Unmarshal(a.GetResponse(), resp); err != nil || a.GetId() != s.last {
		s.t.Fatal("an answer to another call, or none", err)
	}
	return a.GetError().GetReason()
}

// TestSessionRefusesAlike: whoever calls whatever, carried or alone, with nothing in
// it: the answer has the same reason, and the audit as many rows.
func TestSessionRefusesAlike(t *testing.T) {
	t.Parallel()
	l := newLimited(t)
	if err := l.operator.Block(t.Context(), "agent/acme/blocked"); err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{"/agent/acme/bot/main", "/agent/acme/blocked/main", "/hexr/provisioner/acme/ci", "/hexr/auditor/eve", "/hexr/operator/ann", "/hexr/node/n9"} {
		conn := l.dialGRPC(as)
		s := l.session(as)
		for _, m := range unaryMethods() {
			name := fullName(m)
			req := dynamicpb.NewMessage(m.Input())
			before := l.rows()
			alone := reasonOf(conn.Invoke(t.Context(), name, req, dynamicpb.NewMessage(m.Output())))
			between := l.rows()
			carried := s.ask(name, req, dynamicpb.NewMessage(m.Output()))
			after := l.rows()
			if alone != carried || between-before != after-between {
				t.Errorf("%s by %s: alone %q and %d rows, carried %q and %d rows", name, as, alone, between-before, carried, after-between)
			}
		}
	}
}

func unaryMethods() (methods []protoreflect.MethodDescriptor) {
	for _, m := range methodsOf(hexrv1.File_api_hexr_v1_vault_proto, hexrv1.File_api_hexr_v1_audit_proto, hexrv1.File_api_hexr_v1_cluster_proto) {
		if !m.IsStreamingServer() {
			methods = append(methods, m)
		}
	}
	return methods
}

// rows is the number of audit rows on the node.
func (l *limited) rows() uint64 {
	l.t.Helper()
	s, err := l.operator.Status(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return s.GetAuditSize()
}

// reasonOf is the reason of a call that failed.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// TestSessionLimits: calls on a session have the limits of those alone; the session
// itself is no stream of its caller's.
func TestSessionLimits(t *testing.T) {
	t.Parallel()
	const agent = "/agent/acme/bot/main"
	l := newLimited(t)
	l.set("streams_max", "1")
	var s *sessionOf
	for range 3 {
		s = l.session(agent)
		if reason := s.ask(hexrv1.Vault_Get_FullMethodName, &hexrv1.GetRequest{Path: "k"}, &hexrv1.GetResponse{}); reason != "NOT_FOUND" {
			t.Fatalf("a get is answered %q", reason)
		}
	}
	l.set("rate_per_second", "1", "rate_burst", "1")
	for n := 0; ; n++ {
		reason := s.ask(hexrv1.Vault_Get_FullMethodName, &hexrv1.GetRequest{Path: "k"}, &hexrv1.GetResponse{})
		if reason == "RATE_LIMITED" {
			break
		}
		if reason != "NOT_FOUND" || n > 100 {
			t.Fatalf("get %d beyond the rate is answered %q", n, reason)
		}
	}
}

// TestSessionUnread: who does not read what a session answers loses its connection.
func TestSessionUnread(t *testing.T) {
	t.Parallel()
	const greedy = "/agent/acme/greedy/main"
	const answers = 64 // of 1 MiB, twice what may be unread
	l := newLimited(t)
	l.set("value_max_bytes", "1048576", "rate_burst", "1000000", "rate_per_second", "1000000")
	if _, err := l.client(greedy).Put(t.Context(), "k", make([]byte, 1<<20), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	reads, unread := l.session(greedy), l.session(greedy)
	for range answers {
		if reason := reads.ask(hexrv1.Vault_Get_FullMethodName, &hexrv1.GetRequest{Path: "k"}, &hexrv1.GetResponse{}); reason != "" {
			t.Fatalf("a get that is read is answered %q", reason)
		}
	}
	for range answers {
		if unread.send(hexrv1.Vault_Get_FullMethodName, &hexrv1.GetRequest{Path: "k"}) != nil {
			break // the connection has ended already
		}
	}
	until(t, "the connection that is not read to end", func() bool { return unread.calls.Write(&hexrv1.Call{}) != nil })
	if reason := reads.ask(hexrv1.Vault_Get_FullMethodName, &hexrv1.GetRequest{Path: "k"}, &hexrv1.GetResponse{}); reason != "" {
		t.Fatalf("a get that is read is answered %q", reason)
	}
}
