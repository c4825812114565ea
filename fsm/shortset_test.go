package fsm

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is added and removed, and however the keys lie: the set has what a map has.
func TestShortSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model := &shortSet{}, map[uint64]bool{}
		key := rapid.Custom(func(t *rapid.T) uint64 {
			b := make([]byte, 5)
			b[0] = byte(rapid.IntRange(0, 1).Draw(t, "table"))
			binary.BigEndian.PutUint32(b[1:], rapid.OneOf(rapid.Uint32Range(0, 70), rapid.Uint32Range(1<<16-4, 1<<16+4), rapid.Uint32()).Draw(t, "slot"))
			return short(b)
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for _, k := range rapid.SliceOfN(key, 1, 60).Draw(t, "keys") {
					if s.add(k) == model[k] {
						t.Fatalf("%x was there: %v", k, model[k])
					}
					model[k] = true
				}
			},
			"remove": func(t *rapid.T) {
				for _, k := range rapid.SliceOfN(key, 1, 60).Draw(t, "keys") {
					s.remove(k)
					delete(model, k)
				}
			},
			"remove what is there": func(t *rapid.T) {
				for k := range model {
					if k%3 != 0 {
						s.remove(k)
						delete(model, k)
					}
				}
			},
			"": func(t *rapid.T) {
				if s.held != len(model) {
					t.Fatalf("it holds %d keys, not %d", s.held, len(model))
				}
				for k := range model {
					if !s.has(k) {
						t.Fatalf("%x is missing", k)
					}
				}
				if k := key.Draw(t, "any"); s.has(k) != model[k] {
					t.Fatalf("%x is there: %v", k, s.has(k))
				}
			},
		})
	})
}

// A table that held much gives back what it does not need.
func TestShortSetShrinks(t *testing.T) {
	s := &shortSet{}
	const many = 10_000
	for k := range uint64(many) {
		s.add(k + 1)
	}
	if n := len(s.tables[0].slots); n < many || n > 4*many {
		t.Errorf("%d keys have %d slots", many, n)
	}
	for k := range uint64(many) {
		s.remove(k + 1)
	}
	if n := len(s.tables[0].slots); n != shortLeast || s.held != 0 {
		t.Errorf("no key has %d slots, and counts as %d", n, s.held)
	}
}
