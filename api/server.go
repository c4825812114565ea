package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"buf.build/go/protovalidate"
	"github.com/prometheus/client_golang/prometheus"
)

// Config of a Server.
type Config struct {
	Backend     Backend
	TrustDomain string
	// PeerFromContext is who made a gRPC call; false: nobody that verified.
	PeerFromContext func(context.Context) (Peer, bool)
	// PeerFromConn is who is at the other end of a session; false: as above.
	PeerFromConn func(net.Conn) (Peer, bool)
	Tokens       Tokens               // nil: no JWT-SVIDs
	Registry     *prometheus.Registry // nil: no metrics
	Logger       *slog.Logger         // nil: no log
}

// Server is the API of a node.
type Server struct {
	cfg     Config
	backend Backend
	log     *slog.Logger
	rules   protovalidate.Validator
	limits  *limiter
	guesses *guesses
	metrics *metrics
	methods map[string]*method
	ending  chan struct{} // closed: streams end
	endOnce sync.Once
}

// New allocates.
func New(c Config) (*Server, error) {
	if c.Backend == nil || c.TrustDomain == "" || c.PeerFromContext == nil || c.PeerFromConn == nil {
		return nil, errors.New("api: backend, trust domain and peer are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	rules, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("api: validation rules: %w", err)
	}
	limits, err := newLimiter()
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	guesses, err := newGuesses()
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	methods := methodTable()
	return &Server{
		cfg: c, backend: c.Backend, log: c.Logger, rules: rules, limits: limits, guesses: guesses, metrics: newMetrics(c.Registry, methods),
		methods: methods, ending: make(chan struct{}),
	}, nil
}

// EndStreams ends the streams that would not end by themselves, so that their
// clients go on at another node before this one stops.
func (s *Server) EndStreams() { s.endOnce.Do(func() { close(s.ending) }) }
