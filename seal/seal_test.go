package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/seal/sealpb"
)

var testCluster = [16]byte{7}

func newRing(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewKeyring(testCluster)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPlaintextRedacts(t *testing.T) {
	const secret = "sk-very-secret"
	p := NewPlaintext([]byte(secret))
	type holder struct {
		P Plaintext
		Q *Plaintext
	}
	h := holder{p, &p}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		_, _ = fmt.Fprintf(&out, verb+"\n", p)
		_, _ = fmt.Fprintf(&out, verb+"\n", h)
		_, _ = fmt.Fprintf(&out, verb+"\n", []Plaintext{p})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "p", p, "h", h)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "p", p, "h", h)
	for _, clear := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret))} {
		if strings.Contains(out.String(), clear) {
			t.Errorf("a plaintext prints %q", clear)
		}
	}
	if _, err := json.Marshal(h); err == nil {
		t.Error("a plaintext marshals")
	}
	if !p.Equal(NewPlaintext([]byte(secret))) || p.Equal(NewPlaintext([]byte("x"))) {
		t.Error("Equal")
	}
	p.Wipe()
	if bytes.Contains(p.Reveal(), []byte("sk")) {
		t.Error("Wipe leaves the value")
	}
}

func TestValuesOpenInTheirPlaceAlone(t *testing.T) {
	k := newRing(t)
	place := ValueContext{testCluster, []byte("record"), [16]byte{1}}
	sealed, err := k.SealValue(place, NewPlaintext([]byte("value")))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.OpenValue(place, sealed); err != nil || string(got.Reveal()) != "value" {
		t.Fatal(err)
	}
	for name, other := range map[string]ValueContext{
		"cluster": {[16]byte{9}, []byte("record"), [16]byte{1}},
		"record":  {testCluster, []byte("other"), [16]byte{1}},
		"request": {testCluster, []byte("record"), [16]byte{2}},
	} {
		if _, err := k.OpenValue(other, sealed); !errors.Is(err, ErrCorrupt) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.OpenValue(place, bad); err == nil {
			t.Fatalf("byte %d was changed, and it opens", i)
		}
	}
	if _, err := k.SealValue(place, NewPlaintext(make([]byte, MaxValue+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a value that is too large: %v", err)
	}
}

func TestRowsRoundTrip(t *testing.T) {
	k := newRing(t)
	rapid.Check(t, func(t *rapid.T) {
		row, ad := rapid.SliceOf(rapid.Byte()).Draw(t, "row"), rapid.SliceOf(rapid.Byte()).Draw(t, "ad")
		sealed, err := k.SealRow(ad, row)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.OpenRow(ad, sealed)
		if err != nil || !bytes.Equal(got, row) {
			t.Fatal("a row does not come back", err)
		}
		if _, err := k.OpenRow(append(ad, 0), sealed); !errors.Is(err, ErrCorrupt) {
			t.Fatal("a row opens elsewhere")
		}
		if len(row) > 8 && bytes.Contains(sealed, row) {
			t.Fatal("a row stands in clear")
		}
	})
}

func TestOpaqueKeysAreDistinct(t *testing.T) {
	k := newRing(t)
	if k.Opaque("a", "bc") == k.Opaque("ab", "c") || k.Opaque("a", "b", "c") == k.Opaque("a", "bc") {
		t.Error("parts run together")
	}
	if first := k.Opaque("a", "b"); first != k.Opaque("a", "b") || first == newRing(t).Opaque("a", "b") {
		t.Error("a key is not the keyring's own")
	}
}

func newCopy(t *testing.T, k *Keyring) *Keyring {
	t.Helper()
	exported, err := k.Export()
	if err != nil {
		t.Fatal(err)
	}
	c, err := ImportKeyring(exported)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	key := filepath.Join(dir, "wrapper.key")
	w, err := CreateFileWrapper(key)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "half.key")
	if err := os.WriteFile(half+".new", []byte("hexrd-wra"), 0o600); err != nil { // killed in the midst of it
		t.Fatal(err)
	}
	if _, err := CreateFileWrapper(half); err != nil {
		t.Error(err)
	}
	if _, err := OpenFileWrapper(half); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.new")); err != nil || len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if _, err := CreateFileWrapper(key); err == nil {
		t.Fatal("a wrapper key was replaced")
	}
	k := newRing(t)
	file := filepath.Join(dir, "keyring")
	if err := SaveKeyring(ctx, file, w, k); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	again, err := OpenFileWrapper(key)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadKeyring(ctx, file, again, testCluster)
	if err != nil || loaded.Opaque("x") != k.Opaque("x") {
		t.Fatal("the keyring does not come back", err)
	}
	if _, err := LoadKeyring(ctx, file, again, [16]byte{1}); !errors.Is(err, ErrWrongCluster) {
		t.Errorf("another cluster: %v", err)
	}
	other, err := CreateFileWrapper(filepath.Join(dir, "other.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeyring(ctx, file, other, testCluster); !errors.Is(err, ErrWrongWrapper) {
		t.Errorf("another wrapper: %v", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if exported, _ := k.Export(); bytes.Contains(data, exported[len(exported)-opaqueKeySize:]) {
		t.Error("the keyring lies in clear")
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFileWrapper(key); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestRefuseInside(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(data, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, inside := range map[string]bool{
		"data/key": true, "data/a/b/key": true, "link/key": true, "data/../data/key": true,
		"key": false, "data.key": false, "other/key": false,
	} {
		if err := RefuseInside(filepath.Join(dir, path), data); (err != nil) != inside {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzOpenRow(f *testing.F) {
	k := newRing(f)
	good, _ := k.SealRow([]byte("ad"), []byte("row"))
	f.Add(good)
	f.Fuzz(func(_ *testing.T, sealed []byte) { _, _ = k.OpenRow([]byte("ad"), sealed) })
}

func FuzzOpenValue(f *testing.F) {
	k := newRing(f)
	good, _ := k.SealValue(ValueContext{}, NewPlaintext([]byte("v")))
	f.Add(good)
	f.Add(append([]byte{0x2b, 0x2c, 0x0a, 1, 'x', 0x30, 7}, append(good, good...)...)) // what is unknown, and everything twice
	f.Add([]byte{0xb0, 0xb0, 0xb0, 0xb0, 0x30, 0x30})                                  // a field's number that protobuf does not take
	f.Fuzz(func(t *testing.T, sealed []byte) {
		_, _ = k.OpenValue(ValueContext{}, sealed)
		var pb sealpb.SealedValue
		v, err := decodeValue(sealed)
		switch wanted := proto.Unmarshal(sealed, &pb); {
		case len(sealed) > MaxSealed:
		case (wanted != nil) != errors.Is(err, ErrCorrupt), wanted == nil && (pb.GetFormat() != valueFormat) != errors.Is(err, ErrFormat):
			t.Fatalf("%v, protobuf %v, format %d", err, wanted, pb.GetFormat())
		case err == nil && (!bytes.Equal(v.wrapped, pb.GetWrappedKey()) || !bytes.Equal(v.ciphertext, pb.GetCiphertext())):
			t.Fatalf("it decodes to %x, protobuf to %v", v, &pb)
		}
	})
}

func FuzzImportKeyring(f *testing.F) {
	good, _ := newRing(f).Export()
	f.Add(good)
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = ImportKeyring(data) })
}

func FuzzKeyringFile(f *testing.F) {
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = decodeKeyringFile(data) })
}

func FuzzWrapperFile(f *testing.F) {
	f.Add([]byte(wrapperPrefix + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := parseWrapperKey(data); err == nil && len(key) != wrapperKeySize {
			t.Fatal("a key of another length")
		}
	})
}

func BenchmarkSealRow(b *testing.B) {
	k := newRing(b)
	row := make([]byte, 200)
	for b.Loop() {
		_, _ = k.SealRow([]byte("ad"), row)
	}
}

func BenchmarkOpaque(b *testing.B) {
	k := newRing(b)
	for b.Loop() {
		k.Opaque("record", "spiffe://hexr.cloud/agent/acme/bot/*", "api-keys/openai")
	}
}
