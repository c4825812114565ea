package doorkeeper

import (
	"math/rand/v2"
	"testing"
)

func TestAgain(t *testing.T) {
	d, random := New(), rand.New(rand.NewPCG(1, 2))
	hot := make([]uint64, 1000)
	for i := range hot {
		hot[i] = random.Uint64()
	}
	again := func(hashes []uint64) (n int) {
		for _, h := range hashes {
			if d.Again(h) {
				n++
			}
		}
		return n
	}
	if n := again(hot); n > 0 {
		t.Errorf("%d of %d keys are known that were never asked for", n, len(hot))
	}
	if n := again(hot); n < 950 { // a few have a slot in common
		t.Errorf("%d of %d keys are known again", n, len(hot))
	}
	once := make([]uint64, 10*slots)
	for i := range once {
		once[i] = random.Uint64()
	}
	if n := again(once); n > 5 {
		t.Errorf("%d of %d keys are taken for others", n, len(once))
	}
	if n := again(hot); n > 50 {
		t.Errorf("%d of %d keys are known after %d others", n, len(hot), len(once))
	}
}
