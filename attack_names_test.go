package hexrd_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"
)

var nameAttacks = []row{
	{"path-normalisation", "`..`, `.`, `//`, a slash at the end, `%2e%2e`, `%2F`, double encoding, overlong UTF-8, NUL, line breaks, backslashes, `;`, `?` and `#` escaped, other Unicode, in each place of the URL",
		"400, 404 or 405, never another path and no redirect; `%2F` is a slash and nothing else is decoded twice", (*attack).paths},
	{"globs", "`*`, `.*`, `[a-z]+`, `%`, `_`, `${}`, `{{}}`, quotes in path, scope, prefix, block, audit filter", "400, or taken as it stands: nothing matches", (*attack).globs},
	{"letter-case", "names in other case: path, scope, tenant, route, verb", "other names: not found, 400, 404", (*attack).letterCase},
	{"classes", "IDs that are nearly of a class: a segment more or less, other case, a class of another's place", "401", (*attack).classes},
	{"query", "parameters twice, escaped names, `;` between, a body with a GET, 2^64, negative and fractional numbers, times without a zone", "400", (*attack).query},
}

var tenantAttacks = []row{
	{"tenant-prefix", "a tenant and an agent whose names begin with another's (`acme`, `acme-corp`)", "not found; a block of one leaves the other", (*attack).tenantPrefix},
	{"scope-of-others", "every operation with the scope of another agent, of its process, of its tenant, in full and nearly so", "403 or 400, existing or not", (*attack).scopes},
	{"not-found-or-denied", "status, headers, body and time of what exists at another tenant, and of what does not", "the same byte for byte; times that can't be told apart", (*attack).sameAnswer},
	{"sub-operations", "`:describe`, `:versions`, `:undelete`, `:batchGet`, destroy, of another tenant and by classes that never read", "404, 403, never a value or metadata", (*attack).subOperations},
	{"stream-events", "tails and queries of another's rows, and of all, by an agent", "403, or its own rows alone", (*attack).streamEvents},
	{"page-tokens", "another caller's page token and cursor, one of another query, one that was altered", "400", (*attack).pageTokens},
}

func (a *attack) paths() {
	const p = "/v1/secrets/"
	for _, path := range []string{
		p + "canary-path/../canary-path/openai", p + "./canary-path/openai", p + "canary-path//openai", "/v1//secrets/canary-path/openai", p + "canary-path/openai/",
		p + "/canary-path/openai", p + "%2e%2e/canary-path/openai", p + "canary-path/%2e/openai", p + "canary-path%2F%2Fopenai", p + "canary-path%252Fopenai",
		p + "canary-path%2Fopenai%00", p + "canary-path/openai%0a", p + "canary-path/openai%0d%0aX:y", p + "canary-path%5Copenai", p + "canary-path\\openai",
		p + "canary-path/openai;a=b", p + "canary-path/openai%3Fversion=1", p + "canary-path/openai%23", p + "canary-path/%C0%AEopenai", p + "canary-path%E2%88%95openai",
		p + "canary%E2%80%90path/openai", p + "canary-path/%EF%BD%8Fpenai", p + "canary-path/openai%20", p + "%20canary-path/openai", p + "canary-path/openai%3Adescribe",
		p + "canary-path/openai:describe:describe", p + "canary-path/openai::versions", p + "%zz", p + "canary-path/openai%", p, p + "%2F", "/v1/secrets%2Fcanary-path%2Fopenai",
		"/v1/%73ecrets/canary-path/openai", "/v1/whoami/../secrets/canary-path/openai", "/v1/secrets/../whoami", "/v1/openapi.yaml/", "/v1/whoami%2F", "/v1/cluster/members/../tokens",
		"/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/secrets/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/health/../v1/whoami", "/%68ealth",
		"/v1/secrets/" + strings.Repeat("a/", 300) + "a",
	} {
		got := a.ask(victim, "GET", path, "")
		if got.status != 400 && got.status != 404 && got.status != 405 || strings.Contains(got.body, canaryValue) || got.header.Get("Location") != "" {
			a.t.Errorf("%s: %s", path, got)
		}
		if nobody := a.ask("", "GET", path, ""); nobody.status != 401 && nobody.status != 400 {
			a.t.Errorf("%s, by nobody: %s", path, nobody)
		}
	}
	a.want("an escaped slash", a.ask(victim, "GET", p+"canary-path%2fopenai", ""), 200, canaryValue)
	a.want("an escaped letter", a.ask(victim, "GET", p+"%63anary-path/openai", ""), 200, canaryValue)
}

func (a *attack) globs() {
	for _, g := range []string{"*", ".*", "[a-z]+", "canary%", "canary?path", "${jndi:ldap://x}", "{{7*7}}", "' OR 1=1 --", "\"; x", "(?i)canary", "canary-path/*", "^canary", "\u202ecanary"} {
		e := url.PathEscape(g)
		for what, got := range map[string]reply{
			"path":    a.ask(victim, "GET", "/v1/secrets/"+e, ""),
			"scope":   a.ask(victim, "GET", "/v1/secrets/"+canaryPath+"?scope="+url.QueryEscape(g), ""),
			"tenant":  a.ask(victim, "GET", "/v1/secrets/"+canaryPath+"?scope="+url.QueryEscape("spiffe://hexr.cloud/agent/"+g+"/*"), ""),
			"agent":   a.ask(victim, "GET", "/v1/secrets/"+canaryPath+"?scope="+url.QueryEscape("spiffe://hexr.cloud/agent/acme/"+g+"/main"), ""),
			"prefix":  a.ask(victim, "GET", "/v1/secrets?prefix="+url.QueryEscape(g), ""),
			"block":   a.ask("/hexr/operator/ann", "POST", "/v1/cluster/blocks", fmt.Sprintf(`{"subject":%q}`, "agent/"+g)),
			"setting": a.ask("/hexr/operator/ann", "PUT", "/v1/cluster/settings/"+e, `{"value":"1"}`),
			"member":  a.ask("/hexr/operator/ann", "DELETE", "/v1/cluster/members/"+e, ""),
		} {
			if got.status != 400 && got.status != 404 {
				a.t.Errorf("%q as %s: %s", g, what, got)
			}
		}
		for _, filter := range []string{"caller", "path"} {
			got := a.ask("/hexr/auditor/ben", "GET", "/v1/audit?"+filter+"="+url.QueryEscape(g), "")
			if got.status != 400 && (got.status != 200 || strings.Contains(got.body, "canary-path")) {
				a.t.Errorf("%q as filter of %s: %s", g, filter, got)
			}
		}
	}
}

func (a *attack) letterCase() {
	a.want("path", a.ask(victim, "GET", "/v1/secrets/Canary-path/openai", ""), 404, "NOT_FOUND")
	a.want("route", a.ask(victim, "GET", "/V1/secrets/"+canaryPath, ""), 404, "UNKNOWN_METHOD")
	a.want("verb", a.ask(victim, "GET", "/v1/secrets/"+canaryPath+":Describe", ""), 400, "INVALID_ARGUMENT")
	a.want("tenant", a.ask("/agent/ACME/bot/main", "GET", "/v1/secrets/"+canaryPath, ""), 404, "NOT_FOUND")
	a.want("agent", a.ask("/agent/acme/Bot/main", "GET", "/v1/secrets/"+canaryPath, ""), 404, "NOT_FOUND")
	a.want("scope", a.ask(victim, "GET", "/v1/secrets/"+canaryPath+"?scope="+url.QueryEscape("spiffe://hexr.cloud/agent/ACME/bot/*"), ""), 403, "DENIED")
	a.want("domain of a scope", a.ask(victim, "GET", "/v1/secrets/"+canaryPath+"?scope="+url.QueryEscape("spiffe://HEXR.cloud/agent/acme/bot/*"), ""), 400, "INVALID_ARGUMENT")
}

func (a *attack) classes() {
	for _, id := range []string{
		"/agent/acme/bot", "/agent/acme/bot/main/x", "/Agent/acme/bot/main", "/agents/acme/bot/main", "/hexr/agent/acme/bot/main", "/hexr/operator", "/hexr/operator/ann/x",
		"/hexr/Operator/ann", "/hexr/operators/ann", "/operator/ann", "/hexr/provisioner/acme", "/hexr/auditor", "/hexr/node", "/hexr/node/N1", "/hexr/node/-n1", "/hexr/node/n_1",
		"/hexr/admin/root", "/hexr", "/" + strings.Repeat("a", 64) + "/x", "/agent/" + strings.Repeat("a", 64) + "/bot/main",
	} {
		a.want(id, a.ask(id, "GET", "/v1/whoami", ""), 401, "NO_IDENTITY")
		a.want(id, a.ask(id, "GET", "/v1/openapi.yaml", ""), 401, "NO_IDENTITY")
	}
}

func (a *attack) query() {
	const p = "/v1/secrets/" + canaryPath
	for _, q := range []string{
		p + "?version=1&version=2", p + "?scope=a&%73cope=b", p + "?version=1;scope=x", p + "?version=18446744073709551616", p + "?version=-1", p + "?version=1.0", p + "?version=0x1",
		p + "?version=%zz", p + "?Version=1", p + "?destroy", "/v1/audit?since=yesterday", "/v1/audit?since=2026-01-02T15:04:05", "/v1/secrets?page_size=-1", "/v1/secrets?page_size=1e3",
		"/v1/audit/tail?from=-1", "/v1/secrets?include_deleted=perhaps", "/v1/whoami?debug=1",
	} {
		a.want(q, a.ask(victim, "GET", q, ""), 400, "INVALID_ARGUMENT")
	}
	a.want("a body", a.ask(victim, "GET", p, `{"path":"x"}`), 400, "INVALID_ARGUMENT")
	a.want("destroy=false", a.ask(victim, "DELETE", p+"?destroy=false", ""), 400, "INVALID_ARGUMENT")
	a.want("both", a.ask(victim, "DELETE", p+"?destroy=false&destroy=true", ""), 400, "INVALID_ARGUMENT")
}

func (a *attack) tenantPrefix() {
	for _, as := range []string{thief, "/agent/acm/bot/main", "/agent/acme.corp/bot/main", "/agent/acme/bot2/main", "/agent/acme/bo/main", "/agent/acme/b.t/main"} {
		a.want(as, a.ask(as, "GET", "/v1/secrets/"+canaryPath, ""), 404, "NOT_FOUND")
		a.want(as, a.ask(as, "GET", "/v1/secrets", ""), 200, `"paths":[]`)
	}
	operator := a.client("/hexr/operator/ann")
	for _, subject := range []string{"agent/acme-corp", "agent/acme/bo", "agent/acm", "spiffe://hexr.cloud/agent/acme/bot/mai"} {
		if err := operator.Block(a.t.Context(), subject); err != nil {
			a.t.Fatal(err)
		}
		a.unharmed()
		if err := operator.Unblock(a.t.Context(), subject); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *attack) scopes() {
	const prefix = "spiffe://hexr.cloud/agent/"
	for _, scope := range []string{prefix + "acme/bot/*", prefix + "acme/bot/main", prefix + "acme/*", prefix + "acme/nobody/*", prefix + "nobody/*"} {
		for what, got := range a.everything(thief, scope) {
			a.want(what+" in "+scope, got, 403, "DENIED")
		}
	}
	for _, scope := range []string{
		"spiffe://evil.cloud/agent/acme/bot/*", prefix + "*", prefix + "*/*", prefix + "acme/bot", prefix + "acme/bot/main/*", prefix + "acme/bot/*/", prefix + "acme//*",
		prefix + "acme/../acme-corp/*", prefix + "acme/bot/**", prefix, "/agent/acme/bot/*", "acme/bot", "*", "spiffe://hexr.cloud/hexr/operator/ann", prefix + "acme/bot/main\x00",
	} {
		for what, got := range a.everything(thief, scope) {
			a.want(what+" in "+scope, got, 400, "INVALID_ARGUMENT")
		}
	}
}

// everything tries each operation on the victim's path in a scope.
func (a *attack) everything(as, scope string) map[string]reply {
	const p = "/v1/secrets/" + canaryPath
	q := "?scope=" + url.QueryEscape(scope)
	encoded := strings.ReplaceAll(scope, "\x00", `\u0000`)
	batch := a.ask(as, "POST", "/v1/secrets:batchGet", `{"paths":["`+canaryPath+`"],"scope":"`+encoded+`"}`)
	if batch.status == 200 { // each path has its own answer
		if strings.Contains(batch.body, canaryValue) {
			a.t.Errorf("a batch in %q: %s", scope, batch)
		}
		batch.status = map[bool]int{true: 403, false: 400}[strings.Contains(batch.body, `"DENIED"`)]
	}
	return map[string]reply{
		"get": a.ask(as, "GET", p+q, ""), "put": a.ask(as, "PUT", p, `{"value":"x","scope":"`+encoded+`"}`), "delete": a.ask(as, "DELETE", p+q, ""),
		"destroy": a.ask(as, "DELETE", p+q+"&destroy=true", ""), "undelete": a.ask(as, "POST", p+":undelete"+q, ""), "describe": a.ask(as, "GET", p+":describe"+q, ""),
		"versions": a.ask(as, "GET", p+":versions"+q, ""), "list": a.ask(as, "GET", "/v1/secrets"+q, ""), "batch": batch,
	}
}

// sameAnswer compares what a stranger is told of a path that another tenant has,
// and of one that nobody has.
func (a *attack) sameAnswer() {
	const rounds = 300
	const id = "Idempotency-Key: 00112233445566778899aabbccddeeff"
	there, nowhere := "/v1/secrets/"+canaryPath, "/v1/secrets/nobody-path/openai"
	for _, q := range []string{"", ":describe", ":versions", "?version=1", "?scope=main", "?scope=" + url.QueryEscape("spiffe://hexr.cloud/agent/acme/bot/*")} {
		one, two := a.ask(thief, "GET", there+q, "", id), a.ask(thief, "GET", nowhere+q, "", id)
		one.header.Del("Date")
		two.header.Del("Date")
		if fmt.Sprint(one.status, one.header, one.body) != fmt.Sprint(two.status, two.header, two.body) || one.status < 400 {
			a.t.Errorf("%s: told apart: %s, %s", q, one, two)
		}
	}
	web := a.web(a.mint(thief))
	web.Transport.(*http.Transport).DisableKeepAlives = false // handshakes would be most of what is measured
	defer web.CloseIdleConnections()
	took := map[string][]time.Duration{}
	for i := range 2 * rounds {
		path := []string{there, nowhere}[i%2]
		begin := time.Now()
		resp, err := web.Get("https://" + a.server.Addr() + path)
		if err != nil {
			a.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		took[path] = append(took[path], time.Since(begin))
	}
	median := func(d []time.Duration) time.Duration {
		sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
		return d[len(d)/2]
	}
	one, two := median(took[there]), median(took[nowhere])
	a.t.Logf("medians of %d: %s where it exists, %s where it does not", rounds, one, two)
	if diff := (one - two).Abs(); diff > max(one, two)/4+time.Millisecond {
		a.t.Errorf("the times tell: %s and %s", one, two)
	}
}

func (a *attack) subOperations() {
	const p = "/v1/secrets/" + canaryPath
	for what, got := range map[string]reply{
		"describe": a.ask(thief, "GET", p+":describe", ""), "versions": a.ask(thief, "GET", p+":versions", ""), "undelete": a.ask(thief, "POST", p+":undelete", ""),
		"delete": a.ask(thief, "DELETE", p, ""), "destroy": a.ask(thief, "DELETE", p+"?destroy=true", ""), "a version": a.ask(thief, "GET", p+"?version=1", ""),
	} {
		a.want(what, got, 404, "NOT_FOUND")
	}
	if got := a.ask(thief, "POST", "/v1/secrets:batchGet", `{"paths":["`+canaryPath+`","`+canaryPath+`"]}`); strings.Contains(got.body, canaryValue) || !strings.Contains(got.body, "NOT_FOUND") {
		a.t.Errorf("a batch: %s", got)
	}
	q := "?scope=" + url.QueryEscape("spiffe://hexr.cloud/agent/acme/bot/*")
	for _, as := range []string{"/hexr/provisioner/acme/ci", "/hexr/operator/ann", "/hexr/auditor/ben", "/hexr/node/n1", "/hexr/node/n9"} {
		a.want(as, a.ask(as, "GET", p+q, ""), 403, "WRONG_CLASS")
		a.want(as, a.ask(as, "POST", "/v1/secrets:batchGet", `{"paths":["`+canaryPath+`"],"scope":"x"}`), 403, "WRONG_CLASS")
	}
	for _, as := range []string{"/hexr/provisioner/acme/ci", "/hexr/operator/ann"} {
		if got := a.ask(as, "GET", p+":describe"+q, ""); got.status != 200 || strings.Contains(got.body, canaryValue) {
			a.t.Errorf("%s: %s", as, got)
		}
	}
	a.want("a provisioner of another tenant", a.ask("/hexr/provisioner/acme-corp/ci", "GET", p+":describe"+q, ""), 403, "DENIED")
	a.want("an operator never writes", a.ask("/hexr/operator/ann", "PUT", p, `{"value":"x"}`), 403, "WRONG_CLASS")
	a.want("a node never writes", a.ask("/hexr/node/n1", "DELETE", p+q, ""), 403, "WRONG_CLASS")
}
