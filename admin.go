package hexrd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hexrdev/hexrd/internal/quiet"
)

const leaveTimeout = time.Minute

// admin is the side of a node for who runs its machine: metrics, profiles,
// health and leave, over a unix socket of mode 0600.
type admin struct {
	server *http.Server
	done   chan struct{}
}

func openAdmin(socket string, s *Server) (*admin, error) {
	if err := removeStale(s.ctx, socket); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(s.ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("open admin socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect admin socket: %w", err), l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if ok, why := s.healthy(); !ok {
			http.Error(w, why, http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /leave", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), leaveTimeout)
		defer cancel()
		if err := s.Leave(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	a := &admin{done: make(chan struct{}), server: &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: quiet.Noise(s.log, "the admin side reports a problem").Std(),
	}}
	go func() {
		defer close(a.done)
		_ = a.server.Serve(l)
	}()
	return a, nil
}

// removeStale removes the socket of a node that was killed, and nothing else.
func removeStale(ctx context.Context, socket string) error {
	info, err := os.Lstat(socket)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open admin socket: %w", err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("admin socket %s: a file that is no socket is in the way", socket)
	}
	if c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
		_ = c.Close()
		return fmt.Errorf("admin socket %s: another process listens there", socket)
	}
	return os.Remove(socket)
}

func (a *admin) close() {
	_ = a.server.Close()
	<-a.done
}
