package node

import (
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// Gets and puts are answered before the store shows their entry; whoever reads the store
// after anything else finds it there.
func TestEarly(t *testing.T) {
	get := &fsmpb.Access{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{}}}
	put := &fsmpb.Access{Op: &fsmpb.Access_Put{Put: &fsmpb.Put{}}}
	list := &fsmpb.Access{Op: &fsmpb.Access_List{List: &fsmpb.List{}}}
	for _, c := range []struct {
		accesses []*fsmpb.Access
		early    bool
	}{
		{[]*fsmpb.Access{get}, true},
		{[]*fsmpb.Access{put, get}, true},
		{[]*fsmpb.Access{list}, false},
		{[]*fsmpb.Access{get, put, list}, false},
		{[]*fsmpb.Access{get, {}}, false},
	} {
		var got decided
		decide := early(&fsmpb.Entry{Accesses: c.accesses}, func(d decided) { got = d })
		if (decide != nil) != c.early {
			t.Errorf("%v: early %v", c.accesses, decide != nil)
			continue
		}
		if results := []*fsmpb.Result{{Row: 3}}; decide != nil {
			if decide(7, results); got.index != 7 || len(got.results) != 1 || got.err != nil {
				t.Errorf("%v is answered with %v", c.accesses, got)
			}
		}
	}
}
