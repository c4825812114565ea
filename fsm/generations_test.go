package fsm

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// The cache answers as a map does, or not at all, and never holds more than two
// generations, in whatever it weighs.
func TestGenerations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 4
		weigh := rapid.SampledFrom([]func(int) int{nil, func(v int) int { return 1 + v%(most+1) }}).Draw(t, "weigh")
		g, model := newGenerations[string](most, weigh), map[string]int{}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.IntRange(0, 12).Draw(t, "key")
			key := strconv.Itoa(n)
			switch rapid.SampledFrom([]string{"add", "offer", "get", "remove", "clear"}).Draw(t, "op") {
			case "offer": // of what is not there
				if _, ok := lookUp(g, []byte(key)); !ok {
					g.offer(uint64(n), key, i)
					model[key] = i
				}
			case "add":
				g.add(key, i)
				model[key] = i
			case "remove":
				g.remove(key)
				delete(model, key)
			case "clear":
				g.clear()
				clear(model)
			}
			v, ok := lookUp(g, []byte(key))
			if want, known := model[key]; ok && (!known || v != want) {
				t.Fatalf("%s is %d, not %d (%v)", key, v, want, known)
			}
			if young, old := weightIn(g, g.young), weightIn(g, g.old); young != g.held || young > most || old > most {
				t.Fatalf("%d (%d) and %d are held", young, g.held, old)
			}
		}
	})
	g := newGenerations[string, int](2, nil)
	for i := range 3 {
		g.add(strconv.Itoa(i), i)
	}
	if v, ok := lookUp(g, []byte("0")); !ok || v != 0 {
		t.Error("the generation before is forgotten")
	}
	for _, again := range []bool{false, true} {
		g.offer(7, "offered", 7)
		if _, ok := lookUp(g, []byte("offered")); ok != again {
			t.Errorf("what is offered is held: %t", ok)
		}
	}
}

func weightIn(g *generations[string, int], half map[string]weighed[int]) (sum int) {
	for _, v := range half {
		sum += g.weight(v.value)
	}
	return sum
}
