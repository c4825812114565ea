package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// opaqueMAC is an HMAC with room for what it reads and gives: nothing of a call is
// allocated.
type opaqueMAC struct {
	hash.Hash
	scratch []byte
}

func newOpaqueMAC(key []byte) *opaqueMAC {
	return &opaqueMAC{hmac.New(sha256.New, key), make([]byte, 0, 512)}
}

// Opaque turns what must not be readable on disk into a key: an HMAC-SHA-256
// over the domain and the parts, each with its length before it. Equal input
// gives the same key on every node and for ever.
func (k *Keyring) Opaque(domain string, parts ...string) [32]byte {
	mac := k.macs.Get().(*opaqueMAC)
	defer k.macs.Put(mac)
	mac.Reset()
	in := appendPart(mac.scratch[:0], domain)
	for _, p := range parts {
		in = appendPart(in, p)
	}
	mac.Write(in)
	mac.scratch = mac.Sum(in[:0])
	return [32]byte(mac.scratch)
}

func appendPart(in []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint32(in, uint32(len(part))), part...)
}
