package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math/big"
)

// Alphanumeric is the alphabet of passwords where none is given.
const Alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

const (
	minPassword = 8
	minKey      = 16
	maxRandom   = 1 << 16
)

// Generator makes a new value for a secret.
type Generator func(context.Context) ([]byte, error)

// Password makes passwords of so many characters, each of them drawn evenly from
// the alphabet; empty: Alphanumeric.
func Password(length int, alphabet string) Generator {
	if alphabet == "" {
		alphabet = Alphanumeric
	}
	return func(context.Context) ([]byte, error) {
		letters := []rune(alphabet)
		if err := checkAlphabet(letters); err != nil {
			return nil, err
		}
		if length < minPassword || length > maxRandom {
			return nil, fmt.Errorf("%w: a password has from %d to %d characters", ErrInvalid, minPassword, maxRandom)
		}
		out := make([]byte, 0, length)
		for range length {
			n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
			if err != nil {
				return nil, err
			}
			out = append(out, string(letters[n.Int64()])...)
		}
		return out, nil
	}
}

func checkAlphabet(letters []rune) error {
	seen := map[rune]bool{}
	for _, r := range letters {
		if seen[r] {
			return fmt.Errorf("%w: a character stands twice in the alphabet", ErrInvalid)
		}
		seen[r] = true
	}
	if len(letters) < 2 {
		return fmt.Errorf("%w: the alphabet has fewer than 2 characters", ErrInvalid)
	}
	return nil
}

// Key makes keys of so many random bytes, as URL-safe base64 without padding.
func Key(bytes int) Generator {
	return func(ctx context.Context) ([]byte, error) {
		raw, err := RawKey(bytes)(ctx)
		if err != nil {
			return nil, err
		}
		return base64.RawURLEncoding.AppendEncode(nil, raw), nil
	}
}

// RawKey makes keys of so many random bytes, as they are.
func RawKey(bytes int) Generator {
	return func(context.Context) ([]byte, error) {
		if bytes < minKey || bytes > maxRandom {
			return nil, fmt.Errorf("%w: a key has from %d to %d bytes", ErrInvalid, minKey, maxRandom)
		}
		raw := make([]byte, bytes)
		_, err := rand.Read(raw)
		return raw, err
	}
}
