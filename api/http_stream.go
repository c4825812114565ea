package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// serveStream serves a method that answers for as long as it goes on: a JSON
// object a line, or server-sent events.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request, peer Peer, rt *route, md metadata, req proto.Message) {
	// A stream may be silent for as long as nothing happens; what its caller has
	// not read when its identity ends is not sent any more.
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(noDeadline), control.SetWriteDeadline(peer.NotAfter)); err != nil {
		s.writeFailure(w, err, nil)
		return
	}
	defer func() { _ = control.SetWriteDeadline(noDeadline) }()
	events := &sse{w: w, control: control, until: peer.NotAfter}
	err := s.openStream(r.Context(), peer, true, rt.method, md, func(ctx context.Context) error {
		if err := s.validate(req); err != nil {
			return err
		}
		if rt.events != nil {
			return rt.events(s, ctx, req, events)
		}
		return rt.stream(s, ctx, req, &ndjson{w: w})
	})
	switch {
	case err == nil:
	case events.begun:
		events.until = time.Now().Add(takeWithin) // why it ends may be said after the end
		_ = events.write("", "error", map[string]any{"error": hexrv1.ToJSON(failureOf(err).data(""))})
	default:
		s.writeFailure(w, err, nil) // after the first line it only ends the stream
	}
}

// ndjson writes one JSON object a line, and flushes each.
type ndjson struct{ w http.ResponseWriter }

func (n *ndjson) write(v any) error {
	n.w.Header().Set("Content-Type", "application/x-ndjson")
	if err := json.NewEncoder(n.w).Encode(v); err != nil {
		return err
	}
	return http.NewResponseController(n.w).Flush()
}

// sse writes server-sent events, and flushes each. What nobody takes in time
// fails.
type sse struct {
	w       http.ResponseWriter
	control *http.ResponseController
	until   time.Time // nothing is sent after it
	begun   bool
}

// write sends an event; its data is one line. id may be empty.
func (e *sse) write(id, event string, data any) error {
	if !e.begun {
		e.begun = true
		e.w.Header().Set("Content-Type", "text/event-stream")
	}
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(takeWithin)
	if e.until.Before(deadline) {
		deadline = e.until
	}
	if err := e.control.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	_, err = fmt.Fprintf(e.w, "%sevent: %s\ndata: %s\n\n", id, event, text)
	if err == nil {
		err = e.control.Flush()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && deadline.Equal(e.until):
		return errExpired
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	default: // the connection is gone
		return context.Canceled
	}
}
