package identity

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const (
	maxFile = 1 << 20

	// A file younger than this when it was read is read again: a second write
	// within the file system's time step could leave size and time the same.
	settled = 2 * time.Second
)

// fileSource serves an identity from files that something else renews. One
// goroutine polls them, ended and awaited by Close.
type fileSource struct {
	*current
	cfg   Config
	td    spiffeid.TrustDomain // of the SVID; set by the first load
	parts []*part

	cancel    context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
}

// part is a group of files that only make sense together. Parts are renewed
// independently: a broken bundle does not hold up the SVID.
type part struct {
	name    string
	paths   []string
	apply   func(contents [][]byte) error
	infos   []os.FileInfo
	digest  [sha256.Size]byte
	loaded  bool
	again   bool // read again at the next poll, whatever stat says
	failing bool
}

func openFiles(ctx context.Context, cfg Config) (*fileSource, error) {
	s := &fileSource{current: newCurrent(), cfg: cfg}
	s.parts = []*part{
		{name: "svid", paths: []string{cfg.CertFile, cfg.KeyFile}, apply: s.applySVID},
		{name: "bundle", paths: []string{cfg.BundleFile}, apply: s.applyBundle},
	}
	if cfg.JWTBundleFile != "" {
		s.parts = append(s.parts, &part{name: "jwt_bundle", paths: []string{cfg.JWTBundleFile}, apply: s.applyJWTBundle})
	}
	if err := s.loadFirst(ctx); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.wg.Go(func() { s.poll(run) })
	return s, nil
}

// loadFirst loads all parts, trying again until Timeout: what renews the files
// may start after us.
func (s *fileSource) loadFirst(ctx context.Context) error {
	limit := time.NewTimer(s.cfg.Timeout)
	defer limit.Stop()
	tick := time.NewTicker(min(s.cfg.PollInterval, s.cfg.Timeout))
	defer tick.Stop()
	for {
		err := s.loadAll()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("no identity within %s: %w", s.cfg.Timeout, err)
		case <-ctx.Done():
			return fmt.Errorf("wait for identity files: %w", ctx.Err())
		}
	}
}

func (s *fileSource) loadAll() error {
	for _, p := range s.parts {
		if p.loaded {
			continue
		}
		if _, err := p.load(); err != nil {
			return err
		}
	}
	return nil
}

// poll reloads what has changed. What can't be loaded leaves the old in place
// and is tried again at each tick.
func (s *fileSource) poll(ctx context.Context) {
	tick := time.NewTicker(s.cfg.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range s.parts {
			s.refresh(p)
		}
	}
}

func (s *fileSource) refresh(p *part) {
	if !p.again && !p.touched() {
		return
	}
	changed, err := p.load()
	if err != nil {
		if !p.failing {
			s.cfg.Logger.Warn("renewed identity files are unusable; keeping the previous ones; check what renews them",
				slog.String("part", p.name))
		}
		p.failing = true
		return
	}
	p.failing = false
	if changed {
		s.cfg.Logger.Debug("identity files reloaded", slog.String("part", p.name))
	}
}

// Close implements Source.
func (s *fileSource) Close() error {
	s.closeOnce.Do(func() {
		s.cancel()
		s.wg.Wait()
		s.shut()
	})
	return nil
}

func (s *fileSource) applySVID(files [][]byte) error {
	svid, err := x509svid.Parse(files[0], files[1])
	if err != nil {
		return explainSVID(files[0], files[1])
	}
	switch {
	case !s.cfg.fits(svid.ID):
		return errors.New("certificate file: the SVID is not the configured one")
	case !s.td.IsZero() && !svid.ID.MemberOf(s.td):
		return errors.New("certificate file: the SVID is of another trust domain than before")
	case time.Now().After(svid.Certificates[0].NotAfter):
		return fmt.Errorf("certificate file: %w", ErrExpired)
	}
	s.td = svid.ID.TrustDomain()
	s.update(func(c *current) { c.svid = svid })
	return nil
}

func (s *fileSource) applyBundle(files [][]byte) error {
	bundle, err := x509bundle.Parse(s.td, files[0])
	if err != nil || bundle.Empty() {
		return errors.New("bundle file: no usable PEM certificates")
	}
	s.update(func(c *current) { c.x509 = x509bundle.NewSet(bundle) })
	return nil
}

func (s *fileSource) applyJWTBundle(files [][]byte) error {
	bundle, err := jwtbundle.Parse(s.td, files[0])
	if err != nil || bundle.Empty() {
		return errors.New("JWT bundle file: not a JWKS whose keys have key ids")
	}
	s.update(func(c *current) { c.jwt = jwtbundle.NewSet(bundle) })
	return nil
}

// explainSVID says why the pair is no SVID, in words that quote nothing of it.
func explainSVID(cert, key []byte) error {
	switch {
	case !holdsPEM(cert, "CERTIFICATE"):
		return errors.New("certificate file: no PEM block CERTIFICATE")
	case !holdsPEM(key, "PRIVATE KEY"):
		return errors.New("key file: no PEM block PRIVATE KEY (PKCS#8)")
	}
	return errors.New("certificate and key files: not an X.509-SVID with its own key")
}

func holdsPEM(data []byte, kind string) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			return true
		}
	}
	return false
}

// touched reports whether stat sees another file than the one last read.
func (p *part) touched() bool {
	for i, path := range p.paths {
		now, err := os.Stat(path)
		if err != nil {
			return true
		}
		old := p.infos[i]
		if !os.SameFile(old, now) || !old.ModTime().Equal(now.ModTime()) || old.Size() != now.Size() {
			return true
		}
	}
	return false
}

// load reads and applies the part; changed is false if it holds what it held.
// On error the next poll tries again.
func (p *part) load() (changed bool, err error) {
	p.again = true
	var (
		contents = make([][]byte, len(p.paths))
		infos    = make([]os.FileInfo, len(p.paths))
		digest   = sha256.New()
		young    bool
	)
	for i, path := range p.paths {
		if contents[i], infos[i], err = readFile(path); err != nil {
			return false, err
		}
		sum := sha256.Sum256(contents[i])
		digest.Write(sum[:])
		young = young || time.Since(infos[i].ModTime()) < settled
	}
	sum := [sha256.Size]byte(digest.Sum(nil))
	if !p.loaded || sum != p.digest {
		if err := p.apply(contents); err != nil {
			return false, err
		}
		changed = true
	}
	p.infos, p.digest, p.loaded, p.again = infos, sum, true, young
	return changed, nil
}

// readFile reads a regular file of at most maxFile bytes, with the stat taken
// before the read.
func readFile(path string) ([]byte, os.FileInfo, error) {
	info, err := os.Stat(path) // before opening: a FIFO would block
	if err != nil {
		return nil, nil, fmt.Errorf("identity file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, nil, fmt.Errorf("identity file %s: not a regular file of at most %d bytes", path, maxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("identity file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("identity file: %w", err)
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("identity file %s: longer than %d bytes", path, maxFile)
	}
	return data, info, nil
}
