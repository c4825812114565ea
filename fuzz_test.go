package hexrd_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/internal/frames"
)

// callers are one identity of each class, and nobody.
var callers = []string{
	"/agent/acme/bot/main", "/agent/acme/bot/writer", "/hexr/provisioner/acme/ci", "/hexr/operator/ann", "/hexr/auditor/ben", "/hexr/node/n1", "/what", "",
}

// surface is a running node that is sent anything.
type surface struct {
	*world
	methods []protoreflect.MethodDescriptor
	tls     []*tls.Config // of each caller
	grpc    []*grpc.ClientConn
}

func methodsOf(files ...protoreflect.FileDescriptor) (methods []protoreflect.MethodDescriptor) {
	for _, file := range files {
		for i := range file.Services().Len() {
			for j := range file.Services().Get(i).Methods().Len() {
				methods = append(methods, file.Services().Get(i).Methods().Get(j))
			}
		}
	}
	return methods
}

func newSurface(f *testing.F) *surface {
	f.Helper()
	s := &surface{world: newWorld(f).start(), methods: methodsOf(
		hexrv1.File_api_hexr_v1_vault_proto, hexrv1.File_api_hexr_v1_audit_proto, hexrv1.File_api_hexr_v1_cluster_proto,
		healthpb.File_grpc_health_v1_health_proto, clusterpb.File_cluster_clusterpb_peer_proto,
	)}
	for _, caller := range callers {
		cfg := &tls.Config{RootCAs: s.ca.Pool(), MinVersion: tls.VersionTLS13}
		if caller != "" {
			cfg.Certificates = []tls.Certificate{certificate(s.mint(caller))}
		}
		s.tls = append(s.tls, cfg)
		conn, err := grpc.NewClient(s.server.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(cfg.Clone())))
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { _ = conn.Close() })
		s.grpc = append(s.grpc, conn)
	}
	return s
}

// wire sends bytes as a message.
type wire struct{}

func (wire) Name() string                  { return "proto" }
func (wire) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (wire) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

func fullName(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
}

// call makes one call, and reads the first answer of a stream.
func (s *surface) call(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, req []byte) (answer []byte, err error) {
	if !m.IsStreamingServer() {
		return answer, conn.Invoke(ctx, fullName(m), req, &answer, grpc.ForceCodec(wire{}))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, fullName(m), grpc.ForceCodec(wire{}))
	if err == nil {
		err = stream.SendMsg(req)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		err = stream.RecvMsg(&answer)
	}
	return answer, err
}

// FuzzGRPC sends any bytes to any method as any class of caller: the node
// answers with a message of the method's, or with an error that is not INTERNAL.
func FuzzGRPC(f *testing.F) {
	s := newSurface(f)
	for i, m := range s.methods {
		for caller := range callers {
			f.Add(uint(i), uint(caller), seed(f, m.Input()))
		}
		f.Add(uint(i), uint(0), []byte("\xff\xff\xff"))
	}
	f.Fuzz(func(t *testing.T, method, caller uint, req []byte) {
		m := s.methods[method%uint(len(s.methods))]
		if caller %= uint(len(callers)); m.Name() == "Join" && callers[caller] == "/hexr/node/n1" {
			return // it would look names up
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		answer, err := s.call(ctx, s.grpc[caller], m, req)
		switch code := status.Code(err); {
		case code == codes.Unknown || code == codes.DataLoss,
			code == codes.Internal && !strings.Contains(err.Error(), "grpc: failed to unmarshal the received message"):
			t.Fatalf("%s answers %v", fullName(m), err)
		case err == nil:
			if err := proto.Unmarshal(answer, dynamicpb.NewMessage(m.Output())); err != nil {
				t.Fatalf("%s: the answer is not one: %v", fullName(m), err)
			}
		}
		if err := s.server.Wait(done()); err != nil {
			t.Fatalf("%s ended the node: %v", fullName(m), err)
		}
	})
}

// FuzzSession sends any call, and any bytes behind it, in a session as any class of
// caller: the call is answered with a message of the method's or an error that is not
// INTERNAL, and the session ends when its client has nothing more to say.
func FuzzSession(f *testing.F) {
	s := newSurface(f)
	again := &bytes.Buffer{}
	if _, err := protodelim.MarshalTo(again, &hexrv1.Call{Id: 2, Method: hexrv1.Vault_Get_FullMethodName, Cancelled: []uint64{1, 2}}); err != nil {
		f.Fatal(err)
	}
	for i, m := range s.methods {
		for caller := range callers {
			f.Add(uint(i), uint(caller), uint64(1), seed(f, m.Input()), again.Bytes())
		}
		f.Add(uint(i), uint(0), uint64(0), []byte("\xff\xff\xff"), []byte("\xff\xff\xff\xff\x0f"))
	}
	f.Fuzz(func(t *testing.T, method, caller uint, id uint64, req, more []byte) {
		m, cfg := s.methods[method%uint(len(s.methods))], s.tls[caller%uint(len(callers))].Clone()
		cfg.NextProtos = []string{"hexr-session"}
		conn, err := elsewhere(cfg)(t.Context(), "tcp", s.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		calls := frames.New(conn, 8<<20, 5*time.Second)
		_ = calls.Write(&hexrv1.Call{Id: id, Method: fullName(m), Request: req})
		for answers := 0; ; answers++ {
			a := &hexrv1.Answer{}
			if err = calls.Read(a); err != nil {
				break
			}
			if reason := a.GetError().GetReason(); reason == "INTERNAL" || reason == "UNKNOWN" {
				t.Fatalf("%s answers %v", fullName(m), a.GetError())
			}
			if a.GetId() == id && a.GetError() == nil {
				if err := proto.Unmarshal(a.GetResponse(), dynamicpb.NewMessage(m.Output())); err != nil {
					t.Fatalf("%s: the answer is not one: %v", fullName(m), err)
				}
			}
			if answers == 0 {
				_, _ = conn.Write(more)
				_ = conn.(*tls.Conn).CloseWrite()
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: the session does not end", fullName(m))
		}
		if err := s.server.Wait(done()); err != nil {
			t.Fatalf("%s ended the node: %v", fullName(m), err)
		}
	})
}

// done is a context that is over: Wait says then only what was.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// seed is a message with something in every field.
func seed(f *testing.F, d protoreflect.MessageDescriptor) []byte {
	f.Helper()
	data, err := proto.Marshal(filled(d, 3).Interface())
	if err != nil {
		f.Fatal(err)
	}
	return data
}

func filled(d protoreflect.MessageDescriptor, depth int) protoreflect.Message {
	m := dynamicpb.NewMessage(d)
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		switch {
		case depth == 0 || fd.IsMap():
		case fd.IsList():
			list := m.Mutable(fd).List()
			list.Append(value(fd, depth))
		default:
			m.Set(fd, value(fd, depth))
		}
	}
	return m
}

func value(fd protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		for name, s := range map[string]string{"path": "a/b", "node_id": "n2", "subject": "agent/acme/x", "name": "rate_burst", "value": "2000"} {
			if string(fd.Name()) == name {
				return protoreflect.ValueOfString(s)
			}
		}
		return protoreflect.ValueOfString("")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, 16))
	case protoreflect.MessageKind:
		return protoreflect.ValueOfMessage(filled(fd.Message(), depth-1))
	default: // a number
		if fd.IsList() {
			return dynamicpb.NewMessage(fd.ContainingMessage()).NewField(fd).List().NewElement()
		}
		return fd.Default()
	}
}

// FuzzHTTP sends any request line, header and body as any class of caller: the
// answer is well formed, and says neither 500 nor anything that HTTP has not.
func FuzzHTTP(f *testing.F) {
	s := newSurface(f)
	for _, r := range []struct{ method, target, header, body string }{
		{"GET", "/health", "", ""},
		{"GET", "/v1/whoami", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ""},
		{"PUT", "/v1/secrets/a%2Fb", "Idempotency-Key: x", `{"value":"v","metadata":{"a":"b"}}`},
		{"GET", "/v1/secrets/a/b?scope=main", "Authorization: Bearer a.b.c", ""},
		{"DELETE", "/v1/secrets/a/b?destroy=true", "", ""},
		{"POST", "/v1/secrets/a/b:undelete", "Content-Type: application/json", "{}"},
		{"POST", "/v1/secrets:batchGet", "Transfer-Encoding: chunked", "5\r\n{\"pat\r\n0\r\n\r\n"},
		{"GET", "/v1/audit?page_size=1&cursor=AA", "Range: bytes=0-1", ""},
		{"GET", "/v1/audit/tail?from=0", "Expect: 100-continue", ""},
		{"POST", "/v1/cluster/tokens", "Content-Encoding: gzip", `{"node_id":"n2","ttl":"1h"}`},
		{"GET", "/metrics", "Accept: application/openmetrics-text", ""},
		{"CONNECT", "node:443", "Upgrade: h2c\r\nConnection: Upgrade", ""},
		{"OPTIONS", "*", "Host: y", ""},
	} {
		for caller := range callers {
			f.Add(uint(caller), r.method, r.target, r.header, []byte(r.body))
		}
	}
	f.Fuzz(func(t *testing.T, caller uint, method, target, header string, body []byte) {
		conn, err := elsewhere(s.tls[caller%uint(len(callers))])(t.Context(), "tcp", s.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n\r\n%s", method, target, len(body), header, body)
		_, _ = io.WriteString(conn, request)
		_ = conn.(*tls.Conn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return // not a request: closed
		}
		defer func() { _ = resp.Body.Close() }()
		if unfit := []int{500, 502}; slices.Contains(unfit, resp.StatusCode) || resp.StatusCode > 505 {
			answer, _ := io.ReadAll(resp.Body)
			t.Fatalf("%q: %d %s", request, resp.StatusCode, answer)
		}
		if err := s.server.Wait(done()); err != nil {
			t.Fatalf("%q ended the node: %v", request, err)
		}
	})
}
