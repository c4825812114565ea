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
	cert, key, err := issued.SVID.Marshal()
	if err != nil {
		return Files{}, err
	}
	bundle, err := issued.X509.Marshal()
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
