package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	// maxBody bounds a request's body: the largest value as base64, and its labels.
	maxBody = 2 << 20
	// escaped is what JSON makes of the worst byte: \u0000.
	escaped = 6
	// besideValue is room for labels, scope and paths.
	besideValue = 64 << 10
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI is the description of the HTTP side.
func OpenAPI() []byte { return bytes.Clone(openAPI) }

// HTTPHandler serves HTTP/JSON: the same methods through the same invoke.
func (s *Server) HTTPHandler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil { // net/http would log the value
			s.panicked("http", v)
			s.writeFailure(w, errPanic, nil)
		}
	}()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.EscapedPath() == "/health" {
		s.serveHealth(w, r)
		return
	}
	peer, err := s.authenticate(r)
	if err != nil {
		s.metrics.answered("http", err, 0)
		if errors.Is(err, errRate) { // who guesses tokens
			wait(r.Context(), guessPause)
		}
		s.writeFailure(w, err, nil)
		return
	}
	p, pause, err := s.limited(peer)
	if err != nil {
		s.metrics.answered("http", err, 0)
		if pause > 0 {
			wait(r.Context(), pause)
		}
		s.writeFailure(w, err, nil)
		return
	}
	defer p.release()
	route, err := match(r)
	if err != nil {
		s.writeFailure(w, err, nil)
		return
	}
	if route.raw != nil {
		s.serveRaw(w, r, peer, route)
		return
	}
	s.serveMethod(w, r, peer, p, route)
}

func (s *Server) serveMethod(w http.ResponseWriter, r *http.Request, peer Peer, p *pass, rt *route) {
	id, err := idempotencyKey(r.Header.Get("Idempotency-Key"))
	if err != nil {
		s.writeFailure(w, err, nil)
		return
	}
	md := metadata{requestID: id, traceParent: r.Header.Get("Traceparent"), pass: p}
	body, err := readBody(w, r, bodyLimit(s.backend.Store().Settings()))
	if err != nil {
		s.writeFailure(w, err, nil)
		return
	}
	req, err := rt.decode(rt.vars, r, body)
	if err != nil {
		s.writeFailure(w, err, nil)
		return
	}
	if rt.stream != nil || rt.events != nil {
		s.serveStream(w, r, peer, rt, md, req)
		return
	}
	resp, c, err := s.invokeMethod(r.Context(), peer, s.methods[rt.method], md, req)
	if err != nil {
		s.writeFailure(w, err, c)
		return
	}
	writeJSON(w, http.StatusOK, toHTTP(resp))
}

// bodyLimit is what a put of the largest value may need.
func bodyLimit(settings *fsmpb.Settings) int64 {
	return int64(min(escaped*settings.GetValueMaxBytes()+besideValue, maxBody))
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		if r.ContentLength > 0 {
			return nil, invalid("a " + r.Method + " request has no body")
		}
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &failure{
			code: codes.InvalidArgument, reason: "BODY_TOO_LARGE", status: http.StatusRequestEntityTooLarge,
			message: "the request's body is larger than a value of this cluster needs: send less, or a large value as base64 in \"data\"",
		}
	}
	if err != nil {
		return nil, invalid("the request's body ended early")
	}
	return body, nil
}

func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.writeFailure(w, methodNotAllowed(http.MethodGet), nil)
		return
	}
	ok, why := s.backend.Healthy()
	if !ok {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"status": "unavailable", "reason": why})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
}

// serveRaw serves what is no method and has no row: to callers of the classes of
// its route who are still who they were.
func (s *Server) serveRaw(w http.ResponseWriter, r *http.Request, peer Peer, rt *route) {
	caller, err := fsm.ParseCaller(peer.ID, s.cfg.TrustDomain)
	switch {
	case err != nil:
		err = errUnauthenticated
	case !slices.Contains(rt.classes, caller.Class):
		err = errClass
	default:
		err = s.stillAdmitted(&call{peer: peer, caller: caller})
	}
	if err != nil {
		s.writeFailure(w, err, nil)
		return
	}
	rt.raw(s, w, r)
}

func serveMetrics(s *Server, w http.ResponseWriter, r *http.Request) {
	gatherer := prometheus.Gatherer(s.cfg.Registry)
	promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

func serveOpenAPI(_ *Server, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI)
}

func (s *Server) writeFailure(w http.ResponseWriter, err error, c *call) {
	f := failureOf(err)
	if allow := f.allow(); allow != "" {
		w.Header().Set("Allow", allow)
	}
	if f.code == codes.ResourceExhausted || f.code == codes.Unavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, f.httpStatus(), map[string]any{"error": hexrv1.ToJSON(f.data(requestIDText(c)))})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

const allowPrefix = "allowed: "

func methodNotAllowed(allow string) *failure {
	return &failure{
		code: codes.InvalidArgument, reason: "METHOD_NOT_ALLOWED", status: http.StatusMethodNotAllowed,
		message: allowPrefix + allow,
	}
}

// allow is the Allow header of a 405.
func (f *failure) allow() string {
	if f.status != http.StatusMethodNotAllowed {
		return ""
	}
	return f.message[len(allowPrefix):]
}
