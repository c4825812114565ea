package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// BenchmarkAccess is the cost of one access in an entry of some.
func BenchmarkAccess(b *testing.B) {
	const agents, paths = 64, 16
	caller := func(i int) string { return fmt.Sprintf("spiffe://hexr.cloud/agent/acme/agent-%d/main", i%agents) }
	scope := func(i int) string { return fmt.Sprintf("spiffe://hexr.cloud/agent/acme/agent-%d/*", i%agents) }
	path := func(i int) string { return fmt.Sprintf("bench/%07d", i/agents%paths) }
	value := strings.Repeat("v", 1024)
	ops := map[string]func(i int) *fsmpb.Access{
		"get": func(i int) *fsmpb.Access { return get(path(i), "", 0) },
		"put": func(i int) *fsmpb.Access { return put(path(i), scope(i), value) },
	}
	for _, op := range []string{"get", "put"} {
		for _, batch := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", op, batch), func(b *testing.B) {
				c := newCluster(b)
				for i := range agents * paths {
					c.one(caller(i), put(path(i), scope(i), value), fsmpb.Outcome_OUTCOME_GRANTED)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; {
					b.StopTimer()
					accesses := make([]*fsmpb.Access, batch)
					for j := range accesses {
						accesses[j] = c.access(caller(i*7+j), ops[op](i*7+j))
					}
					c.index++
					c.now++
					entry := c.entry(accesses...)
					b.StartTimer()
					if _, err := c.store.Apply(c.index, 1, entry, true); err != nil {
						b.Fatal(err)
					}
					i += batch
				}
			})
		}
	}
}
