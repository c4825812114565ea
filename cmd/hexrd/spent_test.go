package main

import (
	"testing"
	"time"

	"github.com/prometheus/procfs"
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
	p, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(stat.CPUTime() * float64(time.Second))
}
