package fsm

import (
	"encoding/binary"

	"github.com/hexrdev/hexrd/seal"
)

// opaqueGeneration is how many keys a generation of the cache holds; of the last
// two, some MiB.
const opaqueGeneration = 8 << 10

// opaqueCache remembers opaque keys: each is an HMAC, and an access needs several,
// mostly the same as the one before it. Not safe for concurrent use.
type opaqueCache struct {
	young, old map[string][32]byte
	scratch    []byte
}

func newOpaqueCache() *opaqueCache { return &opaqueCache{young: map[string][32]byte{}} }

// get is keys.Opaque.
func (c *opaqueCache) get(keys *seal.Keyring, domain string, parts ...string) [32]byte {
	in := append(c.scratch[:0], domain...)
	for _, p := range parts {
		in = append(binary.BigEndian.AppendUint32(in, uint32(len(p))), p...)
	}
	c.scratch = in
	if key, ok := c.young[string(in)]; ok { // without a copy of in
		return key
	}
	key, ok := c.old[string(in)]
	if !ok {
		key = keys.Opaque(domain, parts...)
	}
	if len(c.young) >= opaqueGeneration {
		c.old, c.young = c.young, make(map[string][32]byte, opaqueGeneration)
	}
	c.young[string(in)] = key
	return key
}
