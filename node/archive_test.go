package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// archived is a stream of two files.
func archived(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{"000001.sst": "table", "MANIFEST": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := checkpointFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeArchive(&out, []byte("keys"), dir, files); err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != archiveSize([]byte("keys"), files) {
		t.Fatalf("%d bytes, promised %d", out.Len(), archiveSize([]byte("keys"), files))
	}
	return out.Bytes()
}

func TestArchive(t *testing.T) {
	stream := archived(t)
	read := func(b []byte) (string, error) {
		keys := ""
		return keys, readArchive(bytes.NewReader(b), t.TempDir(), func(k []byte) error { keys = string(k); return nil })
	}
	if keys, err := read(stream); err != nil || keys != "keys" {
		t.Fatalf("%q, %v", keys, err)
	}
	for i := range stream {
		bad := bytes.Clone(stream)
		bad[i] ^= 1
		if _, err := read(bad); err == nil {
			t.Errorf("byte %d was changed, and it is accepted", i)
		}
		if _, err := read(stream[:i]); err == nil {
			t.Errorf("it ends after %d bytes, and is accepted", i)
		}
	}
	refused := errors.New("refused")
	err := readArchive(bytes.NewReader(stream), t.TempDir(), func([]byte) error { return refused })
	if !errors.Is(err, refused) {
		t.Errorf("a keyring that can't be installed: %v", err)
	}
}

func FuzzReadArchive(f *testing.F) {
	f.Add(archived(f))
	f.Add(bytes.Replace(archived(f), []byte("MANIFEST"), []byte("../../ab"), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		inner := filepath.Join(dir, "inner")
		if err := os.Mkdir(inner, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = readArchive(bytes.NewReader(b), inner, func([]byte) error { return nil })
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Fatal("a stream writes beside its directory")
		}
	})
}
