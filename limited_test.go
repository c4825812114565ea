package hexrd_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

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

func ofSize(n int) object { return object{"value": strings.Repeat("v", n)} }

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
