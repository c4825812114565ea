package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	watchPage = 256
	// takeWithin is how long a client may leave an event lying.
	takeWithin = 10 * time.Second
	// aloneFor is after how many looks, recheckEvery apart, a node without a leader
	// ends its watches: what it shows may be old, another node's is not.
	aloneFor = 2
)

// watch is decided once; then changes are shown as this node applies them, as
// long as the caller is who it was. Nothing is buffered: the changes lie in the
// store, and who falls behind what is kept there is told so.
func (s *Server) watch(ctx context.Context, req *hexrv1.WatchRequest, send func(*hexrv1.WatchEvent) error) error {
	w := &watch{s: s, c: callOf(ctx), req: req, send: send}
	if err := w.begin(ctx); err != nil {
		return err
	}
	store := s.backend.Store()
	woken := store.Watch(w.scopes)
	defer woken.Close()
	end, again := time.NewTimer(time.Until(w.c.peer.NotAfter)), time.NewTicker(recheckEvery)
	defer end.Stop()
	defer again.Stop()
	mark := false
	for alone := 0; ; {
		changed := store.Changed()
		more, err := w.show(ctx)
		if err == nil && mark && !more {
			err, mark = w.tell(hexrv1.WatchEvent_BOOKMARK), false
		}
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-woken.C:
		case <-changed:
		case <-again.C:
			if ok, _ := s.backend.Healthy(); ok {
				alone = 0
			} else if alone++; alone >= aloneFor {
				return ErrNoLeader
			}
			mark = true
		case <-end.C:
			return errExpired
		case <-s.ending:
			return ErrStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch is one that is open.
type watch struct {
	s      *Server
	c      *call
	req    *hexrv1.WatchRequest
	send   func(*hexrv1.WatchEvent) error
	scopes []string
	at     fsm.Place // all before it is sent
	told   bool      // where it begins
}

// begin puts the access through the log, and finds the place to begin at: the
// one asked for, or the access's own.
func (w *watch) begin(ctx context.Context) error {
	op, err := w.access()
	if err != nil {
		return err
	}
	var after fsm.Place
	if w.req.GetAfter() != "" {
		if after, err = fsm.ParsePlace(w.req.GetAfter()); err != nil {
			return invalid("after: " + err.Error())
		}
	}
	r, index, err := w.s.decide(ctx, w.s.access(w.c, &fsmpb.Access{Op: &fsmpb.Access_Watch{Watch: op}}))
	if err != nil {
		return err
	}
	if err := w.s.backend.Store().WaitApplied(ctx, index); err != nil {
		return err
	}
	w.scopes, w.at = r.GetWatchGrant().GetScopes(), fsm.PlaceAfter(index)
	switch {
	case w.req.GetAfter() == "":
	case w.at.Before(after): // of a cluster that was set back since
		return w.tell(hexrv1.WatchEvent_RESYNC)
	default:
		w.at = after
	}
	return nil
}

func (w *watch) access() (*fsmpb.Watch, error) {
	op := &fsmpb.Watch{Path: w.req.GetPath()}
	var err error
	if op.Prefix, err = fsm.ParsePrefix(w.req.GetPrefix()); err != nil {
		return nil, invalid("prefix: " + err.Error())
	}
	if op.Path != "" {
		if op.Prefix != "" {
			return nil, invalid("path: give a prefix or a path")
		}
		if _, err := parsePath(op.Path); err != nil {
			return nil, err
		}
	}
	op.Scope, err = pinnedScope(w.c, w.req.GetScope())
	return op, err
}

// show sends what changed since, up to a page.
func (w *watch) show(ctx context.Context) (more bool, err error) {
	store := w.s.backend.Store()
	page, err := store.Changes(ctx, fsm.ChangeQuery{Scopes: w.scopes, After: w.at, Upto: store.AppliedIndex(), Limit: watchPage})
	if err != nil {
		return false, err
	}
	if page.Gap {
		w.at = page.Next
		return true, w.tell(hexrv1.WatchEvent_RESYNC)
	}
	if !w.told {
		if err := w.tell(hexrv1.WatchEvent_BOOKMARK); err != nil {
			return false, err
		}
	}
	for _, c := range page.Changes {
		if !w.wants(c) {
			continue
		}
		if err := w.sendChange(c); err != nil {
			return false, err
		}
	}
	w.at = page.Next
	return page.More, nil
}

func (w *watch) wants(c *fsmpb.Change) bool {
	return (w.req.GetPath() == "" || c.GetPath() == w.req.GetPath()) && strings.HasPrefix(c.GetPath(), w.req.GetPrefix())
}

// sendChange checks again, for each event, what the log decided at the start. The
// change is one that this node's view of blocks already includes.
func (w *watch) sendChange(c *fsmpb.Change) error {
	scope, err := fsm.ParseScope(w.c.caller, c.GetScope())
	if err != nil || !fsm.MaySee(w.c.caller, scope) {
		return outcomeFailures[fsmpb.Outcome_OUTCOME_DENIED]
	}
	if err := w.s.stillAdmitted(w.c); err != nil {
		return err
	}
	at := fsm.Place{Index: c.GetPosition().GetIndex(), Number: c.GetPosition().GetNumber()}
	return w.send(&hexrv1.WatchEvent{
		Type: eventTypes[c.GetKind()], Cursor: at.String(), Index: at.Index, Time: stamp(c.GetTime()),
		Path: c.GetPath(), Scope: c.GetScope(), Version: c.GetVersion(),
	})
}

// tell says where the watch stands.
func (w *watch) tell(t hexrv1.WatchEvent_Type) error {
	if err := w.s.stillAdmitted(w.c); err != nil {
		return err
	}
	w.told = true
	return w.send(&hexrv1.WatchEvent{Type: t, Cursor: w.at.String(), Index: w.at.Index, Time: stamp(w.s.backend.Store().Time())})
}

var eventTypes = map[fsmpb.Change_Kind]hexrv1.WatchEvent_Type{
	fsmpb.Change_KIND_PUT: hexrv1.WatchEvent_PUT, fsmpb.Change_KIND_DELETE: hexrv1.WatchEvent_DELETE,
	fsmpb.Change_KIND_UNDELETE: hexrv1.WatchEvent_UNDELETE, fsmpb.Change_KIND_DESTROY: hexrv1.WatchEvent_DESTROY,
	fsmpb.Change_KIND_ROTATE: hexrv1.WatchEvent_ROTATE, fsmpb.Change_KIND_OVERDUE: hexrv1.WatchEvent_OVERDUE,
}

// within bounds how long a message may wait for its taker; after that the stream
// is to end, which ends the wait of the message too.
func within[M any](send func(M) error) func(M) error {
	sent := make(chan error, 1)
	return func(m M) error {
		go func() { sent <- send(m) }()
		late := time.NewTimer(takeWithin)
		defer late.Stop()
		select {
		case err := <-sent:
			if err != nil { // the stream is over
				return context.Canceled
			}
			return nil
		case <-late.C:
			return errSlow
		}
	}
}

func decodeWatch(_ string, r *http.Request, _ []byte) (proto.Message, error) {
	q := query(r)
	req := &hexrv1.WatchRequest{Prefix: q.text("prefix"), Path: q.text("path"), Scope: q.text("scope"), After: q.text("after")}
	if req.After == "" {
		req.After = r.Header.Get("Last-Event-ID")
	}
	return req, q.end()
}

func streamWatch(s *Server, ctx context.Context, req proto.Message, out *sse) error {
	return s.watch(ctx, req.(*hexrv1.WatchRequest), func(e *hexrv1.WatchEvent) error {
		data := hexrv1.ToJSON(e).(map[string]any)
		if e.GetPath() == "" {
			for _, of := range []string{"path", "scope", "version"} {
				delete(data, of)
			}
		}
		return out.write(e.GetCursor(), data["type"].(string), data)
	})
}
