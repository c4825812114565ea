package fsm

// generations is a bounded cache in two halves: what is used moves to the young
// one; when that is full, it becomes the old one, and what was in there is
// forgotten. A look-up copies nothing. Not safe for concurrent use.
type generations[V any] struct {
	most       int // entries of a generation
	young, old map[string]V
}

func newGenerations[V any](most int) *generations[V] {
	return &generations[V]{most: most, young: map[string]V{}}
}

func (g *generations[V]) get(key []byte) (V, bool) {
	if v, ok := g.young[string(key)]; ok {
		return v, true
	}
	v, ok := g.old[string(key)]
	if ok {
		k := string(key)
		delete(g.old, k)
		g.add(k, v)
	}
	return v, ok
}

func (g *generations[V]) add(key string, v V) {
	if len(g.young) >= g.most {
		g.old, g.young = g.young, make(map[string]V, g.most)
	}
	g.young[key] = v
}

func (g *generations[V]) remove(key string) {
	delete(g.young, key)
	delete(g.old, key)
}
