package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
)

const canary = "canary-7f3a"

// bug is a backend that panics with what nobody may see.
type bug struct{ Backend }

func (bug) Store() *fsm.Store { panic(canary) }

func (bug) Status(context.Context) (*hexrv1.StatusResponse, error) { panic(canary) }

func (bug) Healthy() (bool, string) { panic([]byte(canary)) }

// TestPanics: a panic costs its own call alone. The answer is INTERNAL, and the
// log says where it was and nothing of its value.
func TestPanics(t *testing.T) {
	var log bytes.Buffer
	peer := Peer{ID: "spiffe://hexr.cloud/agent/acme/" + canary + "/main", Kind: "x509", NotAfter: time.Now().Add(time.Hour)}
	s := newServer(t, peer)
	s.cfg.PeerFromContext = func(context.Context) (Peer, bool) { return peer, true } // of the moment
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(s.GRPCOptions()...)
	s.RegisterGRPC(server)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for range 2 { // it lives on
		_, err1 := hexrv1.NewVaultClient(conn).Get(t.Context(), &hexrv1.GetRequest{Path: canary})
		_, err2 := hexrv1.NewClusterClient(conn).Status(t.Context(), &hexrv1.StatusRequest{})
		tail, err3 := hexrv1.NewAuditClient(conn).Tail(t.Context(), &hexrv1.TailRequest{Caller: canary})
		if err3 == nil {
			_, err3 = tail.Recv()
		}
		for _, err := range []error{err1, err2, err3} {
			if status.Code(err) != codes.Internal || strings.Contains(err.Error(), canary) {
				t.Errorf("gRPC answers %v", err)
			}
		}
	}
	agent := peer
	peer.ID = "spiffe://hexr.cloud/hexr/node/n1" // its limits need no store: the handler is reached
	if _, err := hexrv1.NewClusterClient(conn).Status(t.Context(), &hexrv1.StatusRequest{}); status.Code(err) != codes.Internal || strings.Contains(err.Error(), canary) {
		t.Errorf("gRPC answers %v", err)
	}
	peer = agent
	for _, path := range []string{"/health", "/v1/secrets/" + canary, "/v1/cluster/status"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.TLS = &tls.ConnectionState{}
		w := httptest.NewRecorder()
		s.HTTPHandler().ServeHTTP(w, r.WithContext(WithPeer(r.Context(), peer)))
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "INTERNAL") || strings.Contains(w.Body.String(), canary) {
			t.Errorf("%s answers %d %s", path, w.Code, w.Body)
		}
	}
	server.Stop()
	text := log.String()
	if strings.Contains(text, canary) {
		t.Errorf("the log holds the value: %s", text)
	}
	for _, want := range []string{"a handler panicked", "panic.type=string", "panic.type=[]uint8", "api.bug.Healthy:", "method=http", "api.(*Server).invoke:", "/hexr.v1.Vault/Get"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %q: %s", want, text)
		}
	}
}
