package client

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestGenerators(t *testing.T) {
	seen := map[string]bool{}
	letters := map[rune]int{}
	for range 200 {
		b, err := Password(24, "")(t.Context())
		if err != nil || len(b) != 24 || strings.Trim(string(b), Alphanumeric) != "" || seen[string(b)] {
			t.Fatalf("password of %d bytes: %v", len(b), err)
		}
		seen[string(b)] = true
		for _, r := range string(b) {
			letters[r]++
		}
	}
	if len(letters) != len(Alphanumeric) { // 4,800 draws of 62
		t.Errorf("%d of %d letters are drawn", len(letters), len(Alphanumeric))
	}
	b, err := Password(8, "äöü")(t.Context())
	if err != nil || len([]rune(string(b))) != 8 || strings.Trim(string(b), "äöü") != "" {
		t.Errorf("password of other letters: %v", err)
	}
	if b, err = Key(32)(t.Context()); err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(string(b)); err != nil || len(raw) != 32 {
		t.Errorf("a key of %d bytes: %v", len(raw), err)
	}
	if b, err = RawKey(32)(t.Context()); err != nil || len(b) != 32 {
		t.Errorf("a raw key of %d bytes: %v", len(b), err)
	}
	for _, g := range []Generator{Password(7, ""), Password(1<<17, ""), Password(8, "a"), Password(8, "aba"), Key(15), RawKey(1 << 17)} {
		if _, err := g(t.Context()); !errors.Is(err, ErrInvalid) {
			t.Errorf("a bad generator: %v", err)
		}
	}
}
