package hexrd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// ownStreams are the streams of events that a caller may open: each gives the texts of
// its first events. A new stream is a line here.
var ownStreams = map[string]func(a *attack, as string, n int) []string{
	"HTTP tail": func(a *attack, as string, n int) (events []string) {
		conn, err := a.dial(a.config(a.as(as)))
		if err != nil {
			a.t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /v1/audit/tail?from=0 HTTP/1.0\r\n\r\n")
		for r := bufio.NewScanner(conn); len(events) < n && r.Scan(); {
			if strings.HasPrefix(r.Text(), "{") {
				events = append(events, r.Text())
			}
		}
		return events
	},
	"gRPC tail": func(a *attack, as string, n int) (events []string) {
		from := uint64(0)
		stream, err := hexrv1.NewAuditClient(a.grpc(a.as(as))).Tail(a.t.Context(), &hexrv1.TailRequest{From: &from})
		if err != nil {
			a.t.Fatal(err)
		}
		for len(events) < n {
			resp, err := stream.Recv()
			if err != nil {
				a.t.Fatal(err)
			}
			for _, r := range resp.GetRows() {
				events = append(events, fmt.Sprintf("%q %q", r.GetCaller(), r.GetPath()))
			}
		}
		return events
	},
}

func (a *attack) streamEvents() {
	for range 3 {
		a.unharmed() // rows of the victim
		a.ask(thief, "GET", "/v1/secrets/own", "")
	}
	for name, open := range ownStreams {
		events := open(a, thief, 3)
		if len(events) < 3 {
			a.t.Errorf("%s: %d events", name, len(events))
		}
		for _, e := range events {
			if !strings.Contains(e, thief) {
				a.t.Errorf("%s: an event of another: %s", name, e)
			}
		}
	}
	other := url.QueryEscape("spiffe://hexr.cloud" + victim)
	for _, path := range []string{"/v1/audit?caller=" + other, "/v1/audit/tail?caller=" + other, "/v1/audit/verify", "/v1/audit?caller=" + url.QueryEscape("spiffe://hexr.cloud/agent/acme-corp/bot/other")} {
		if got := a.ask(thief, "GET", path, ""); got.status != 403 {
			a.t.Errorf("%s: %s", path, got)
		}
	}
	for _, scope := range []string{"spiffe://hexr.cloud/agent/acme/bot/*", "spiffe://hexr.cloud" + victim, "spiffe://hexr.cloud/agent/acme/*"} {
		if got := a.ask(thief, "GET", "/v1/watch?scope="+url.QueryEscape(scope), ""); got.status != 403 {
			a.t.Errorf("a watch of %s: %s", scope, got)
		}
	}
	a.watchesItsOwn()
	if got := a.ask(thief, "GET", "/v1/audit?page_size=1000&path="+url.QueryEscape(canaryPath), ""); strings.Contains(got.body, `"caller":"spiffe://hexr.cloud/agent/acme/`) {
		a.t.Errorf("rows of the victim: %s", got)
	}
	for _, as := range []string{"/hexr/provisioner/acme/ci", "/hexr/node/n1"} {
		a.want(as, a.ask(as, "GET", "/v1/audit", ""), 403, "WRONG_CLASS")
	}
}

// watchesItsOwn: of changes of both, a watch shows those of its caller.
func (a *attack) watchesItsOwn() {
	stream, err := hexrv1.NewVaultClient(a.grpc(a.as(thief))).Watch(a.t.Context(), &hexrv1.WatchRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // it stands
		a.t.Fatal(err)
	}
	for range 3 {
		for _, as := range []string{victim, thief} {
			a.want("put", a.ask(as, "PUT", "/v1/secrets/watched", `{"value":"x"}`), 200, "")
		}
	}
	for seen := 0; seen < 3; {
		e, err := stream.Recv()
		if err != nil {
			a.t.Fatal(err)
		}
		if e.GetType() != hexrv1.WatchEvent_PUT {
			continue
		}
		if seen++; e.GetScope() != "spiffe://hexr.cloud/agent/acme-corp/bot/*" {
			a.t.Errorf("an event of another: %s", e.GetScope())
		}
	}
}

func (a *attack) pageTokens() {
	for i := range 3 {
		for _, as := range []string{victim, thief} {
			a.want("put", a.ask(as, "PUT", fmt.Sprintf("/v1/secrets/page/%d", i), `{"value":"x"}`), 200, "")
		}
	}
	token := func(as, path string) string {
		var page struct {
			NextPageToken string `json:"next_page_token"`
			NextCursor    string `json:"next_cursor"`
		}
		got := a.ask(as, "GET", path, "")
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || page.NextPageToken+page.NextCursor == "" {
			a.t.Fatalf("%s has no next page: %s", path, got)
		}
		return page.NextPageToken + page.NextCursor
	}
	list, rows := token(victim, "/v1/secrets?prefix=page&page_size=1"), token(victim, "/v1/audit?page_size=1")
	altered := []byte(list)
	altered[len(altered)/2] ^= 1
	for what, path := range map[string]string{
		"another's":        "/v1/secrets?prefix=page&page_token=" + list,
		"of another query": "/v1/secrets?prefix=pag&page_token=" + token(thief, "/v1/secrets?prefix=page&page_size=1"),
		"altered":          "/v1/secrets?prefix=page&page_token=" + url.QueryEscape(string(altered)),
		"a path":           "/v1/secrets?prefix=page&page_token=" + url.QueryEscape("page/1"),
		"of rows":          "/v1/secrets?page_token=" + rows,
		"another's rows":   "/v1/audit?cursor=" + rows,
		"of a list":        "/v1/audit?cursor=" + list,
		"a number":         "/v1/audit?cursor=1",
	} {
		a.want(what, a.ask(thief, "GET", path, ""), 400, "INVALID_ARGUMENT")
	}
	a.want("its own", a.ask(victim, "GET", "/v1/secrets?prefix=page&page_token="+list, ""), 200, "page/1")
}
