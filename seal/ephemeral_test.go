package seal

import (
	"bytes"
	"errors"
	"testing"
)

func TestEphemeral(t *testing.T) {
	e, err1 := NewEphemeral()
	other, err2 := NewEphemeral()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	text := []byte("what was sealed")
	sealed := e.Seal([]byte("before"), 7, []byte("ad"), text)[len("before"):]
	if len(sealed) != len(text)+EphemeralOverhead || bytes.Contains(sealed, text) {
		t.Fatalf("sealed is %q", sealed)
	}
	altered := bytes.Clone(sealed)
	altered[3] ^= 1
	for name, c := range map[string]struct {
		key    *Ephemeral
		sealed []byte
		place  uint64
		ad     string
		opens  bool
	}{
		"as it was":     {e, sealed, 7, "ad", true},
		"another key":   {other, sealed, 7, "ad", false},
		"another place": {e, sealed, 8, "ad", false},
		"another ad":    {e, sealed, 7, "da", false},
		"altered":       {e, altered, 7, "ad", false},
		"cut off":       {e, sealed[:5], 7, "ad", false},
		"nothing":       {e, nil, 7, "ad", false},
	} {
		got, err := c.key.Open(bytes.Clone(c.sealed), c.place, []byte(c.ad))
		if c.opens && (err != nil || !bytes.Equal(got, text)) || !c.opens && !errors.Is(err, ErrEphemeral) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
