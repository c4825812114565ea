package seal

import (
	"encoding/binary"
	"hash"
)

// Opaque turns what must not be readable on disk into a key: an HMAC-SHA-256
// over the domain and the parts, each with its length before it. Equal input
// gives the same key on every node and for ever.
func (k *Keyring) Opaque(domain string, parts ...string) [32]byte {
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	mac.Reset()
	var scratch [256]byte
	writePart(mac, scratch[:0], domain)
	for _, p := range parts {
		writePart(mac, scratch[:0], p)
	}
	var out [32]byte
	mac.Sum(out[:0])
	return out
}

func writePart(mac hash.Hash, scratch []byte, part string) {
	scratch = binary.BigEndian.AppendUint32(scratch, uint32(len(part)))
	scratch = append(scratch, part...)
	mac.Write(scratch)
}
