package dev

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/hexrdev/hexrd/internal/quiet"
)

const maxSVIDTTL = 24 * time.Hour

// mintRequest asks the supervisor for an SVID.
type mintRequest struct {
	ID  string        `json:"id"`
	TTL time.Duration `json:"ttl"` // nanoseconds; 0: the cluster's default
}

// minted is the answer: everything as PEM, and the JWT bundle as JWKS.
type minted struct {
	Certs  []byte `json:"certs"`
	Key    []byte `json:"key"`
	Bundle []byte `json:"bundle"`
	JWKS   []byte `json:"jwks"`
}

// jwtRequest asks the supervisor for a JWT-SVID.
type jwtRequest struct {
	ID       string        `json:"id"`
	Audience []string      `json:"audience"`
	TTL      time.Duration `json:"ttl"` // nanoseconds; 0: the cluster's default
}

type mintedJWT struct {
	Token string `json:"token"`
}

// MintServer gives SVIDs of the CA to the other verbs of `hexrd dev`.
type MintServer struct {
	server *http.Server
	done   chan struct{}
}

// ServeMint serves on a unix socket of mode 0600.
func ServeMint(ctx context.Context, socket string, ca *CA, ttl time.Duration, log *slog.Logger) (*MintServer, error) {
	l, err := listenPrivate(ctx, socket)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /mint", answer(func(_ context.Context, r mintRequest) (minted, error) {
		return mint(ca, r, ttl)
	}))
	mux.HandleFunc("POST /jwt", answer(func(_ context.Context, r jwtRequest) (mintedJWT, error) {
		return mintJWT(ca, r, ttl)
	}))
	m := &MintServer{done: make(chan struct{}), server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		ErrorLog: quiet.Noise(log, "the mint socket reports a problem").Std(),
	}}
	go func() {
		defer close(m.done)
		_ = m.server.Serve(l)
	}()
	return m, nil
}

// Close ends the server and waits.
func (m *MintServer) Close() error {
	err := m.server.Close()
	<-m.done
	return err
}

// life is how long an SVID lives that is asked for.
func life(asked, usual time.Duration) (time.Duration, error) {
	switch {
	case asked < 0 || asked > maxSVIDTTL:
		return 0, fmt.Errorf("a dev SVID lives at most %s", maxSVIDTTL)
	case asked == 0:
		return usual, nil
	}
	return asked, nil
}

func mintJWT(ca *CA, r jwtRequest, ttl time.Duration) (mintedJWT, error) {
	id, err := ParseID(ca.td, r.ID)
	if err != nil {
		return mintedJWT{}, err
	}
	if ttl, err = life(r.TTL, ttl); err != nil {
		return mintedJWT{}, err
	}
	token, err := ca.MintJWT(id, r.Audience, ttl)
	return mintedJWT{token}, err
}

func mint(ca *CA, r mintRequest, ttl time.Duration) (minted, error) {
	id, err := ParseID(ca.td, r.ID)
	if err != nil {
		return minted{}, err
	}
	if ttl, err = life(r.TTL, ttl); err != nil {
		return minted{}, err
	}
	svid, err := ca.Mint(id, ttl, false)
	if err != nil {
		return minted{}, err
	}
	var out minted
	if out.Certs, out.Key, err = svid.Marshal(); err != nil {
		return minted{}, err
	}
	if out.Bundle, err = ca.X509Bundle().Marshal(); err != nil {
		return minted{}, err
	}
	bundle, err := ca.JWTBundle()
	if err != nil {
		return minted{}, err
	}
	out.JWKS, err = bundle.Marshal()
	return out, err
}

// issuer returns what ServeWorkload wants, from the supervisor of a directory.
func issuer(dir, id string, ttl time.Duration) (func(context.Context) (Issued, error), error) {
	socket, err := socketPath(dir, mintSocket)
	if err != nil {
		return nil, err
	}
	c := &Control{socket: socket, http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
	return func(ctx context.Context) (Issued, error) {
		var m minted
		if err := c.call(ctx, http.MethodPost, "/mint", mintRequest{id, ttl}, &m); err != nil {
			return Issued{}, err
		}
		issued, err := m.issued()
		issued.Token = func(ctx context.Context, audience []string) (string, error) {
			var m mintedJWT
			err := c.call(ctx, http.MethodPost, "/jwt", jwtRequest{id, audience, ttl}, &m)
			return m.Token, err
		}
		return issued, err
	}, nil
}

func (m minted) issued() (Issued, error) {
	svid, err := x509svid.Parse(m.Certs, m.Key)
	if err != nil {
		return Issued{}, err
	}
	td := svid.ID.TrustDomain()
	x509b, err1 := x509bundle.Parse(td, m.Bundle)
	jwtb, err2 := jwtbundle.Parse(td, m.JWKS)
	return Issued{SVID: svid, X509: x509b, JWT: jwtb}, errors.Join(err1, err2)
}

// serveIdentity serves an identity of the cluster from this process.
func (c *Cluster) serveIdentity(ctx context.Context, path, socketName string, node bool) (*WorkloadServer, error) {
	id, err := spiffeid.FromPath(c.td, path)
	if err != nil {
		return nil, err
	}
	socket, err := socketPath(c.cfg.Dir, socketName)
	if err != nil {
		return nil, err
	}
	return ServeWorkload(ctx, socket, func(context.Context) (Issued, error) {
		return c.ca.Issue(id, c.cfg.ttl(), node)
	}, c.log)
}

// Serve serves an identity (see ParseID) from this process, for clients in it.
func (c *Cluster) Serve(ctx context.Context, id string) (*WorkloadServer, error) {
	parsed, err := ParseID(c.td, id)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(parsed.String()))
	return c.serveIdentity(ctx, parsed.Path(), "id-"+hex.EncodeToString(sum[:6])+".sock", false)
}
