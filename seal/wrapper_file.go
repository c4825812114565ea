package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xaesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd/internal/durable"
)

const (
	wrapperPrefix  = "hexrd-wrapper-key-1 "
	wrapperKeySize = 32
	maxWrapperFile = 4096
)

// FileWrapper wraps with a 256-bit key in a file (XAES-256-GCM). A systemd
// credential is such a file too.
type FileWrapper struct{ aead tink.AEAD }

// CreateFileWrapper makes the key file, 0600, whole or not at all, and durable. It
// never replaces one.
func CreateFileWrapper(path string) (*FileWrapper, error) {
	key := make([]byte, wrapperKeySize)
	defer clear(key)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	made := path + ".new"
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed here
		return nil, err
	}
	f, err := os.OpenFile(made, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(f, "%s%s\n", wrapperPrefix, base64.StdEncoding.EncodeToString(key))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = renameNew(made, path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(made))
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return newFileWrapper(key)
}

// renameNew gives a file its name unless there is one of that name.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) { // this file system can't say it in one step
		return errors.Join(fs.ErrExist, err)
	}
	return os.Rename(from, to)
}

// OpenFileWrapper reads the key file, and refuses one that others may read.
func OpenFileWrapper(path string) (*FileWrapper, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := guarded(info); err != nil {
		return nil, fmt.Errorf("wrapper key %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxWrapperFile+1))
	if err != nil {
		return nil, err
	}
	defer clear(data)
	key, err := parseWrapperKey(data)
	if err != nil {
		return nil, fmt.Errorf("wrapper key %s: %w", path, err)
	}
	defer clear(key)
	return newFileWrapper(key)
}

// guarded refuses a key that others can read or change. A group may read one
// that root owns: that is how systemd hands credentials over.
func guarded(info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	allowed := os.FileMode(0o600)
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == 0 {
		allowed |= 0o040
	}
	if info.Mode().Perm()&^allowed != 0 {
		return fmt.Errorf("its mode is %04o and lets others at the key: chmod 600 it", info.Mode().Perm())
	}
	return nil
}

var errWrapperFile = errors.New("it does not hold a hexrd wrapper key (one line: hexrd-wrapper-key-1 and base64 of 32 bytes)")

func parseWrapperKey(data []byte) ([]byte, error) {
	text, ok := strings.CutPrefix(string(bytes.TrimSuffix(data, []byte("\n"))), wrapperPrefix)
	if !ok || len(data) > maxWrapperFile {
		return nil, errWrapperFile
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(key) != wrapperKeySize || strings.ContainsAny(text, "\r\n") {
		return nil, errWrapperFile
	}
	return key, nil
}

func newFileWrapper(key []byte) (*FileWrapper, error) {
	params, err := xaesgcm.NewParameters(xaesgcm.VariantNoPrefix, 12)
	if err != nil {
		return nil, err
	}
	k, err := xaesgcm.NewKey(secretdata.NewBytesFromData(key, insecuresecretdataaccess.Token{}), 0, params)
	if err != nil {
		return nil, err
	}
	m := keyset.NewManager()
	id, err := m.AddKey(k)
	if err != nil {
		return nil, err
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, err
	}
	h, err := m.Handle()
	if err != nil {
		return nil, err
	}
	p, err := aead.New(h)
	if err != nil {
		return nil, err
	}
	return &FileWrapper{p}, nil
}

// Name is "file".
func (w *FileWrapper) Name() string { return "file" }

// Wrap seals with the file's key.
func (w *FileWrapper) Wrap(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	return w.aead.Encrypt(plaintext, ad)
}

// Unwrap opens what Wrap sealed, or returns ErrWrongWrapper.
func (w *FileWrapper) Unwrap(_ context.Context, wrapped, ad []byte) ([]byte, error) {
	plaintext, err := w.aead.Decrypt(wrapped, ad)
	if err != nil {
		return nil, ErrWrongWrapper
	}
	return plaintext, nil
}

// RefuseInside returns an error when keyFile lies inside dataDir: a backup of
// the data would hold the key to it. Symbolic links are followed.
func RefuseInside(keyFile, dataDir string) error {
	key, err := resolve(keyFile)
	if err != nil {
		return err
	}
	dir, err := resolve(dataDir)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(dir, key); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return fmt.Errorf("the wrapper key %s lies inside the data directory: a copy of the data would hold its key; put it elsewhere", keyFile)
	}
	return nil
}

// resolve follows the links of the longest part of the path that exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || path == filepath.Dir(path) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = filepath.Dir(path)
	}
}
