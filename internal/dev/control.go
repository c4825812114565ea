package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hexrdev/hexrd/internal/quiet"
)

const (
	controlBody    = 64 << 10
	controlTimeout = 2 * time.Minute
)

// NodeInfo is one node as `hexrd dev nodes` shows it.
type NodeInfo struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	PID     int    `json:"pid"`
	DataDir string `json:"data_dir"`
	LogFile string `json:"log_file"`
	Admin   string `json:"admin_socket"`
	Role    string `json:"role"`  // leader, follower, candidate, or empty
	State   string `json:"state"` // running, paused, exited
}

type signalRequest struct {
	Node   string `json:"node"` // a node ID or "leader"
	Signal string `json:"signal"`
}

type nodeRequest struct {
	Node string `json:"node"`
}

type controlError struct {
	Error string `json:"error"`
}

// control serves the verbs of `hexrd dev` over a unix socket of mode 0600.
type control struct {
	server *http.Server
	done   chan struct{}
}

func serveControl(ctx context.Context, socket string, c *Cluster) (*control, error) {
	l, err := listenPrivate(ctx, socket)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodes", answer(func(ctx context.Context, _ struct{}) ([]NodeInfo, error) {
		return c.Nodes(ctx), nil
	}))
	mux.HandleFunc("GET /ready", answer(func(context.Context, struct{}) ([]NodeInfo, error) {
		return c.describeAll(), nil
	}))
	mux.HandleFunc("POST /signal", answer(func(ctx context.Context, r signalRequest) (NodeInfo, error) {
		return c.Signal(ctx, r.Node, r.Signal)
	}))
	mux.HandleFunc("POST /start", answer(func(ctx context.Context, r nodeRequest) (NodeInfo, error) {
		return c.StartNode(ctx, r.Node)
	}))
	mux.HandleFunc("POST /rotate-jwt", answer(func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, c.ca.RotateJWTKey()
	}))
	ctl := &control{done: make(chan struct{}), server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: controlTimeout,
		ErrorLog: quiet.Noise(c.log, "the control socket reports a problem").Std(),
	}}
	go func() {
		defer close(ctl.done)
		_ = ctl.server.Serve(l)
	}()
	return ctl, nil
}

func (c *control) close() {
	_ = c.server.Close()
	<-c.done
}

func answer[Req, Resp any](do func(context.Context, Req) (Resp, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if r.Method == http.MethodPost {
			dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, controlBody))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&req); err != nil {
				reply(w, http.StatusBadRequest, controlError{"the request is not the JSON that is expected"})
				return
			}
		}
		resp, err := do(r.Context(), req)
		if err != nil {
			reply(w, http.StatusConflict, controlError{err.Error()})
			return
		}
		reply(w, http.StatusOK, resp)
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// Control talks to the supervisor of a dev cluster.
type Control struct {
	socket string
	http   *http.Client
}

// ErrNotRunning: no `hexrd dev` answers in that directory.
var ErrNotRunning = errors.New("no dev cluster answers: run `hexrd dev` first (with the same --dir)")

// Find waits until the dev cluster of that directory is ready, or ctx ends.
func Find(ctx context.Context, dir string) (*Control, error) {
	socket, err := socketPath(dir, controlSocket)
	if err != nil {
		return nil, err
	}
	c := &Control{socket: socket, http: &http.Client{Timeout: controlTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		if _, err := c.Ready(ctx); err == nil {
			return c, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ErrNotRunning
		}
	}
}

// Ready lists the cluster's nodes without their roles, which costs nothing.
func (c *Control) Ready(ctx context.Context) ([]NodeInfo, error) {
	var nodes []NodeInfo
	return nodes, c.call(ctx, http.MethodGet, "/ready", nil, &nodes)
}

// Nodes lists the cluster's nodes.
func (c *Control) Nodes(ctx context.Context) ([]NodeInfo, error) {
	var nodes []NodeInfo
	return nodes, c.call(ctx, http.MethodGet, "/nodes", nil, &nodes)
}

// Signal sends KILL, STOP, CONT, TERM, QUIT or ABRT to a node, or to the leader.
func (c *Control) Signal(ctx context.Context, node, signal string) (NodeInfo, error) {
	var info NodeInfo
	return info, c.call(ctx, http.MethodPost, "/signal", signalRequest{node, signal}, &info)
}

// StartNode starts a node that is not running, and waits until it is healthy.
func (c *Control) StartNode(ctx context.Context, node string) (NodeInfo, error) {
	var info NodeInfo
	return info, c.call(ctx, http.MethodPost, "/start", nodeRequest{node}, &info)
}

// RotateJWTKey is CA.RotateJWTKey.
func (c *Control) RotateJWTKey(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/rotate-jwt", struct{}{}, &struct{}{})
}

func (c *Control) call(ctx context.Context, method, path string, req, resp any) error {
	var body io.Reader
	if req != nil {
		data, err := json.Marshal(req)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://dev"+path, body)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	defer func() { _ = answer.Body.Close() }()
	dec := json.NewDecoder(io.LimitReader(answer.Body, 1<<20))
	if answer.StatusCode != http.StatusOK {
		var e controlError
		if dec.Decode(&e) != nil || e.Error == "" {
			e.Error = answer.Status
		}
		return errors.New(e.Error)
	}
	return dec.Decode(resp)
}
