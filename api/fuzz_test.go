package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/seal"
)

func FuzzPutBody(f *testing.F) {
	f.Add([]byte(`{"value":"x","metadata":{"a":"b"},"expected_version":1}`))
	f.Add([]byte(`{"value":"x","value":"y"}`))
	r := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: "/v1/secrets/k"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodePut("k", r, body)
		if err == nil && m == nil {
			t.Fatal("neither a request nor an error")
		}
	})
}

func FuzzSteps(f *testing.F) {
	f.Add([]byte(`{"generation":1,"version":2,"grace":"1d12h"}`))
	f.Add([]byte(`{"generation":1,"data":"eA==","metadata":{"a":"b"}}`))
	f.Add([]byte(`{"ttl":"30s","rotation":"90d","scope":"researcher"}`))
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/v1/secrets/k:rotateStage"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, decode := range []func(string, *http.Request, []byte) (proto.Message, error){
			decodeRotateBegin, decodeRotateStage, decodeRotateCommit, decodeRotateAbort, decodeSetRotation,
		} {
			if m, err := decode("k", r, body); err == nil && m == nil {
				t.Fatal("neither a request nor an error")
			}
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "/v1/secrets/a%2Fb:versions")
	f.Add("DELETE", "/v1/cluster/members/n1")
	f.Fuzz(func(t *testing.T, method, path string) {
		u, err := url.Parse("https://node" + path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		rt, err := match(&http.Request{Method: method, URL: u})
		if err != nil {
			return
		}
		if rt.raw == nil && methodTable()[rt.method] == nil {
			t.Fatalf("%s %s leads to no method", method, path)
		}
		if p, err := fsm.ParsePath(rt.vars); err == nil && strings.Contains(string(p), "//") {
			t.Fatal("an empty segment is a path")
		}
	})
}

// FuzzRequest decodes requests of all routes, and checks them against the rules
// in the proto: what is decoded is a message, what is not is a 4xx.
func FuzzRequest(f *testing.F) {
	s := newServer(f, Peer{})
	for _, seed := range []struct{ method, target, body string }{
		{"GET", "/v1/secrets?prefix=a&scope=x&page_size=3&page_token=AA&include_deleted=true", ""},
		{"PUT", "/v1/secrets/a%2Fb", `{"data":"//79","scope":"x","metadata":{"a":"b"},"expected_version":18446744073709551615}`},
		{"DELETE", "/v1/secrets/k?destroy=true&version=2", ""},
		{"POST", "/v1/secrets/k:undelete?scope=x", `{"scope":"y"}`},
		{"POST", "/v1/secrets:batchGet", `{"paths":["a","b"],"scope":""}`},
		{"GET", "/v1/audit?since=2026-01-02T15:04:05Z&until=9999-12-31T23:59:59Z&outcome=denied&cursor=x", ""},
		{"GET", "/v1/audit/tail?from=0", ""},
		{"POST", "/v1/cluster/tokens", `{"node_id":"n2","ttl":"9223372036s"}`},
		{"PUT", "/v1/cluster/settings/rate_burst", `{"value":"1"}`},
		{"POST", "/v1/cluster/blocks", `{"subject":"agent/acme"}`},
		{"DELETE", "/v1/cluster/members/n1", ""},
	} {
		f.Add(seed.method, seed.target, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" {
			return
		}
		r := &http.Request{Method: method, URL: u}
		rt, err := match(r)
		if err != nil || rt.raw != nil {
			return
		}
		req, err := rt.decode(rt.vars, r, body)
		if err == nil {
			err = s.validate(req)
		}
		if err != nil {
			if status := failureOf(err).httpStatus(); status >= 500 {
				t.Fatalf("status %d: %v", status, err)
			}
			return
		}
		if _, err := proto.Marshal(req); err != nil { // text that is not UTF-8
			t.Fatalf("what was accepted is no message: %v", err)
		}
	})
}

// FuzzPageToken: only what the node made for this place opens.
func FuzzPageToken(f *testing.F) {
	keys, err := seal.NewKeyring([16]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{backend: ringed{keys: keys}}
	token, err := s.sealToken("list", "next")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("list", token)
	f.Add("audit", token)
	f.Fuzz(func(t *testing.T, place, given string) {
		next, err := s.openToken(place, given)
		if err == nil && given != "" && (next != "next" || place != "list") {
			t.Fatal("a token that nobody made")
		}
	})
}

type ringed struct {
	Backend
	keys *seal.Keyring
}

func (r ringed) Keys() *seal.Keyring { return r.keys }

func FuzzTokens(f *testing.F) {
	token, err := newToken()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token, "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, token, key, parent string) {
		_, _ = TokenHash(token)
		if id, err := idempotencyKey(key); err == nil && len(id) != 0 && len(id) != 16 {
			t.Fatal("a request id of another length")
		}
		if id := traceID(parent); len(id) != 0 && len(id) != 16 {
			t.Fatal("a trace id of another length")
		}
	})
}
