package hexrd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whichever byte of the keyring's file is damaged, the node says what to do.
func TestDamagedKeyring(t *testing.T) {
	dir := t.TempDir()
	w, err := openWrapper(Config{DataDir: dir, WrapperKey: filepath.Join(t.TempDir(), "wrapper.key")}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newKeys(t.Context(), dir, w); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, keyringFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for at := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << bit
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := loadKeys(t.Context(), dir, w)
			if err == nil {
				t.Fatalf("bit %d of byte %d may be anything", bit, at)
			}
			if !strings.Contains(err.Error(), "is damaged") && !strings.Contains(err.Error(), "wrapper key") {
				t.Fatalf("bit %d of byte %d: it does not say what to do: %v", bit, at, err)
			}
		}
	}
}
