package hexrd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/hexrdev/hexrd/api"
)

// TestHTTP drives the HTTP side of a running node, and holds every answer
// against the OpenAPI description.
func TestHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	agent, operator := w.web(w.mint("/agent/acme/bot/main")), w.web(w.mint("/hexr/operator/ann"))
	nobody, auditor := w.web(nil), w.web(w.mint("/hexr/auditor/ben"))
	stranger, provisioner := w.web(w.mint("/agent/evil/bot/main")), w.web(w.mint("/hexr/provisioner/acme/ci"))
	long := strings.Repeat("a", 513)
	for _, c := range []struct {
		name         string
		who          *http.Client
		method, path string
		body         string
		status       int
		reason       string // of an error, or a piece of the answer
	}{
		{"health needs no certificate", nobody, "GET", "/health", "", 200, `"ok"`},
		{"all else does", nobody, "GET", "/v1/whoami", "", 401, "NO_IDENTITY"},
		{"nothing there", agent, "GET", "/v1/secrets/k", "", 404, "NOT_FOUND"},
		{"put", agent, "PUT", "/v1/secrets/api-keys/openai", `{"value":"sk-1","metadata":{"a":"b"}}`, 200, `"version":1`},
		{"get", agent, "GET", "/v1/secrets/api-keys/openai", "", 200, `"value":"sk-1"`},
		{"get with an escaped slash", agent, "GET", "/v1/secrets/api-keys%2Fopenai", "", 200, `"value":"sk-1"`},
		{"put bytes", agent, "PUT", "/v1/secrets/raw", `{"data":"//79"}`, 200, `"version":1`},
		{"get bytes", agent, "GET", "/v1/secrets/raw", "", 200, `"data":"//79"`},
		{"compare and set", agent, "PUT", "/v1/secrets/raw", `{"value":"x","expected_version":7}`, 412, "VERSION_CONFLICT"},
		{"both kinds of value", agent, "PUT", "/v1/secrets/raw", `{"value":"x","data":"eA=="}`, 400, "INVALID_ARGUMENT"},
		{"unknown field", agent, "PUT", "/v1/secrets/raw", `{"value":"x","ttl":1}`, 400, "INVALID_ARGUMENT"},
		{"field in other letters", agent, "PUT", "/v1/secrets/raw", `{"Value":"x"}`, 400, "INVALID_ARGUMENT"},
		{"duplicate key", agent, "PUT", "/v1/secrets/raw", `{"value":"x","value":"y"}`, 400, "INVALID_ARGUMENT"},
		{"two documents", agent, "PUT", "/v1/secrets/raw", `{"value":"x"}{}`, 400, "INVALID_ARGUMENT"},
		{"wrong type", agent, "PUT", "/v1/secrets/raw", `{"value":1}`, 400, "INVALID_ARGUMENT"},
		{"null", agent, "PUT", "/v1/secrets/raw", `{"value":null}`, 400, "INVALID_ARGUMENT"},
		{"no JSON", agent, "PUT", "/v1/secrets/raw", `value=x`, 400, "INVALID_ARGUMENT"},
		{"value too large", agent, "PUT", "/v1/secrets/raw", `{"value":"` + strings.Repeat("x", 70_000) + `"}`, 413, "VALUE_TOO_LARGE"},
		{"body too large", agent, "PUT", "/v1/secrets/raw", `{"value":"` + strings.Repeat("x", 3<<20) + `"}`, 413, "BODY_TOO_LARGE"},
		{"empty segment", agent, "GET", "/v1/secrets/a//b", "", 400, "INVALID_ARGUMENT"},
		{"dot segment", agent, "GET", "/v1/secrets/a/%2e%2e/b", "", 400, "INVALID_ARGUMENT"},
		{"path too long", agent, "GET", "/v1/secrets/" + long, "", 400, "INVALID_ARGUMENT"},
		{"unknown verb", agent, "GET", "/v1/secrets/k:steal", "", 400, "INVALID_ARGUMENT"},
		{"unknown parameter", agent, "GET", "/v1/secrets/k?debug=1", "", 400, "INVALID_ARGUMENT"},
		{"parameter twice", agent, "GET", "/v1/secrets/k?version=1&version=2", "", 400, "INVALID_ARGUMENT"},
		{"an empty number", agent, "DELETE", "/v1/secrets/raw?destroy=true&version=", "", 400, "INVALID_ARGUMENT"},
		{"an empty flag", agent, "DELETE", "/v1/secrets/raw?destroy=", "", 400, "INVALID_ARGUMENT"},
		{"an empty time", auditor, "GET", "/v1/audit?until=", "", 400, "INVALID_ARGUMENT"},
		{"no number", agent, "GET", "/v1/secrets/k?version=x", "", 400, "INVALID_ARGUMENT"},
		{"bad scope", agent, "GET", "/v1/secrets/k?scope=a/b", "", 400, "INVALID_ARGUMENT"},
		{"method", agent, "PATCH", "/v1/secrets/k", "", 405, "METHOD_NOT_ALLOWED"},
		{"unknown route", agent, "GET", "/v2/secrets", "", 404, "UNKNOWN_METHOD"},
		{"list", agent, "GET", "/v1/secrets?prefix=api", "", 200, `"paths":["api-keys/openai"]`},
		{"list of a provisioner without scope", provisioner, "GET", "/v1/secrets", "", 400, "INVALID_ARGUMENT"},
		{"provisioner lists", provisioner, "GET", "/v1/secrets?scope=" + url.QueryEscape("spiffe://hexr.cloud/agent/acme/bot/*"), "", 200, "api-keys/openai"},
		{"provisioner never reads", provisioner, "GET", "/v1/secrets/raw?scope=" + url.QueryEscape("spiffe://hexr.cloud/agent/acme/bot/*"), "", 403, "WRONG_CLASS"},
		{"page token of nobody", agent, "GET", "/v1/secrets?page_token=abc", "", 400, "INVALID_ARGUMENT"},
		{"batch", agent, "POST", "/v1/secrets:batchGet", `{"paths":["raw","nothing","a//b"]}`, 200, `"NOT_FOUND"`},
		{"empty batch", agent, "POST", "/v1/secrets:batchGet", `{"paths":[]}`, 400, "INVALID_ARGUMENT"},
		{"describe", agent, "GET", "/v1/secrets/raw:describe", "", 200, `"size":3`},
		{"versions", agent, "GET", "/v1/secrets/raw:versions", "", 200, `"destroyed":false`},
		{"another tenant's is not found", stranger, "GET", "/v1/secrets/raw", "", 404, "NOT_FOUND"},
		{"commit without a rotation", agent, "POST", "/v1/secrets/raw:rotateCommit", `{"generation":1,"version":2}`, 412, "ROTATION_LOST"},
		{"begin", agent, "POST", "/v1/secrets/raw:rotateBegin", `{"ttl":"1m"}`, 200, `"generation":1`},
		{"begin again", agent, "POST", "/v1/secrets/raw:rotateBegin", "", 412, "ROTATION_UNDER_WAY"},
		{"lease for too long", agent, "POST", "/v1/secrets/raw:rotateBegin", `{"ttl":"2h"}`, 400, "INVALID_ARGUMENT"},
		{"keep the lease", agent, "POST", "/v1/secrets/raw:rotateBegin", `{"generation":1}`, 200, `"resumed":false`},
		{"begin on nothing", agent, "POST", "/v1/secrets/nothing:rotateBegin", "", 404, "NOT_FOUND"},
		{"begin of a stranger", stranger, "POST", "/v1/secrets/raw:rotateBegin", `{"scope":"spiffe://hexr.cloud/agent/acme/bot/*"}`, 403, "DENIED"},
		{"begin of an operator", operator, "POST", "/v1/secrets/raw:rotateBegin", "", 403, "WRONG_CLASS"},
		{"stage without a value", agent, "POST", "/v1/secrets/raw:rotateStage", `{"generation":1}`, 400, "INVALID_ARGUMENT"},
		{"stage without a generation", agent, "POST", "/v1/secrets/raw:rotateStage", `{"value":"x"}`, 400, "INVALID_ARGUMENT"},
		{"stage", agent, "POST", "/v1/secrets/raw:rotateStage", `{"generation":1,"value":"next"}`, 200, `"pending":2`},
		{"the pending version", agent, "GET", "/v1/secrets/raw?version=2", "", 200, `"value":"next"`},
		{"the current version", agent, "GET", "/v1/secrets/raw", "", 200, `"version":1`},
		{"versions of a rotation", agent, "GET", "/v1/secrets/raw:versions", "", 200, `"pending":true`},
		{"commit of another version", agent, "POST", "/v1/secrets/raw:rotateCommit", `{"generation":1,"version":3}`, 412, "VERSION_CONFLICT"},
		{"bad grace", agent, "POST", "/v1/secrets/raw:rotateCommit", `{"generation":1,"version":2,"grace":"91d"}`, 400, "INVALID_ARGUMENT"},
		{"commit", agent, "POST", "/v1/secrets/raw:rotateCommit", `{"generation":1,"version":2,"grace":"1d"}`, 200, `"previous":1`},
		{"the new version", agent, "GET", "/v1/secrets/raw", "", 200, `"value":"next"`},
		{"begin the next", agent, "POST", "/v1/secrets/raw:rotateBegin", "", 200, `"generation":2`},
		{"abort", agent, "POST", "/v1/secrets/raw:rotateAbort", `{"generation":2}`, 200, `"current":2`},
		{"schedule", agent, "POST", "/v1/secrets/raw:rotation", `{"rotation":"90d"}`, 200, `"rotation":"90d"`},
		{"schedule of nothing", agent, "POST", "/v1/secrets/raw:rotation", "", 400, "INVALID_ARGUMENT"},
		{"schedule in weeks", agent, "POST", "/v1/secrets/raw:rotation", `{"rotation":"2w"}`, 400, "INVALID_ARGUMENT"},
		{"schedule too often", agent, "POST", "/v1/secrets/raw:rotation", `{"rotation":"1ms"}`, 400, "INVALID_ARGUMENT"},
		{"describe with a schedule", agent, "GET", "/v1/secrets/raw:describe", "", 200, `"rotation":"90d"`},
		{"put with a schedule", agent, "PUT", "/v1/secrets/raw", `{"data":"//79","rotation":"12h"}`, 200, `"version":3`},
		{"put with a bad schedule", agent, "PUT", "/v1/secrets/raw", `{"data":"//79","rotation":"soon"}`, 400, "INVALID_ARGUMENT"},
		{"none is overdue", agent, "GET", "/v1/secrets?overdue=true", "", 200, `"paths":[]`},
		{"watch of two filters", agent, "GET", "/v1/watch?prefix=a&path=b", "", 400, "INVALID_ARGUMENT"},
		{"watch after what is none", agent, "GET", "/v1/watch?after=yesterday", "", 400, "INVALID_ARGUMENT"},
		{"watch of another's scope", agent, "GET", "/v1/watch?scope=other", "", 403, "DENIED"},
		{"watch of a provisioner without scope", provisioner, "GET", "/v1/watch", "", 400, "INVALID_ARGUMENT"},
		{"watch of an auditor", auditor, "GET", "/v1/watch", "", 403, "WRONG_CLASS"},
		{"delete", agent, "DELETE", "/v1/secrets/raw", "", 200, `"version":3`},
		{"delete again", agent, "DELETE", "/v1/secrets/raw", "", 404, "NOT_FOUND"},
		{"undelete", agent, "POST", "/v1/secrets/raw:undelete", "", 200, `"version":3`},
		{"undelete what lives", agent, "POST", "/v1/secrets/raw:undelete", "", 412, "VERSION_CONFLICT"},
		{"destroy", agent, "DELETE", "/v1/secrets/raw?destroy=true", "", 200, `"path":"raw"`},
		{"undelete what is destroyed", agent, "POST", "/v1/secrets/raw:undelete", "", 409, "DESTROYED"},
		{"who am I", agent, "GET", "/v1/whoami", "", 200, `"class":"agent"`},
		{"audit of an agent is its own", agent, "GET", "/v1/audit?page_size=2", "", 200, `"operation":"get"`},
		{"audit of another", agent, "GET", "/v1/audit?caller=" + url.QueryEscape("spiffe://hexr.cloud/agent/evil/bot/main"), "", 403, "DENIED"},
		{"audit", auditor, "GET", "/v1/audit?outcome=denied", "", 200, `"outcome":"denied"`},
		{"audit of an unknown outcome", auditor, "GET", "/v1/audit?outcome=lost", "", 400, "INVALID_ARGUMENT"},
		{"a filter that is not UTF-8", auditor, "GET", "/v1/audit?caller=%ff", "", 400, "INVALID_ARGUMENT"},
		{"a prefix that is not UTF-8", agent, "GET", "/v1/secrets?prefix=%ff", "", 400, "INVALID_ARGUMENT"},
		{"a node that is not UTF-8", operator, "DELETE", "/v1/cluster/members/%ff", "", 400, "INVALID_ARGUMENT"},
		{"a block that is not UTF-8", operator, "DELETE", "/v1/cluster/blocks?subject=%ff", "", 400, "INVALID_ARGUMENT"},
		{"status", agent, "GET", "/v1/cluster/status", "", 200, `"role":"leader"`},
		{"members", operator, "GET", "/v1/cluster/members", "", 200, `"n1"`},
		{"members for agents", agent, "GET", "/v1/cluster/members", "", 403, "WRONG_CLASS"},
		{"token", operator, "POST", "/v1/cluster/tokens", `{"node_id":"n2","ttl":"30m"}`, 200, "hexr-join-"},
		{"token for too long", operator, "POST", "/v1/cluster/tokens", `{"node_id":"n2","ttl":"48h"}`, 400, "INVALID_ARGUMENT"},
		{"tokens", operator, "GET", "/v1/cluster/tokens", "", 200, `"n2"`},
		{"settings", operator, "GET", "/v1/cluster/settings", "", 200, `"versions_kept":"10"`},
		{"set", operator, "PUT", "/v1/cluster/settings/versions_kept", `{"value":"3"}`, 200, `"versions_kept":"3"`},
		{"set what is unknown", operator, "PUT", "/v1/cluster/settings/colour", `{"value":"3"}`, 400, "INVALID_ARGUMENT"},
		{"checkpoint", auditor, "GET", "/v1/audit/checkpoint", "", 200, `"signers":["n1"]`},
		{"checkpoint for agents", agent, "GET", "/v1/audit/checkpoint", "", 403, "WRONG_CLASS"},
		{"keys", operator, "GET", "/v1/cluster/keys", "", 200, `"state":"active"`},
		{"keys for auditors", auditor, "GET", "/v1/cluster/keys", "", 403, "WRONG_CLASS"},
		{"rotate", operator, "POST", "/v1/cluster/keys", `{"kind":"both"}`, 200, `"state":"pending"`},
		{"rotate nothing", operator, "POST", "/v1/cluster/keys", "", 400, "INVALID_ARGUMENT"},
		{"rotate what does not rotate", operator, "POST", "/v1/cluster/keys", `{"kind":"opaque"}`, 400, "INVALID_ARGUMENT"},
		{"rotate with a field of nobody", operator, "POST", "/v1/cluster/keys", `{"kind":"value","id":"00000001"}`, 400, "INVALID_ARGUMENT"},
		{"block", operator, "POST", "/v1/cluster/blocks", `{"subject":"agent/evil"}`, 200, ""},
		{"blocked", stranger, "GET", "/v1/secrets/raw", "", 0, ""},
		{"unblock", operator, "DELETE", "/v1/cluster/blocks?subject=agent/evil", "", 200, ""},
		{"remove the last member", operator, "DELETE", "/v1/cluster/members/n1", "", 412, "VERSION_CONFLICT"},
		{"metrics", auditor, "GET", "/metrics", "", 200, "hexrd_raft_leader 1"},
		{"metrics for agents", agent, "GET", "/metrics", "", 403, "WRONG_CLASS"},
		{"description", agent, "GET", "/v1/openapi.yaml", "", 200, "openapi: 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, "https://"+w.server.Addr()+c.path, body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.who.Do(req)
			if c.status == 0 { // the connection of a blocked caller may be closed at once, or answer 403
				if err == nil && resp.StatusCode != http.StatusForbidden {
					t.Fatalf("status %d", resp.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(answer), c.reason) {
				t.Fatalf("status %d, want %d with %q: %s %v", resp.StatusCode, c.status, c.reason, answer, err)
			}
			if c.status >= 400 {
				checkError(t, answer)
			}
			described(t, doc, req, resp, answer)
		})
	}
}

func checkError(t *testing.T, answer []byte) {
	t.Helper()
	var e struct {
		Error struct{ Code, Reason, Message string } `json:"error"`
	}
	if err := json.Unmarshal(answer, &e); err != nil || e.Error.Code == "" || e.Error.Reason == "" || e.Error.Message == "" {
		t.Fatalf("not an error as documented: %s", answer)
	}
	for _, secret := range []string{"sk-1", "api-keys", "spiffe://hexr.cloud/agent"} {
		if strings.Contains(e.Error.Message, secret) {
			t.Errorf("the error tells %q", secret)
		}
	}
}

// described holds an answer against the description of its route.
func described(t *testing.T, doc *openapi3.T, req *http.Request, resp *http.Response, answer []byte) {
	t.Helper()
	template := templateOf(req.URL.EscapedPath())
	item := doc.Paths.Value(template)
	if item == nil {
		if resp.StatusCode < 400 {
			t.Fatalf("%s answers and is not described", template)
		}
		return
	}
	op := item.GetOperation(req.Method)
	if op == nil {
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Fatalf("%s %s answers %d and is not described", req.Method, template, resp.StatusCode)
		}
		return
	}
	if op.Responses.Status(resp.StatusCode) == nil && op.Responses.Default() == nil {
		return
	}
	err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: req, Route: &routers.Route{Spec: doc, Path: template, PathItem: item, Method: req.Method, Operation: op},
		},
		Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(answer)),
	})
	if err != nil && !strings.Contains(resp.Header.Get("Content-Type"), "text/plain") && !strings.Contains(resp.Header.Get("Content-Type"), "yaml") {
		t.Errorf("%s %s: the answer is not as described: %v", req.Method, template, err)
	}
}

func templateOf(path string) string {
	if rest, ok := strings.CutPrefix(path, "/v1/secrets/"); ok {
		verb := ""
		if i := strings.LastIndexByte(rest, ':'); i >= 0 {
			verb = rest[i:]
		}
		return "/v1/secrets/{path}" + verb
	}
	for prefix, v := range map[string]string{
		"/v1/cluster/members/": "{node_id}", "/v1/cluster/tokens/": "{id}", "/v1/cluster/settings/": "{name}",
	} {
		if strings.HasPrefix(path, prefix) {
			return prefix + v
		}
	}
	return path
}

// TestHTTPStreams reads the streams of the HTTP side, a JSON object a line.
func TestHTTPStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	auditor := w.web(w.mint("/hexr/auditor/ben"))
	lines := func(path string, n int) []map[string]any {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+w.server.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := auditor.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		var out []map[string]any
		dec := json.NewDecoder(resp.Body)
		for range n {
			var line map[string]any
			if err := dec.Decode(&line); err != nil {
				t.Fatal(err)
			}
			out = append(out, line)
		}
		return out
	}
	rows := lines("/v1/audit/tail?from=0", 2)
	if rows[0]["operation"] != "cluster.bootstrap" || rows[1]["operation"] != "audit.tail" {
		t.Errorf("tail: %v", rows)
	}
	parts := lines("/v1/audit/verify", 2)
	if parts[0]["header"] == nil || parts[1]["rows"] == nil {
		t.Errorf("verify: %v", parts)
	}
}
