package hexrd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/hexrdev/hexrd/internal/fault"
	"github.com/hexrdev/hexrd/node"
	"github.com/hexrdev/hexrd/seal"
)

const keyringFile = "keyring"

// ErrNoState: the data directory is empty, and neither bootstrap nor join was
// asked for.
var ErrNoState = errors.New("the data directory holds no node: start the first node with --bootstrap, " +
	"and every other with `hexrd join ADDR`")

// keyStore is the keyring in memory and, wrapped, on disk.
type keyStore struct {
	file    string
	wrapper seal.Wrapper
	ring    *seal.Keyring
	mu      sync.Mutex // one writer of the file
}

// openWrapper opens the wrapper key; create makes it where it does not exist.
func openWrapper(c Config, create bool) (seal.Wrapper, error) {
	if err := seal.RefuseInside(c.WrapperKey, c.DataDir); err != nil {
		return nil, err
	}
	_, err := os.Stat(c.WrapperKey)
	if create && errors.Is(err, fs.ErrNotExist) {
		w, err := seal.CreateFileWrapper(c.WrapperKey)
		if err != nil {
			return nil, fmt.Errorf("make wrapper key: %w", err)
		}
		return w, nil
	}
	w, err := seal.OpenFileWrapper(c.WrapperKey)
	if err != nil {
		return nil, fmt.Errorf("open wrapper key: %w", err)
	}
	return w, nil
}

// loadKeys reads the keyring; fs.ErrNotExist where there is none.
func loadKeys(ctx context.Context, dir string, w seal.Wrapper) (*keyStore, error) {
	k := &keyStore{file: filepath.Join(dir, keyringFile), wrapper: w}
	if _, err := os.Stat(k.file); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	ring, err := seal.LoadKeyring(ctx, k.file, w, [16]byte{})
	switch {
	case errors.Is(err, seal.ErrCorrupt):
		return nil, fmt.Errorf("open keyring: %w: it is damaged: "+node.ComeBack, err)
	case errors.Is(err, seal.ErrFormat):
		return nil, fmt.Errorf("open keyring %s: %w: run a newer hexrd; where none has run here, it is damaged: "+node.ComeBack, k.file, err)
	case err != nil:
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	k.ring = ring
	return k, nil
}

// newKeys makes the keyring of a new cluster with a random cluster ID.
func newKeys(ctx context.Context, dir string, w seal.Wrapper) (*keyStore, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("make cluster id: %w", err)
	}
	ring, err := seal.NewKeyring(id)
	if err != nil {
		return nil, fmt.Errorf("make keyring: %w", err)
	}
	return saveKeys(ctx, dir, w, ring)
}

// importKeys takes over the keyring that a member handed out.
func importKeys(ctx context.Context, dir string, w seal.Wrapper, exported []byte) (*keyStore, error) {
	ring, err := seal.ImportKeyring(exported)
	if err != nil {
		return nil, fmt.Errorf("take over keyring: %w", err)
	}
	return saveKeys(ctx, dir, w, ring)
}

func saveKeys(ctx context.Context, dir string, w seal.Wrapper, ring *seal.Keyring) (*keyStore, error) {
	k := &keyStore{file: filepath.Join(dir, keyringFile), wrapper: w, ring: ring}
	if err := seal.SaveKeyring(ctx, k.file, w, ring); err != nil {
		return nil, fmt.Errorf("save keyring: %w", err)
	}
	fault.Point("keyring.made")
	return k, nil
}

// install merges a keyring that came with a snapshot, and is durable before it
// returns: rows that need its keys come after it.
func (k *keyStore) install(ctx context.Context, exported []byte) error {
	other, err := seal.ImportKeyring(exported)
	if err == nil {
		err = k.change(ctx, func(r *seal.Keyring) error { return r.Merge(other) })
	}
	if err != nil {
		return fmt.Errorf("install keyring: %w", err)
	}
	return nil
}

// change makes a change of the keyring durable, and only then in effect: nothing
// is ever sealed with a key that a crash could take away.
func (k *keyStore) change(ctx context.Context, do func(*seal.Keyring) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	clone := k.ring.Clone()
	if err := do(clone); err != nil {
		return err
	}
	fault.Point("keyring.changed")
	if err := seal.SaveKeyring(ctx, k.file, k.wrapper, clone); err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	fault.Point("keyring.saved")
	k.ring.Adopt(clone)
	return nil
}
