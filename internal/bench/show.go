package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Show prints a result for people.
func Show(w io.Writer, r Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s, %d workers over %d connections of %d identities, %d secrets of %d bytes\n",
		r.Workload, r.Target, r.Workers, r.Connections, r.Identities, r.Secrets, r.ValueSize)
	fmt.Fprintf(&b, "operations  %d in %.1f s, %.0f/s\n", r.Operations, r.Seconds, r.PerSecond)
	l := r.Latency
	fmt.Fprintf(&b, "latency     p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n", micro(l.P50), micro(l.P90), micro(l.P99), micro(l.P999), micro(l.Max))
	if len(r.Errors) == 0 {
		fmt.Fprintln(&b, "errors      none")
	}
	for _, why := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, "errors      %d %s\n", r.Errors[why], why)
	}
	if s := r.Servers; s != nil {
		fmt.Fprintf(&b, "servers     %.3f s CPU and %.1f MiB allocated for 1,000 operations, %.0f MiB resident at most\n", s.CPU, s.Alloc/(1<<20), s.Resident/(1<<20))
		fmt.Fprintf(&b, "            %.0f allocations, %.3f log syncs of the leader and %.3f log entries for an operation\n", s.Mallocs, s.Syncs, s.Entries)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func micro(us int64) string { return (time.Duration(us) * time.Microsecond).String() }
