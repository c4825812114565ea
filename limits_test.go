package hexrd_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

// limited is a node whose limits are tried, with an operator who sets them.
type limited struct {
	*world
	operator *client.Client
	agents   map[string]*http.Client
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	w := newWorld(t).start()
	return &limited{world: w, operator: w.client("/hexr/operator/ann"), agents: map[string]*http.Client{}}
}

func (l *limited) set(pairs ...string) {
	l.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if _, err := l.operator.SetSetting(l.t.Context(), pairs[i], pairs[i+1]); err != nil {
			l.t.Fatal(err)
		}
	}
}

// web is an agent's HTTP client, the same for the same agent.
func (l *limited) agent(path string) *http.Client {
	if l.agents[path] == nil {
		l.agents[path] = l.web(l.mint(path))
		l.agents[path].Transport.(*http.Transport).DisableKeepAlives = false
		l.t.Cleanup(l.agents[path].CloseIdleConnections)
	}
	return l.agents[path]
}

// try makes a call as an agent; it returns the status and what it answers.
func (l *limited) try(agent, method, path string, body any) (int, limitedReply) {
	l.t.Helper()
	status, raw := l.raw(agent, method, path, body)
	var a limitedReply
	if err := json.Unmarshal(raw, &a); err != nil {
		l.t.Fatalf("%s %s: %d %s", method, path, status, raw)
	}
	return status, a
}

func (l *limited) raw(agent, method, path string, body any) (int, []byte) {
	l.t.Helper()
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			l.t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(l.t.Context(), method, "https://"+l.server.Addr()+path, in)
	if err != nil {
		l.t.Fatal(err)
	}
	resp, err := l.agent(agent).Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, raw
}

// limitedReply is what the tests look at of any answer.
type limitedReply struct {
	Error struct{ Code, Reason, Message string }
	Paths []string
	Rows  []struct{ Operation string }

	Cursor    string `json:"next_cursor"`
	PageToken string `json:"next_page_token"`
	Version   uint64
	Results   []struct {
		Path   string
		Secret struct{ Value string }
		Error  struct{ Reason string }
	}
}

func (l *limited) pass(agent, method, path string, body any) limitedReply {
	l.t.Helper()
	status, a := l.try(agent, method, path, body)
	if status != http.StatusOK {
		l.t.Fatalf("%s %s within the limit: %d %+v", method, path, status, a.Error)
	}
	return a
}

// refuse wants the documented answer, with a message that says what to do.
func (l *limited) refuse(status int, reason, say, agent, method, path string, body any) {
	l.t.Helper()
	got, a := l.try(agent, method, path, body)
	if got != status || a.Error.Reason != reason || !strings.Contains(a.Error.Message, say) {
		l.t.Fatalf("%s %s beyond the limit: %d %+v; want %d %s with %q", method, path, got, a.Error, status, reason, say)
	}
}

type object = map[string]any

const bot, other = "/agent/acme/bot/main", "/agent/acme/other/main"

func ofSize(n int) object { return object{"value": strings.Repeat("v", n)} }

// TestDefaultLimits: the settings of a new cluster are those of the docs.
func TestDefaultLimits(t *testing.T) {
	got, err := newLimited(t).operator.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"value_max_bytes": "65536", "labels_max": "16", "batch_max_paths": "100", "versions_kept": "10",
		"agent_secrets_max": "10000", "agent_bytes_max": "268435456",
		"tenant_secrets_max": "100000", "tenant_bytes_max": "2147483648",
		"rate_per_second": "1000", "rate_burst": "2000", "in_flight_max": "256", "streams_max": "16",
		"list_page_max": "1000", "audit_rows_max": "1000", "audit_scan_max": "100000",
		"undelete_window": "24h0m0s", "request_window": "10m0s", "jwt_svid": "false", "join_without_token": "false",
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
}

// TestLimits tries every limit of the docs at its edge, on a running node: what is
// exactly at it passes, one more is refused.
func TestLimits(t *testing.T) {
	for name, run := range map[string]func(*limited){
		"value": func(l *limited) {
			l.pass(bot, "PUT", "/v1/secrets/k", ofSize(64<<10))
			l.refuse(413, "VALUE_TOO_LARGE", "split it", bot, "PUT", "/v1/secrets/k", ofSize(64<<10+1))
			l.set("value_max_bytes", "1048576")
			for _, n := range []int{1 << 20, 1<<20 + 1} {
				body := object{"data": base64.StdEncoding.EncodeToString(make([]byte, n))}
				if n <= 1<<20 {
					l.pass(bot, "PUT", "/v1/secrets/k", body)
				} else {
					l.refuse(413, "VALUE_TOO_LARGE", "split it", bot, "PUT", "/v1/secrets/k", body)
				}
				_, err := l.client(bot).Put(l.t.Context(), "k", make([]byte, n), client.PutOptions{})
				l.grpc(err, n > 1<<20, codes.InvalidArgument, "VALUE_TOO_LARGE")
			}
			if _, err := l.operator.SetSetting(l.t.Context(), "value_max_bytes", "1048577"); !errors.Is(err, client.ErrInvalid) {
				l.t.Errorf("a limit beyond 1 MiB: %v", err)
			}
		},
		"labels": func(l *limited) {
			labels := func(n, key, text int) object {
				m := object{}
				for i := range n {
					m[fmt.Sprintf("%0*d", key, i)] = strings.Repeat("t", text)
				}
				return object{"value": "v", "metadata": m}
			}
			l.pass(bot, "PUT", "/v1/secrets/k", labels(16, 64, 256))
			l.refuse(400, "INVALID_ARGUMENT", "metadata", bot, "PUT", "/v1/secrets/k", labels(17, 8, 8))
			l.refuse(400, "INVALID_ARGUMENT", "metadata", bot, "PUT", "/v1/secrets/k", labels(1, 65, 8))
			l.refuse(400, "INVALID_ARGUMENT", "metadata", bot, "PUT", "/v1/secrets/k", labels(1, 8, 257))
			l.set("labels_max", "2")
			l.pass(bot, "PUT", "/v1/secrets/k", labels(2, 8, 8))
			l.refuse(400, "INVALID_ARGUMENT", "leave some out", bot, "PUT", "/v1/secrets/k", labels(3, 8, 8))
		},
		"batch": func(l *limited) {
			l.set("rate_per_second", "10000", "rate_burst", "10000") // it is not the rate that is tried
			paths := make([]string, 101)
			for i := range paths {
				if paths[i] = fmt.Sprintf("p%d", i); i < 65 {
					l.pass(bot, "PUT", "/v1/secrets/"+paths[i], ofSize(64<<10))
				}
			}
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[1:]})
			l.refuse(400, "INVALID_ARGUMENT", "100", bot, "POST", "/v1/secrets:batchGet", object{"paths": paths})
			for i, r := range l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[:65]}).Results {
				switch {
				case i < 64 && len(r.Secret.Value) != 64<<10:
					l.t.Fatalf("path %d of 4 MiB has no value: %s", i, r.Error.Reason)
				case i == 64 && r.Error.Reason != "BATCH_TOO_LARGE":
					l.t.Fatalf("the path beyond 4 MiB: %+v", r.Error)
				}
			}
			l.set("batch_max_paths", "2")
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[:2]})
			l.refuse(400, "INVALID_ARGUMENT", "several requests", bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[:3]})
		},
		"list page": func(l *limited) {
			l.set("list_page_max", "3")
			for i := range 4 {
				l.pass(bot, "PUT", fmt.Sprintf("/v1/secrets/p%d", i), ofSize(1))
			}
			a := l.pass(bot, "GET", "/v1/secrets?page_size=1000", nil)
			if len(a.Paths) != 3 || a.PageToken == "" {
				l.t.Fatalf("a page has %d paths", len(a.Paths))
			}
			a = l.pass(bot, "GET", "/v1/secrets?page_token="+url.QueryEscape(a.PageToken), nil)
			if len(a.Paths) != 1 || a.PageToken != "" {
				l.t.Fatalf("the last page has %d paths", len(a.Paths))
			}
		},
		"audit query": func(l *limited) {
			misses := make([]string, 100)
			for i := range misses {
				misses[i] = "m"
			}
			for range 10 {
				l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": misses})
			}
			l.set("audit_rows_max", "3", "audit_scan_max", "1000")
			a := l.pass(bot, "GET", "/v1/audit?page_size=1000", nil)
			if len(a.Rows) != 3 || a.Cursor == "" {
				l.t.Fatalf("a page has %d rows", len(a.Rows))
			}
			l.pass(bot, "PUT", "/v1/secrets/k", ofSize(1))
			a = l.pass(bot, "GET", "/v1/audit?operation=put", nil) // looks at 1000 misses and no more
			if len(a.Rows) != 0 || a.Cursor == "" {
				l.t.Fatalf("a page beyond what is scanned has %d rows, cursor %q", len(a.Rows), a.Cursor)
			}
			a = l.pass(bot, "GET", "/v1/audit?operation=put&cursor="+url.QueryEscape(a.Cursor), nil)
			if len(a.Rows) != 1 || a.Cursor != "" {
				l.t.Fatalf("the page at the cursor has %d rows", len(a.Rows))
			}
		},
		"versions kept": func(l *limited) {
			for i := range 11 {
				l.pass(bot, "PUT", "/v1/secrets/k", object{"value": fmt.Sprint(i + 1)})
			}
			if a := l.pass(bot, "GET", "/v1/secrets/k?version=2", nil); a.Version != 2 {
				l.t.Fatalf("version %d", a.Version)
			}
			l.refuse(404, "NOT_FOUND", "version", bot, "GET", "/v1/secrets/k?version=1", nil)
		},
		"secrets of an agent": func(l *limited) {
			l.set("agent_secrets_max", "2")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1))
			l.pass(bot, "PUT", "/v1/secrets/b", ofSize(1))
			l.pass(bot, "PUT", "/v1/secrets/b", ofSize(1)) // a version is no further secret
			l.refuse(429, "QUOTA", "destroy", bot, "PUT", "/v1/secrets/c", ofSize(1))
			l.pass(other, "PUT", "/v1/secrets/c", ofSize(1))
			l.pass(bot, "DELETE", "/v1/secrets/a?destroy=true", nil)
			l.pass(bot, "PUT", "/v1/secrets/c", ofSize(1))
		},
		"bytes of an agent": func(l *limited) {
			l.set("agent_bytes_max", "1024")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1000))
			l.refuse(429, "QUOTA", "destroy", bot, "PUT", "/v1/secrets/b", ofSize(25))
			l.pass(bot, "PUT", "/v1/secrets/b", ofSize(24))
			l.refuse(429, "QUOTA", "destroy", bot, "PUT", "/v1/secrets/a", ofSize(1)) // versions count
			l.pass(other, "PUT", "/v1/secrets/b", ofSize(25))
		},
		"secrets of a tenant": func(l *limited) {
			l.set("tenant_secrets_max", "2")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1))
			l.pass(other, "PUT", "/v1/secrets/a", ofSize(1))
			l.refuse(429, "QUOTA", "tenant", bot, "PUT", "/v1/secrets/b", ofSize(1))
			l.pass("/agent/evil/bot/main", "PUT", "/v1/secrets/b", ofSize(1))
		},
		"bytes of a tenant": func(l *limited) {
			l.set("tenant_bytes_max", "1024")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1000))
			l.pass(other, "PUT", "/v1/secrets/a", ofSize(24))
			l.refuse(429, "QUOTA", "tenant", other, "PUT", "/v1/secrets/b", ofSize(1))
		},
		"rate": func(l *limited) {
			l.set("rate_burst", "50", "rate_per_second", "1")
			begin := time.Now()
			n := 0
			for ; ; n++ {
				if status, _ := l.try(bot, "GET", "/v1/whoami", nil); status != http.StatusOK {
					break
				}
			}
			if most := 50 + int(time.Since(begin).Seconds()) + 1; n < 50 || n > most {
				l.t.Fatalf("%d calls passed, want 50 to %d", n, most)
			}
			l.refuse(429, "RATE_LIMITED", "wait", bot, "GET", "/v1/whoami", nil)
			l.refuse(429, "RATE_LIMITED", "wait", bot, "GET", "/v1/nothing", nil) // whatever is asked
			l.refuse(429, "RATE_LIMITED", "wait", bot, "GET", "/v1/cluster/members", nil)
			_, err := l.client(bot).WhoAmI(l.t.Context())
			l.grpc(err, true, codes.ResourceExhausted, "RATE_LIMITED")
			l.pass(other, "GET", "/v1/whoami", nil)
		},
		"rate of a batch": func(l *limited) {
			l.set("rate_burst", "50", "rate_per_second", "1")
			paths := strings.Split(strings.Repeat("p", 40), "")
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths})
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths}) // 10 were left: it has the rest in advance
			l.refuse(429, "RATE_LIMITED", "wait", bot, "POST", "/v1/secrets:batchGet", object{"paths": paths})
		},
		"rate of large values": func(l *limited) {
			l.set("rate_burst", "8", "rate_per_second", "1")
			l.pass(bot, "PUT", "/v1/secrets/k", ofSize(64<<10)) // counts for 17
			l.refuse(429, "RATE_LIMITED", "wait", bot, "PUT", "/v1/secrets/k", ofSize(64<<10))
			l.pass(other, "PUT", "/v1/secrets/k", ofSize(4000))
			l.pass(other, "PUT", "/v1/secrets/k", ofSize(4000))
		},
		"in flight": func(l *limited) {
			l.set("in_flight_max", "2")
			var finish []func() int
			for range 2 {
				finish = append(finish, l.slowPut(bot))
			}
			l.refuse(429, "TOO_MANY_IN_FLIGHT", "wait", bot, "GET", "/v1/whoami", nil)
			_, err := l.client(bot).WhoAmI(l.t.Context())
			l.grpc(err, true, codes.ResourceExhausted, "TOO_MANY_IN_FLIGHT")
			l.pass(other, "GET", "/v1/whoami", nil)
			for _, f := range finish {
				if status := f(); status != http.StatusOK {
					l.t.Errorf("the slow put: status %d", status)
				}
			}
			until(l.t, "room", func() bool {
				status, _ := l.try(bot, "GET", "/v1/whoami", nil)
				return status == http.StatusOK
			})
			two := object{"paths": []string{"a", "b"}}
			l.pass(bot, "POST", "/v1/secrets:batchGet", two)
			finish[0] = l.slowPut(bot)
			l.refuse(429, "TOO_MANY_IN_FLIGHT", "wait", bot, "POST", "/v1/secrets:batchGet", two)
			if status := finish[0](); status != http.StatusOK {
				l.t.Errorf("the slow put beside a batch: status %d", status)
			}
		},
		"streams": func(l *limited) {
			c := l.client(bot)
			var cancels []context.CancelFunc
			for range 16 {
				cancels = append(cancels, l.tail(c))
			}
			err := c.AuditTail(l.t.Context(), &hexrv1.TailRequest{}, func(*hexrv1.AuditRow) error { return nil })
			l.grpc(err, true, codes.ResourceExhausted, "TOO_MANY_STREAMS")
			l.refuse(429, "TOO_MANY_STREAMS", "close some", bot, "GET", "/v1/audit/tail", nil)
			l.tail(l.client(other))
			cancels[0]()
			until(l.t, "the stream to end", func() bool {
				ctx, cancel := context.WithCancel(l.t.Context())
				defer cancel()
				from := uint64(0)
				return c.AuditTail(ctx, &hexrv1.TailRequest{From: &from}, func(*hexrv1.AuditRow) error {
					cancel()
					return errors.New("seen")
				}).Error() == "seen"
			})
		},
	} {
		t.Run(name, func(t *testing.T) { run(newLimited(t)) })
	}
}

// grpc holds an error of the Go client against what is documented.
func (l *limited) grpc(err error, refused bool, code codes.Code, reason string) {
	l.t.Helper()
	var e *client.Error
	switch {
	case !refused && err != nil:
		l.t.Fatalf("gRPC, within the limit: %v", err)
	case refused && (!errors.As(err, &e) || e.Code != code || e.Reason != reason || e.Message == ""):
		l.t.Fatalf("gRPC, beyond the limit: %v; want %s %s", err, code, reason)
	}
}

// slowPut sends the header of a put, and returns once the node waits for its body,
// which comes when the function is called.
func (l *limited) slowPut(agent string) (finish func() int) {
	l.t.Helper()
	cfg := l.web(l.mint(agent)).Transport.(*http.Transport).TLSClientConfig
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(l.t.Context(), "tcp", l.server.Addr())
	if err != nil {
		l.t.Fatal(err)
	}
	const body = `{"value":"v"}`
	if _, err := fmt.Fprintf(conn, "PUT /v1/secrets/slow HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body)); err != nil {
		l.t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		l.t.Fatalf("a put in flight: %q %v", line, err)
	}
	if _, err := answer.ReadString('\n'); err != nil { // the empty line behind it
		l.t.Fatal(err)
	}
	return func() int {
		defer func() { _ = conn.Close() }()
		_, _ = conn.Write([]byte(body))
		resp, err := http.ReadResponse(answer, nil)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
}

// tail opens a stream, and returns once it is open.
func (l *limited) tail(c *client.Client) context.CancelFunc {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	l.t.Cleanup(cancel)
	open, from := make(chan error, 1), uint64(0)
	go func() {
		err := c.AuditTail(ctx, &hexrv1.TailRequest{From: &from}, func(*hexrv1.AuditRow) error {
			select {
			case open <- nil:
			default:
			}
			return nil
		})
		select {
		case open <- err:
		default:
		}
	}()
	if err := <-open; err != nil {
		l.t.Fatal(err)
	}
	return cancel
}

// until waits for a condition, for at most 30 seconds.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestRefusedCallsEndTheirConnection: gRPC keeps a timer for each refused call with
// a deadline until its connection ends. So it ends, of strangers, too.
func TestRefusedCallsEndTheirConnection(t *testing.T) {
	w := newWorld(t).start()
	cfg := &tls.Config{RootCAs: w.ca.Pool(), MinVersion: tls.VersionTLS13}
	conn, err := grpc.NewClient(w.server.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for n := range 3000 {
		_, err := hexrv1.NewVaultClient(conn).Get(ctx, &hexrv1.GetRequest{Path: "k"})
		switch status.Code(err) {
		case codes.Unauthenticated:
		case codes.Unavailable:
			t.Logf("the connection ended at call %d", n)
			return
		default:
			t.Fatalf("call %d: %v", n, err)
		}
		if n > 0 && conn.GetState() != connectivity.Ready {
			return
		}
	}
	t.Error("3,000 refused calls share one connection")
}
