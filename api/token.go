package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
)

const (
	tokenPrefix = "hexr-join-"
	tokenBytes  = 32
)

var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

var errToken = errors.New("not a join token: it begins with " + tokenPrefix + "; make one with `hexrd token create NODE-ID`")

// newToken makes a join token of 256 random bits. Only its hash is kept.
func newToken() (string, error) {
	b := make([]byte, tokenBytes)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return tokenPrefix + tokenText.EncodeToString(b), nil
}

// TokenHash is what the cluster knows a join token by.
func TokenHash(token string) ([32]byte, error) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	b, err := tokenText.DecodeString(text)
	if !ok || err != nil || len(b) != tokenBytes {
		return [32]byte{}, errToken
	}
	return sha256.Sum256([]byte(token)), nil
}
