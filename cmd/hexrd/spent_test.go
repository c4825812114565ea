package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// spent is the time of processors that the parts of a benchmark have had.
type spent struct {
	at          time.Time
	node, flood time.Duration
}

func (f *flooded) spent() spent {
	f.t.Helper()
	s := spent{at: time.Now()}
	for _, n := range f.nodes {
		if n.Address == f.node {
			s.node = processor(f.t, n.PID)
		}
	}
	if f.flood != 0 {
		s.flood = processor(f.t, f.flood)
	}
	return s
}

// since is how many processors the node and the flood have had since then.
func (s spent) since(then spent) (node, flood float64) {
	took := s.at.Sub(then.at).Seconds()
	return (s.node - then.node).Seconds() / took, (s.flood - then.flood).Seconds() / took
}

// processor is the user and system time of a process.
func processor(t testing.TB, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	var sum time.Duration
	for _, field := range strings.Fields(rest)[11:13] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
	}
	return sum
}
