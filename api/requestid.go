package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// requestID is the one given, or a new one.
func requestID(given []byte) (id [16]byte, err error) {
	switch len(given) {
	case 0:
		_, err = rand.Read(id[:])
		return id, err
	case len(id):
		return [16]byte(given), nil
	}
	return id, invalid("request_id must be 16 bytes")
}

const maxIdempotencyKey = 255

// idempotencyKey reads the HTTP header: 32 hexadecimal digits (also as a UUID)
// are the id itself; anything else up to 255 bytes stands for its hash.
func idempotencyKey(header string) ([]byte, error) {
	if header == "" {
		return nil, nil
	}
	if len(header) > maxIdempotencyKey {
		return nil, invalid("Idempotency-Key is longer than 255 bytes")
	}
	if id, err := hex.DecodeString(strings.ReplaceAll(header, "-", "")); err == nil && len(id) == 16 {
		return id, nil
	}
	sum := sha256.Sum256([]byte("idempotency-key " + header))
	return sum[:16], nil
}

// traceID is the trace id of a W3C traceparent header; nothing else of it is
// kept.
func traceID(parent string) []byte {
	parts := strings.Split(parent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return nil
	}
	id, err := hex.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	return id
}
