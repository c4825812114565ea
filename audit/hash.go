package audit

import (
	"crypto/sha256"

	"github.com/transparency-dev/merkle/rfc6962"
)

// usualLeaf is what fits without an allocation: nearly every row.
const usualLeaf = 512

// LeafHash is SHA-256(0x00 || encoded row), RFC 6962 section 2.1. rfc6962.HashLeaf
// gives the same and allocates three times for each row of an entry.
func LeafHash(encoded []byte) [32]byte {
	var in [usualLeaf]byte
	in[0] = rfc6962.RFC6962LeafHashPrefix
	return sha256.Sum256(append(in[:1], encoded...))
}

// hashChildren is SHA-256(0x01 || left || right), as rfc6962.HashChildren.
func hashChildren(left, right []byte) []byte {
	var in [1 + 2*sha256.Size]byte
	in[0] = rfc6962.RFC6962NodeHashPrefix
	hash := sha256.Sum256(append(append(in[:1], left...), right...))
	return hash[:]
}
