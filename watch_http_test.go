package hexrd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd/client"
)

// sse reads server-sent events.
type sse struct {
	resp *http.Response
	r    *bufio.Reader
}

type sseEvent struct {
	id, name string
	data     map[string]any
}

func (w *world) sse(c *http.Client, path string, header ...string) *sse {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+w.server.Addr()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c.Timeout = 0
	resp, err := c.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return &sse{resp, bufio.NewReader(resp.Body)}
}

func (s *sse) next() (e sseEvent, err error) {
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return e, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "":
			return e, nil
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				return e, err
			}
		}
	}
}

// change is the next event that is no bookmark.
func (s *sse) change() (e sseEvent, err error) {
	for e.name == "" || e.name == "bookmark" {
		if e, err = s.next(); err != nil {
			return e, err
		}
	}
	return e, nil
}

// TestWatchOverHTTP: the form of events, and going on behind one, in the query or
// as browsers do.
func TestWatchOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	bot, web := w.client("/agent/acme/bot/main"), w.web(w.mint("/agent/acme/bot/researcher"))
	s := w.sse(web, "/v1/watch")
	first, err := s.next()
	if err != nil || first.name != "bookmark" || first.id == "" || first.data["cursor"] != first.id || first.data["type"] != "bookmark" || first.data["path"] != nil {
		t.Fatalf("%v, %v", first, err)
	}
	w.put(bot, "a", "")
	w.put(bot, "b", "")
	e, err := s.change()
	if err != nil || e.name != "put" || e.data["path"] != "a" || e.data["version"] != 1.0 || e.data["scope"] != "spiffe://hexr.cloud/agent/acme/bot/*" ||
		e.data["cursor"] != e.id || e.data["index"] == nil || e.data["time"] == nil || len(e.data) != 7 {
		t.Fatalf("%v, %v", e, err)
	}
	for _, again := range []*sse{w.sse(web, "/v1/watch?after="+e.id), w.sse(web, "/v1/watch", "Last-Event-ID", e.id)} {
		if e, err := again.change(); err != nil || e.data["path"] != "b" {
			t.Errorf("behind the first event comes %v, %v", e, err)
		}
	}
	if e, err := w.sse(web, "/v1/watch?after=999999999").next(); err != nil || e.name != "resync" {
		t.Errorf("a cursor of the future: %v, %v", e, err)
	}
	if err := w.server.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	for {
		e, err := s.change()
		if err != nil {
			t.Fatalf("the node stopped, and the stream ended with %v", err)
		}
		if e.name == "error" {
			if reason := e.data["error"].(map[string]any)["reason"]; reason != "STOPPING" {
				t.Errorf("it ends with %v", reason)
			}
			return
		}
	}
}

// TestWatchEndsWithTheSVID: the stream of an identity ends when its SVID does,
// and shows nothing later.
func TestWatchEndsWithTheSVID(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	svid, err := w.ca.Mint(spiffeid.RequireFromPath(domain, "/agent/acme/bot/main"), 4*time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	s := w.sse(w.web(svid), "/v1/watch")
	bot := w.client("/agent/acme/bot/main")
	w.put(bot, "k", "")
	if e, err := s.change(); err != nil || e.data["path"] != "k" {
		t.Fatal(e, err)
	}
	puts, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for puts.Err() == nil {
			_, _ = bot.Put(puts, "k", []byte("v"), client.PutOptions{})
		}
	}()
	end := svid.Certificates[0].NotAfter
	for {
		e, err := s.next()
		switch {
		case err != nil:
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && time.Now().Before(end) {
				t.Errorf("it ended with %v", err)
			}
			return
		case e.name == "error":
			if reason := e.data["error"].(map[string]any)["reason"]; reason != "SVID_EXPIRED" {
				t.Errorf("it ended with %v", reason)
			}
			return
		case e.data["time"].(string) > end.Add(time.Second).UTC().Format(time.RFC3339Nano):
			t.Fatalf("%v is shown, and the SVID ended at %v", e, end)
		}
	}
}
