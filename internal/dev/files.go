package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files are an SVID and its bundle as PEM.
type Files struct{ Cert, Key, Bundle string }

// MintFiles writes an SVID (see ParseID) of the dev cluster of a directory into
// another directory, for programs that want one as files, or many.
func MintFiles(ctx context.Context, dir, id, into string, ttl time.Duration) (Files, error) {
	issue, err := issuer(dir, id, ttl)
	if err != nil {
		return Files{}, err
	}
	issued, err := issue(ctx)
	if err != nil {
		return Files{}, err
	}
	return write(issued, id, into)
}

// ServerFiles writes an SVID (see ParseID) that also carries the loopback
// addresses, for servers whose clients check host names.
func (c *Cluster) ServerFiles(id, into string) (Files, error) {
	parsed, err := ParseID(c.td, id)
	if err != nil {
		return Files{}, err
	}
	issued, err := c.ca.Issue(parsed, c.cfg.ttl(), true)
	if err != nil {
		return Files{}, err
	}
	return write(issued, id, into)
}

func write(i Issued, id, into string) (Files, error) {
	cert, key, err := i.SVID.Marshal()
	if err != nil {
		return Files{}, err
	}
	bundle, err := i.X509.Marshal()
	if err != nil {
		return Files{}, err
	}
	name := filepath.Join(into, strings.ReplaceAll(strings.Trim(id, "/"), "/", "-"))
	f := Files{Cert: name + ".pem", Key: name + "-key.pem", Bundle: filepath.Join(into, "bundle.pem")}
	err = errors.Join(os.WriteFile(f.Cert, cert, 0o600), os.WriteFile(f.Key, key, 0o600), os.WriteFile(f.Bundle, bundle, 0o600))
	if err != nil {
		return Files{}, fmt.Errorf("write an SVID: %w", err)
	}
	return f, nil
}
