package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm"
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
