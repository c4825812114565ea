package fsm

import (
	"encoding/binary"

	"github.com/hexrdev/hexrd/seal"
)

// opaqueGeneration is how many keys a generation of the cache holds; of the last
// two, some MiB.
const opaqueGeneration = 8 << 10

// opaqueCache remembers opaque keys: each is an HMAC, and an access needs several,
// mostly the same as the one before it. It takes in what is asked for again. Not safe
// for concurrent use.
type opaqueCache struct {
	known   *generations[string, [32]byte]
	scratch []byte
}

func newOpaqueCache() *opaqueCache {
	return &opaqueCache{known: newGenerations[string, [32]byte](opaqueGeneration, nil)}
}

// get is keys.Opaque.
func (c *opaqueCache) get(keys *seal.Keyring, domain string, parts ...string) [32]byte {
	in := append(c.scratch[:0], domain...)
	for _, p := range parts {
		in = append(binary.BigEndian.AppendUint32(in, uint32(len(p))), p...)
	}
	c.scratch = in
	key, ok := lookUp(c.known, in)
	if !ok {
		key = keys.Opaque(domain, parts...)
		c.known.offer(binary.BigEndian.Uint64(key[:]), string(in), key)
	}
	return key
}
