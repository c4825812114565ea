package api

import (
	"net"
	"net/http"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"

	"github.com/hexrdev/hexrd/fsm"
)

// Tokens verifies JWT-SVIDs. Both methods are safe for concurrent use.
type Tokens interface {
	// Known says without effort whether the token was verified before and still is
	// valid.
	Known(token string) bool
	// Verify says whose it is; any error: nobody's.
	Verify(token string) (Peer, error)
}

var (
	errTokensOff = fail(codes.Unauthenticated, "JWT_SVID_OFF",
		"this cluster accepts no JWT-SVIDs: present an X.509-SVID, or ask an operator to `hexrd settings set jwt_svid true`")
	errBadToken = fail(codes.Unauthenticated, "BAD_TOKEN",
		"not a valid JWT-SVID: fetch one for the audience hexr-vault alone, at most an hour ahead of its end")
	errTokenClass = fail(codes.Unauthenticated, "JWT_SVID_NOT_FOR_THIS_CLASS",
		"JWT-SVIDs are for agents alone: present an X.509-SVID")
	errTokenBeside = fail(codes.Unauthenticated, "TWO_IDENTITIES",
		"the JWT-SVID and the certificate of the connection are not of one identity: present one of them")
)

// authenticate says who made an HTTP request: the peer of the connection, or
// where the cluster has them on, who a JWT-SVID names. The header is dropped
// before anything else sees it.
func (s *Server) authenticate(r *http.Request) (Peer, error) {
	given := r.Header.Values("Authorization")
	r.Header.Del("Authorization")
	peer, known := peerOf(r.Context())
	on := s.cfg.Tokens != nil && s.backend.Store().Settings().GetJwtSvid()
	switch {
	case known && (len(given) == 0 || !on):
		return peer, nil
	case len(given) == 0:
		return Peer{}, errUnauthenticated
	case !on:
		return Peer{}, errTokensOff
	}
	holder, err := s.holder(given, peer.Addr)
	switch {
	case err != nil:
		return Peer{}, err
	case peer.Presented && holder.ID != peer.ID:
		return Peer{}, errTokenBeside
	case known:
		return peer, nil
	}
	return holder, nil
}

// holder is the agent that a token names.
func (s *Server) holder(given []string, addr string) (Peer, error) {
	scheme, token, ok := strings.Cut(given[0], " ")
	if len(given) != 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return Peer{}, errBadToken
	}
	if !s.cfg.Tokens.Known(token) && !s.guesses.allow(addr) {
		return Peer{}, errRate
	}
	holder, err := s.cfg.Tokens.Verify(token)
	if err != nil {
		s.guesses.failed(addr)
		return Peer{}, errBadToken
	}
	caller, err := fsm.ParseCaller(holder.ID, s.cfg.TrustDomain)
	if err != nil || caller.Class != fsm.ClassAgent {
		return Peer{}, errTokenClass
	}
	holder.Addr = addr
	holder.Admitted = func() bool {
		_, err := s.cfg.Tokens.Verify(token)
		return err == nil && s.backend.Store().Settings().GetJwtSvid()
	}
	return holder, nil
}

// stillAdmitted is asked before a value leaves, and at each event of a stream.
func (s *Server) stillAdmitted(c *call) error {
	switch {
	case !c.peer.NotAfter.After(time.Now()):
		return errExpired
	case c.peer.Admitted != nil && !c.peer.Admitted():
		return errBadToken
	case s.backend.Store().BlockedSince(c.caller, c.decided):
		return errBlocked
	}
	return nil
}

const (
	guessRate    = 10 // a second and source address
	guessBurst   = 50
	guessSources = 4096
	guessPause   = 100 * time.Millisecond // before a refusal beyond that
)

// guesses bounds what bad tokens of one address cost: each is a signature to
// verify. Tokens that were verified before are not looked at here, so that
// neighbours behind one address don't lock each other out.
type guesses struct {
	sources *lru.Cache[string, *rate.Limiter]
}

func newGuesses() (*guesses, error) {
	sources, err := lru.New[string, *rate.Limiter](guessSources)
	return &guesses{sources}, err
}

func (g *guesses) allow(addr string) bool {
	bucket, ok := g.sources.Get(source(addr))
	return !ok || bucket.Tokens() >= 1
}

func (g *guesses) failed(addr string) {
	key := source(addr)
	bucket, ok := g.sources.Get(key)
	if !ok {
		bucket = rate.NewLimiter(guessRate, guessBurst)
		g.sources.Add(key, bucket)
	}
	bucket.Allow()
}

func source(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
