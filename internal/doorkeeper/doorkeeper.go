// Package doorkeeper tells what is asked for again from what is asked for once: a
// cache that admits only the first kind keeps what is hot, and costs little where
// nothing is. It is the doorkeeper of TinyLFU (Einziger, Friedman, Manes, "TinyLFU: A
// Highly Efficient Cache Admission Policy", 2017), with a table of tags for its Bloom
// filter: what is new takes the place of what was there, so nothing is ever reset.
package doorkeeper

import "sync/atomic"

// slots is how many keys are remembered at most, in four bytes each.
const slots = 1 << 16

// Doorkeeper is safe for concurrent use.
type Doorkeeper struct{ seen [slots]atomic.Uint32 }

// New doorkeeper, that has seen nothing.
func New() *Doorkeeper { return &Doorkeeper{} }

// Again reports whether the key of that hash was asked for lately; from now on it was.
// Now and then it takes one key for another. A hash is of 64 even bits.
func (d *Doorkeeper) Again(hash uint64) bool {
	slot, tag := &d.seen[hash%slots], uint32(hash>>32)|1 // never 0, which is of no key
	if slot.Load() == tag {
		return true
	}
	slot.Store(tag)
	return false
}
