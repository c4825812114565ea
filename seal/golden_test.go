package seal

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var goldenPlace = ValueContext{testCluster, []byte("record"), [16]byte{5}}

// TestGolden: what released versions sealed opens for ever. The files are only
// added to.
func TestGolden(t *testing.T) {
	read := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	k, err := ImportKeyring(read("keyring_1"))
	if err != nil {
		t.Fatal(err)
	}
	if row, err := k.OpenRow([]byte("place"), read("row_1")); err != nil || string(row) != "a row" {
		t.Errorf("row: %v", err)
	}
	if value, err := k.OpenValue(goldenPlace, read("value_1")); err != nil || string(value.Reveal()) != "a value" {
		t.Errorf("value: %v", err)
	}
	if key := k.Opaque("record", "scope", "path"); hex.EncodeToString(key[:]) != hex.EncodeToString(read("opaque_1")) {
		t.Error("an opaque key is another")
	}
}
