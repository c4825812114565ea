package hexrd

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/hexrdev/hexrd/seal"
)

const auditKeyFile = "audit-key"

// openAuditKey returns the node's own Ed25519 key, which signs checkpoints. It
// is made once, and lies wrapped in the data directory; ad binds it to the node.
func openAuditKey(ctx context.Context, dir string, w seal.Wrapper, nodeID string) (ed25519.PrivateKey, error) {
	file, ad := filepath.Join(dir, auditKeyFile), []byte("hexrd audit key 1 "+nodeID)
	seed, err := seal.LoadWrapped(ctx, file, w, ad)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, fmt.Errorf("make audit key: %w", err)
		}
		if err := seal.SaveWrapped(ctx, file, w, ad, key.Seed()); err != nil {
			return nil, fmt.Errorf("save audit key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open audit key %s (is this node's data directory here, and its wrapper key?): %w", file, err)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("audit key %s is damaged", file)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
