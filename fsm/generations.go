package fsm

import "github.com/hexrdev/hexrd/internal/doorkeeper"

// generations is a bounded cache in two halves: what is used moves to the young
// one; when that is full, it becomes the old one, and what was in there is
// forgotten. Not safe for concurrent use.
type generations[K comparable, V any] struct {
	most       int         // weight of a generation
	weigh      func(V) int // positive; nil: each is 1
	held       int         // weight of the young one
	young, old map[K]weighed[V]
	door       *doorkeeper.Doorkeeper // of what is offered; nil: nothing was
}

type weighed[V any] struct {
	value  V
	weight int
}

func newGenerations[K comparable, V any](most int, weigh func(V) int) *generations[K, V] {
	return &generations[K, V]{most: most, weigh: weigh, young: map[K]weighed[V]{}}
}

func (g *generations[K, V]) weight(v V) int {
	if g.weigh == nil {
		return 1
	}
	return g.weigh(v)
}

func (g *generations[K, V]) get(key K) (V, bool) {
	if v, ok := g.young[key]; ok {
		return v.value, true
	}
	v, ok := g.old[key]
	if ok {
		g.add(key, v.value)
	}
	return v.value, ok
}

// add forgets at once what is heavier than a generation.
func (g *generations[K, V]) add(key K, v V) {
	g.remove(key)
	w := g.weight(v)
	if w > g.most {
		return
	}
	if g.held+w > g.most {
		g.old, g.young, g.held = g.young, make(map[K]weighed[V], len(g.young)), 0
	}
	g.young[key] = weighed[V]{v, w}
	g.held += w
}

// offer adds what is offered again, by a hash of its key: of a large store most is
// asked for once.
func (g *generations[K, V]) offer(hash uint64, key K, v V) {
	if g.door == nil {
		g.door = doorkeeper.New()
	}
	if g.door.Again(hash) {
		g.add(key, v)
	}
}

func (g *generations[K, V]) remove(key K) {
	if v, ok := g.young[key]; ok {
		g.held -= v.weight
		delete(g.young, key)
	}
	delete(g.old, key)
}

// clear forgets everything.
func (g *generations[K, V]) clear() {
	g.held = 0
	clear(g.young)
	clear(g.old)
}

// lookUp is get by bytes: it copies them only where a value gets young again.
func lookUp[V any](g *generations[string, V], key []byte) (V, bool) {
	if v, ok := g.young[string(key)]; ok {
		return v.value, true
	}
	if _, ok := g.old[string(key)]; !ok {
		var none V
		return none, false
	}
	return g.get(string(key))
}
