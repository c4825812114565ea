package hexrd_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

var identityAttacks = []row{
	{"identity-headers", "`X-Forwarded-*`, `X-Hexr-*`, `X-SPIFFE-ID`, `X-Real-IP`, `Forwarded`, `X-Forwarded-Client-Cert`, `Proxy-Authorization` that name the victim, with another's certificate and with none",
		"the answer to the connection's own identity, and its own address in the audit; 401", (*attack).identityHeaders},
	{"identity-metadata", "the same in gRPC metadata", "the answer to the connection's own identity", (*attack).identityMetadata},
	{"identity-trailers", "the same, and `Authorization`, in trailers of a chunked body", "the answer to the connection's own identity", (*attack).identityTrailers},
	{"informational", "`Expect: 100-continue` and a large body without an identity", "401 at once, no 100", (*attack).informational},
}

var httpAttacks = []row{
	{"method-override", "`X-HTTP-Method-Override: DELETE` and its like on a GET; `_method` in the query", "a GET; 400", (*attack).methodOverride},
	{"host", "an absolute URI of another host, another `Host`, two, none; CONNECT; `OPTIONS *`", "the same answer as ever; 400; 404, 405", (*attack).host},
	{"request-smuggling", "`Transfer-Encoding` beside `Content-Length`, two lengths, a signed one, other codings, obsolete folding, blanks before a colon, controls and bare carriage returns, a bad chunk",
		"400 or 501; beside a length the chunks alone count, and the connection closes or stays in step", (*attack).smuggling},
	{"http-1.0", "HTTP/1.0 and 0.9, without `Host`, without a certificate", "the same rules: 401 without an identity, 400, and the end of the connection", (*attack).http10},
	{"oversized-header", "40 KiB of headers, a URI of 40 KiB", "431", (*attack).oversizedHeader},
	{"oversized-json", "a body of 3 MiB, announced, chunked, and in one string", "413", (*attack).oversizedJSON},
	{"json-structure", "100,000 levels, duplicate keys, also in `metadata`, other case, two documents, a byte order mark, bad UTF-8, NaN, 1e999, null, an array, an unknown field",
		"400", (*attack).jsonStructure},
	{"compression", "`Content-Encoding: gzip`; gRPC's gzip", "400; Unimplemented: nothing is ever decompressed", (*attack).compression},
}

// claims are headers by which other systems believe who calls.
func claims() []string {
	id := "spiffe://hexr.cloud" + victim
	return []string{
		"X-Forwarded-For: 10.9.9.9", "X-Real-IP: 10.9.9.9", "Forwarded: for=10.9.9.9;by=" + id, "X-Forwarded-User: " + id,
		"X-Forwarded-Client-Cert: URI=" + id, "X-SPIFFE-ID: " + id, "X-Hexr-Agent: acme/bot", "X-Hexr-Tenant: acme", "X-Hexr-Spiffe-Id: " + id,
		"X-Hexr-Caller: " + id, "X-Client-Cert: " + id, "X-Remote-User: " + id, "Remote-User: " + id, "From: " + id, "Proxy-Authorization: Bearer " + id,
		"Cookie: session=" + id, "X-Amzn-Oidc-Identity: " + id, "Ssl-Client-S-Dn: CN=" + id,
	}
}

func (a *attack) identityHeaders() {
	a.want("the thief", a.ask(thief, "GET", "/v1/secrets/"+canaryPath, "", claims()...), 404, "NOT_FOUND")
	a.want("the thief's name", a.ask(thief, "GET", "/v1/whoami", "", claims()...), 200, "acme-corp/bot/main")
	a.want("nobody", a.ask("", "GET", "/v1/secrets/"+canaryPath, "", claims()...), 401, "NO_IDENTITY")
	a.want("nobody's name", a.ask("", "GET", "/v1/whoami", "", claims()...), 401, "NO_IDENTITY")
	rows := a.ask(thief, "GET", "/v1/audit", "")
	if n := strings.Count(rows.body, `"peer":"`); n == 0 || strings.Count(rows.body, `"peer":"127.`) != n || strings.Contains(rows.body, "10.9.9.9") {
		a.t.Errorf("the audit holds another address: %s", rows)
	}
}

func (a *attack) identityMetadata() {
	ctx := a.t.Context()
	for _, c := range claims() {
		name, value, _ := strings.Cut(c, ": ")
		ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), value)
	}
	vault := hexrv1.NewVaultClient(a.grpc(a.as(thief)))
	me, err := vault.WhoAmI(ctx, &hexrv1.WhoAmIRequest{})
	if err != nil || !strings.HasSuffix(me.GetSpiffeId(), thief) {
		a.t.Errorf("it is %s, %v", me.GetSpiffeId(), err)
	}
	if _, err := vault.Get(ctx, &hexrv1.GetRequest{Path: canaryPath}); err == nil {
		a.t.Error("the thief has it")
	}
}

func (a *attack) identityTrailers() {
	for _, as := range []string{thief, ""} {
		got := a.send(a.as(as), "POST /v1/secrets:batchGet HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTrailer: X-Spiffe-Id, Authorization\r\n"+
			"Transfer-Encoding: chunked\r\n\r\n1e\r\n{\"paths\":[\"canary-path/openai\"\r\n2\r\n]}\r\n0\r\n"+strings.Join(claims(), "\r\n")+"\r\nAuthorization: Bearer x\r\n\r\n")
		if strings.Contains(got.body, canaryValue) || got.status != 200 && got.status != 401 && got.status != 400 {
			a.t.Errorf("as %q: %s", as, got)
		}
	}
}

func (a *attack) informational() {
	conn, err := a.dial(a.config(nil))
	if err != nil {
		a.t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "PUT /v1/secrets/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1900000\r\n\r\n")
	a.want("nobody", a.next(bufio.NewReader(conn)), 401, "NO_IDENTITY")
}

func (a *attack) methodOverride() {
	a.want("headers", a.ask(victim, "GET", "/v1/secrets/"+canaryPath, "",
		"X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"), 200, canaryValue)
	a.want("the query", a.ask(victim, "GET", "/v1/secrets/"+canaryPath+"?_method=DELETE", ""), 400, "INVALID_ARGUMENT")
	a.want("a made-up method", a.ask(victim, "PURGE", "/v1/secrets/"+canaryPath, ""), 405, "METHOD_NOT_ALLOWED")
	a.want("TRACE", a.ask(victim, "TRACE", "/v1/secrets/"+canaryPath, ""), 405, "METHOD_NOT_ALLOWED")
	a.want("lower case", a.ask(victim, "delete", "/v1/secrets/"+canaryPath, ""), 405, "METHOD_NOT_ALLOWED")
}

func (a *attack) host() {
	get := func(target, headers string) reply {
		return a.send(a.as(thief), "GET "+target+" HTTP/1.1\r\n"+headers+"Connection: close\r\n\r\n")
	}
	const path = "/v1/secrets/" + canaryPath
	a.want("absolute", get("https://evil.com"+path, "Host: hexrd\r\n"), 404, "NOT_FOUND")
	a.want("absolute with the victim as user", get("https://acme@hexrd"+path, "Host: hexrd\r\n"), 404, "NOT_FOUND")
	a.want("another host", get(path, "Host: evil.com\r\n"), 404, "NOT_FOUND")
	a.want("two hosts", get(path, "Host: hexrd\r\nHost: evil.com\r\n"), 400, "")
	a.want("no host", get(path, ""), 400, "")
	a.want("two slashes", get("//evil.com"+path, "Host: hexrd\r\n"), 404, "UNKNOWN_METHOD")
	a.want("CONNECT", a.send(a.as(thief), "CONNECT hexrd:443 HTTP/1.1\r\nHost: hexrd\r\nConnection: close\r\n\r\n"), 404, "UNKNOWN_METHOD")
	if got := a.ask(thief, "OPTIONS", "*", ""); got.status == 200 && got.body != "" || got.status >= 500 {
		a.t.Errorf("OPTIONS *: %s", got)
	}
}

func (a *attack) smuggling() {
	const inner = "GET /v1/secrets/" + canaryPath + " HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, head := range map[string]string{
		"two lengths":        "Content-Length: 4\r\nContent-Length: 5\r\n",
		"a list of lengths":  "Content-Length: 4, 5\r\n",
		"a signed length":    "Content-Length: +4\r\n",
		"a negative length":  "Content-Length: -4\r\n",
		"a hex length":       "Content-Length: 0x4\r\n",
		"a huge length":      "Content-Length: 99999999999999999999\r\n",
		"another coding":     "Transfer-Encoding: xchunked\r\n",
		"identity":           "Transfer-Encoding: identity\r\n",
		"two codings":        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"chunked twice":      "Transfer-Encoding: chunked, chunked\r\n",
		"a blank in a name":  "Transfer-Encoding : chunked\r\n",
		"a folded coding":    "Transfer-Encoding:\r\n chunked, identity\r\n",
		"a NUL in a value":   "Transfer-Encoding: chunked\x00\r\n",
		"a bare return":      "X-A: b\rTransfer-Encoding: chunked\r\n",
		"a control in front": "\x0bTransfer-Encoding: chunked\r\n",
		"a bad chunk":        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
	} {
		got := a.send(a.as(victim), "PUT /v1/secrets/smuggled HTTP/1.1\r\nHost: x\r\n"+head+"\r\n"+inner)
		if got.status != 400 && got.status != 501 && got.status != 413 {
			a.t.Errorf("%s: %s", name, got)
		}
	}
	// Beside a length the chunks count: what follows them is the next request, if the
	// connection goes on at all; it is never a part of this one.
	conn, err := a.dial(a.config(a.as(thief)))
	if err != nil {
		a.t.Fatal(err)
	}
	body := "0\r\n\r\n" + inner
	_, _ = fmt.Fprintf(conn, "PUT /v1/secrets/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s", len(body), body)
	r := bufio.NewReader(conn)
	a.want("chunks beside a length", a.next(r), 400, "")
	if got := a.next(r); got.status != 0 && got.status != http.StatusNotFound {
		a.t.Errorf("what follows: %s", got)
	}
}

func (a *attack) http10() {
	a.want("without an identity", a.send(nil, "GET /v1/whoami HTTP/1.0\r\n\r\n"), 401, "NO_IDENTITY")
	a.want("with one", a.send(a.as(thief), "GET /v1/secrets/"+canaryPath+" HTTP/1.0\r\n\r\n"), 404, "NOT_FOUND")
	for _, text := range []string{"GET /v1/whoami\r\n\r\n", "GET /v1/whoami HTTP/9.9\r\nHost: x\r\n\r\n"} {
		if got := a.send(a.as(thief), text); got.status != 0 && got.status != 400 && got.status != 505 {
			a.t.Errorf("%q: %s", text, got)
		}
	}
}

func (a *attack) oversizedHeader() {
	long := strings.Repeat("a", 40<<10)
	a.want("a header", a.ask(victim, "GET", "/v1/whoami", "", "X-Long: "+long), 431, "")
	a.want("many headers", a.ask(victim, "GET", "/v1/whoami", "", strings.TrimSuffix(strings.Repeat("X-A: aaaaaaaaaaaaaaaa\r\n", 2000), "\r\n")), 431, "")
	a.want("a URI", a.ask(victim, "GET", "/v1/secrets/"+long, ""), 431, "")
}

func (a *attack) oversizedJSON() {
	big := `{"value":"` + strings.Repeat("a", 3<<20) + `"}`
	a.want("announced", a.ask(victim, "PUT", "/v1/secrets/big", big), 413, "BODY_TOO_LARGE")
	chunked := fmt.Sprintf("PUT /v1/secrets/big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(big), big)
	a.want("chunked", a.send(a.as(victim), chunked), 413, "BODY_TOO_LARGE")
	a.want("a value above the limit", a.ask(victim, "PUT", "/v1/secrets/big", `{"value":"`+strings.Repeat("a", 70_000)+`"}`), 413, "VALUE_TOO_LARGE")
}

func (a *attack) jsonStructure() {
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for name, body := range map[string]string{
		"deep": deep, "deep within": `{"value":` + deep + `}`, "deep objects": strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"duplicate": `{"value":"a","value":"b"}`, "duplicate, escaped": `{"value":"a","\u0076alue":"b"}`,
		"duplicate label": `{"value":"a","metadata":{"k":"1","k":"2"}}`, "duplicate scope": `{"value":"a","scope":"x","scope":"y"}`,
		"case": `{"VALUE":"a"}`, "a mark": "\ufeff" + `{"value":"a"}`, "bad UTF-8": "{\"value\":\"\xff\xfe\"}", "two": `{"value":"a"}{"value":"b"}`,
		"NaN": `{"value":"a","expected_version":NaN}`, "1e999": `{"value":"a","expected_version":1e999}`, "negative": `{"value":"a","expected_version":-1}`,
		"a fraction": `{"value":"a","expected_version":1.5}`, "null": `null`, "null value": `{"value":null}`, "array": `["value"]`, "text": `"value"`,
		"unknown": `{"value":"a","owner":"acme"}`, "prototype": `{"value":"a","__proto__":{}}`, "cut off": `{"value":"a"`, "comment": `{"value":"a"/**/}`,
		"single quotes": `{'value':'a'}`, "a NUL behind": "{\"value\":\"a\"}\x00", "labels nested": `{"value":"a","metadata":{"k":{"x":"y"}}}`,
	} {
		a.want(name, a.ask(victim, "PUT", "/v1/secrets/json", body), 400, "INVALID_ARGUMENT")
	}
	a.want("nothing of it is stored", a.ask(victim, "GET", "/v1/secrets/json", ""), 404, "NOT_FOUND")
}

func (a *attack) compression() {
	bomb := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + strings.Repeat("\x00", 1000)
	a.want("HTTP", a.ask(victim, "PUT", "/v1/secrets/zip", bomb, "Content-Encoding: gzip"), 400, "INVALID_ARGUMENT")
	p := a.h2(victim)
	p.headers(1, "/hexr.v1.Vault/Get", false, "grpc-encoding", "gzip")
	p.data(1, append([]byte{1, 0, 0, 3, 242}, bomb...), true)
	if code := p.status(1); code != "12" {
		a.t.Errorf("gRPC's gzip: status %q", code)
	}
}
