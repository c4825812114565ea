package hexrd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

const patience = 60 * time.Second

// follow runs a watch, and waits for its first bookmark.
func (w *world) follow(c *client.Client, o client.WatchOptions) (events chan *hexrv1.WatchEvent, ended chan error) {
	w.t.Helper()
	events, ended = make(chan *hexrv1.WatchEvent, 4096), make(chan error, 1)
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*patience)
	w.t.Cleanup(cancel)
	go func() {
		ended <- c.Watch(ctx, o, func(e *hexrv1.WatchEvent) error {
			events <- e
			return nil
		})
	}()
	first := w.event(events, ended)
	if t := first.GetType(); t != hexrv1.WatchEvent_BOOKMARK && t != hexrv1.WatchEvent_RESYNC {
		w.t.Fatalf("the first event is %v", first)
	}
	if first.GetType() == hexrv1.WatchEvent_RESYNC {
		events <- first
	}
	return events, ended
}

func (w *world) event(events chan *hexrv1.WatchEvent, ended chan error) *hexrv1.WatchEvent {
	w.t.Helper()
	select {
	case e := <-events:
		return e
	case err := <-ended:
		w.t.Fatalf("the watch ended: %v", err)
	case <-time.After(patience):
		w.t.Fatal("no event came")
	}
	return nil
}

// next is the next event that is no bookmark.
func (w *world) next(events chan *hexrv1.WatchEvent, ended chan error) string {
	w.t.Helper()
	for {
		if e := w.event(events, ended); e.GetType() != hexrv1.WatchEvent_BOOKMARK {
			return fmt.Sprintf("%s %s %d", strings.ToLower(e.GetType().String()), e.GetPath(), e.GetVersion())
		}
	}
}

func (w *world) put(c *client.Client, path, scope string) {
	w.t.Helper()
	if _, err := c.Put(w.t.Context(), path, []byte("a value"), client.PutOptions{Scope: scope}); err != nil {
		w.t.Fatal(err)
	}
}

// TestWatchShowsWhatTheCallerMayRead: its own process's, its agent's and its
// tenant's, and nothing else, whoever changes it; by path or prefix.
func TestWatchShowsWhatTheCallerMayRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	mainBot, researcher, writer := w.client("/agent/acme/bot/main"), w.client("/agent/acme/bot/researcher"), w.client("/agent/acme/bot/writer")
	other, provisioner := w.client("/agent/acme/other/main"), w.client("/hexr/provisioner/acme/ci")
	all, allEnded := w.follow(researcher, client.WatchOptions{})
	prefixed, prefixedEnded := w.follow(writer, client.WatchOptions{Prefix: "db/"})
	exact, exactEnded := w.follow(mainBot, client.WatchOptions{Path: "last"})
	shared, sharedEnded := w.follow(provisioner, client.WatchOptions{Scope: "spiffe://hexr.cloud/agent/acme/*"})

	w.put(other, "theirs", "")
	w.put(writer, "w", "writer")
	w.put(researcher, "db/r", "researcher")
	w.put(mainBot, "db/a", "")
	w.put(provisioner, "db/t", "spiffe://hexr.cloud/agent/acme/*")
	if _, err := writer.Delete(t.Context(), "db/a", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Undelete(t.Context(), "db/a", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := mainBot.Destroy(t.Context(), "db/a", "", 0); err != nil {
		t.Fatal(err)
	}
	w.put(mainBot, "last", "")
	for _, want := range []struct {
		events chan *hexrv1.WatchEvent
		ended  chan error
		list   []string
	}{
		{all, allEnded, []string{"put db/r 1", "put db/a 1", "put db/t 1", "delete db/a 1", "undelete db/a 1", "destroy db/a 0", "put last 1"}},
		{prefixed, prefixedEnded, []string{"put db/a 1", "put db/t 1", "delete db/a 1", "undelete db/a 1", "destroy db/a 0"}},
		{exact, exactEnded, []string{"put last 1"}},
		{shared, sharedEnded, []string{"put db/t 1"}},
	} {
		for _, e := range want.list {
			if got := w.next(want.events, want.ended); got != e {
				t.Fatalf("event %q, want %q", got, e)
			}
		}
	}
	rows := 0
	for r, err := range w.client("/hexr/auditor/ben").AuditQuery(t.Context(), &hexrv1.QueryRequest{Operation: "watch"}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.GetOutcome() == "granted" {
			rows++
		}
	}
	if rows != 4 {
		t.Errorf("4 watches have %d rows", rows)
	}
}

// TestWatchEndsWithABlock: while others put all the time, no change is shown that
// stands behind the block in the log, though the stream is open.
func TestWatchEndsWithABlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	operator, auditor := w.client("/hexr/operator/ann"), w.client("/hexr/auditor/ben")
	events, ended := w.follow(w.client("/agent/acme/bot/main"), client.WatchOptions{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for i := range 4 {
		provisioner := w.client("/hexr/provisioner/acme/ci")
		writers.Go(func() {
			for ctx.Err() == nil {
				_, err := provisioner.Put(ctx, fmt.Sprint("k", i), []byte("v"), client.PutOptions{Scope: "spiffe://hexr.cloud/agent/acme/bot/*"})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 100 {
		w.next(events, ended)
	}
	if err := operator.Block(t.Context(), "agent/acme/bot"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, client.ErrDenied) && !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("the watch of a blocked caller: %v", err)
		}
	case <-time.After(patience):
		t.Error("the watch of a blocked caller goes on")
	}
	stop()
	writers.Wait()
	after := map[string]bool{} // what was put behind the block
	blocked := false
	for r, err := range auditor.AuditQuery(t.Context(), &hexrv1.QueryRequest{PageSize: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		blocked = blocked || r.GetOperation() == "block"
		if blocked && r.GetOperation() == "put" {
			after[fmt.Sprint("put ", r.GetPath(), " ", r.GetVersion())] = true
		}
	}
	shown := 0
	for len(events) > 0 {
		shown++
		if e := w.next(events, ended); after[e] {
			t.Fatalf("%q is shown, and stands behind the block", e)
		}
	}
	t.Logf("%d changes were shown late, %d stand behind the block", shown, len(after))
}

// TestWatchGoesOnWithARenewedSVID: the client's stream ends with each SVID, and
// its caller sees neither a gap nor an event twice.
func TestWatchGoesOnWithARenewedSVID(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	c, err := client.Dial(t.Context(), client.Config{
		Addrs: []string{w.server.Addr()}, Socket: w.socket("/agent/acme/bot/main", 5*time.Second, false), Retries: 50,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	events, ended := w.follow(c, client.WatchOptions{})
	bot := w.client("/agent/acme/bot/main")
	version := 0
	auditor := w.client("/hexr/auditor/ben")
	for w.countRows(auditor, "watch") < 4 {
		version++
		w.put(bot, "k", "")
		if got := w.next(events, ended); got != fmt.Sprintf("put k %d", version) {
			t.Fatalf("after version %d comes %q", version-1, got)
		}
	}
	t.Logf("%d versions over 4 streams", version)
}

func (w *world) countRows(auditor *client.Client, operation string) int {
	w.t.Helper()
	n := 0
	for _, err := range auditor.AuditQuery(w.t.Context(), &hexrv1.QueryRequest{Operation: operation}) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// TestWatchResync: who asks for more than is kept is told so, and then shown what
// comes.
func TestWatchResync(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	bot := w.client("/agent/acme/bot/main")
	if _, err := w.client("/hexr/operator/ann").SetSetting(t.Context(), "changes_kept", "16"); err != nil {
		t.Fatal(err)
	}
	s := w.sse(w.web(w.mint("/agent/acme/bot/main")), "/v1/watch")
	start, err := s.next()
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		w.put(bot, "k", "")
	}
	events, ended := w.follow(bot, client.WatchOptions{After: start.id})
	if got := w.next(events, ended); got != "resync  0" {
		t.Fatalf("first comes %q", got)
	}
	w.put(bot, "k", "")
	if got := w.next(events, ended); got != "put k 31" {
		t.Errorf("then comes %q", got)
	}
}

// TestSlowWatchIsEnded: a client that takes no events costs the node nothing for
// longer than a while; when it takes them again, it misses none.
func TestSlowWatchIsEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	bot, slow := w.client("/agent/acme/bot/main"), w.client("/agent/acme/bot/researcher")
	release, got, ended := make(chan struct{}), make(chan uint64, 4096), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := make(chan struct{}, 1)
	go func() {
		ended <- slow.Watch(ctx, client.WatchOptions{}, func(e *hexrv1.WatchEvent) error {
			if e.GetType() == hexrv1.WatchEvent_BOOKMARK {
				select {
				case begun <- struct{}{}:
				default:
				}
				return nil
			}
			<-release
			got <- e.GetVersion()
			return nil
		})
	}()
	<-begun
	const puts = 400 // each event is more than 600 bytes, and a stream's window 64 KiB
	path := strings.Repeat("x", 500)
	for range puts {
		w.put(bot, path, "")
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if strings.Contains(w.metrics(), `answer="SLOW_CONSUMER"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slow watch is not ended")
		}
	}
	close(release)
	for want := uint64(1); want <= puts; want++ {
		select {
		case v := <-got:
			if v != want {
				t.Fatalf("version %d comes, want %d", v, want)
			}
		case err := <-ended:
			t.Fatalf("the watch ended: %v", err)
		case <-time.After(patience):
			t.Fatalf("version %d does not come", want)
		}
	}
}

func (w *world) metrics() string {
	w.t.Helper()
	resp, err := w.web(w.mint("/hexr/operator/ann")).Get("https://" + w.server.Addr() + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// metric is the value of one without labels.
func (w *world) metric(name string) string {
	w.t.Helper()
	for line := range strings.Lines(w.metrics()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
