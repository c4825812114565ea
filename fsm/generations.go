package fsm

// generations is a bounded cache in two halves: what is used moves to the young
// one; when that is full, it becomes the old one, and what was in there is
// forgotten. Not safe for concurrent use.
type generations[K comparable, V any] struct {
	most       int // entries of a generation
	young, old map[K]V
}

func newGenerations[K comparable, V any](most int) *generations[K, V] {
	return &generations[K, V]{most: most, young: map[K]V{}}
}

func (g *generations[K, V]) get(key K) (V, bool) {
	if v, ok := g.young[key]; ok {
		return v, true
	}
	v, ok := g.old[key]
	if ok {
		delete(g.old, key)
		g.add(key, v)
	}
	return v, ok
}

func (g *generations[K, V]) add(key K, v V) {
	if len(g.young) >= g.most {
		g.old, g.young = g.young, make(map[K]V, g.most)
	}
	g.young[key] = v
}

func (g *generations[K, V]) remove(key K) {
	delete(g.young, key)
	delete(g.old, key)
}

// clear forgets everything.
func (g *generations[K, V]) clear() {
	clear(g.young)
	clear(g.old)
}

// lookUp is get by bytes: it copies them only where a value gets young again.
func lookUp[V any](g *generations[string, V], key []byte) (V, bool) {
	if v, ok := g.young[string(key)]; ok {
		return v, true
	}
	if _, ok := g.old[string(key)]; !ok {
		var none V
		return none, false
	}
	return g.get(string(key))
}
