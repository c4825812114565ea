package check

import (
	"github.com/hexrdev/hexrd/jepsen/history"
)

// Versions looks at each secret that is never deleted: every acknowledged version
// is another one, has its own value for ever, and is in every list of versions
// that is asked for later, without gaps and in order.
func Versions(e *Evidence) Result {
	r := Result{Name: "versions"}
	secrets := map[string]*numbered{}
	for i := range e.Ops {
		o := &e.Ops[i]
		if o.Workload != "versions" || o.Outcome == history.Refused {
			continue
		}
		r.Checked++
		s := secrets[o.Path]
		if s == nil {
			s = &numbered{acked: map[uint64]*history.Op{}, unknown: map[string]*history.Op{}}
			secrets[o.Path] = s
		}
		s.add(&r, o)
	}
	for _, path := range sortedKeys(secrets) {
		for _, o := range secrets[path].reads {
			secrets[path].read(&r, o)
		}
	}
	return r
}

type numbered struct {
	acked   map[uint64]*history.Op // puts, by version
	unknown map[string]*history.Op // puts, by value
	reads   []*history.Op
}

func (s *numbered) add(r *Result, o *history.Op) {
	switch {
	case o.Kind == history.Put && o.Outcome == history.OK:
		if other := s.acked[o.Version]; other != nil {
			r.problem("version %d of %s is %s's and %s's", o.Version, o.Path, name(other), name(o))
		}
		s.acked[o.Version] = o
	case o.Kind == history.Put:
		s.unknown[o.Value] = o
	case o.Outcome == history.OK:
		s.reads = append(s.reads, o)
	}
}

func (s *numbered) read(r *Result, o *history.Op) {
	if o.Kind == history.Versions {
		s.list(r, o)
		return
	}
	put := s.acked[o.Version]
	if put == nil {
		put = s.unknown[o.Got]
	}
	switch {
	case o.Asked != 0 && o.Asked != o.Version:
		r.problem("%s asked for version %d and got %d", name(o), o.Asked, o.Version)
	case put == nil || put.Value != o.Got:
		r.problem("%s: version %d has a value that nobody put there", name(o), o.Version)
	case put.Start > o.End:
		r.problem("%s got what %s put only later", name(o), name(put))
	}
}

func (s *numbered) list(r *Result, o *history.Op) {
	shown := map[uint64]bool{}
	for i, item := range o.Items {
		shown[item.Version] = true
		if i > 0 && item.Version != o.Items[i-1].Version+1 {
			r.problem("%s: version %d stands behind %d", name(o), item.Version, o.Items[i-1].Version)
		}
		if item.Hidden || item.Current != (i == len(o.Items)-1) {
			r.problem("%s: version %d is not what it must be: current %t, hidden %t", name(o), item.Version, item.Current, item.Hidden)
		}
	}
	first := uint64(0)
	if len(o.Items) > 0 {
		first = o.Items[0].Version
	}
	for v, put := range s.acked {
		if put.End < o.Start && v >= first && !shown[v] {
			r.problem("%s lacks version %d of %s", name(o), v, name(put))
		}
		if put.Start > o.End && shown[v] {
			r.problem("%s shows version %d, which %s put only later", name(o), v, name(put))
		}
	}
}
