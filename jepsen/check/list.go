package check

import (
	"strings"
	"time"

	"github.com/hexrdev/hexrd/jepsen/history"
)

// List holds each list of the list workload against what was put and deleted: what
// was there for certain all the time is in it, what can't have been there is not,
// and versions are possible ones.
func List(e *Evidence) Result {
	r := Result{Name: "list"}
	paths := map[string][]*history.Op{}
	var lists []*history.Op
	for i := range e.Ops {
		o := &e.Ops[i]
		switch {
		case o.Workload != "list" || o.Outcome == history.Refused:
		case o.Mutation():
			paths[o.Path] = append(paths[o.Path], o)
		case o.Outcome == history.OK:
			lists = append(lists, o)
		}
	}
	for _, l := range lists {
		r.Checked++
		listed(&r, l, paths)
	}
	return r
}

func listed(r *Result, l *history.Op, paths map[string][]*history.Op) {
	shown := map[string]uint64{}
	for _, item := range l.Items {
		if _, twice := shown[item.Path]; twice {
			r.problem("%s shows %s twice", name(l), item.Path)
		}
		shown[item.Path] = item.Version
	}
	for path := range shown {
		if len(paths[path]) == 0 {
			r.problem("%s shows %s, which nobody put", name(l), path)
		}
	}
	for path, ops := range paths {
		if !strings.HasPrefix(path, l.Path) {
			continue
		}
		w := window(ops, l)
		version, is := shown[path]
		switch {
		case is && !w.mayBeThere:
			r.problem("%s shows %s, which was deleted before", name(l), path)
		case !is && w.mustBeThere:
			r.problem("%s lacks %s, version %d", name(l), path, w.least)
		case is && (version < w.least || version > w.most):
			r.problem("%s shows version %d of %s, %d to %d are possible", name(l), version, path, w.least, w.most)
		}
	}
}

// seen is what a list may show of a path.
type seen struct {
	mayBeThere, mustBeThere bool
	least, most             uint64 // version
}

// window looks at what had ended before the list began, and at what had begun
// before it ended.
func window(ops []*history.Op, l *history.Op) seen {
	var s seen
	var put, gone *history.Op // of the decided ones that had ended before, those that ended last
	started := uint64(0)      // puts, each of which makes one version at most
	for _, o := range ops {
		if o.Start > l.End {
			continue
		}
		if o.Kind == history.Put && (o.Outcome == history.OK || !o.Decided()) {
			started++
		}
		if o.Outcome != history.OK || o.End > l.Start {
			continue
		}
		if o.Kind == history.Put {
			s.least = max(s.least, o.Version)
			put = later(put, o)
		} else {
			gone = later(gone, o)
		}
	}
	s.most = started
	s.mustBeThere = put != nil && !effective(ops, l, history.Delete, put.Start)
	s.mayBeThere = effective(ops, l, history.Put, 0) && (gone == nil || effective(ops, l, history.Put, gone.Start))
	return s
}

func later(a, b *history.Op) *history.Op {
	if a == nil || b.End > a.End {
		return b
	}
	return a
}

// effective: one of a kind may have taken effect after that time, and before the list's
// end.
func effective(ops []*history.Op, l *history.Op, kind string, after time.Duration) bool {
	for _, o := range ops {
		effect := o.Outcome == history.OK || !o.Decided()
		if o.Kind == kind && effect && o.Start <= l.End && (o.End >= after || !o.Decided()) {
			return true
		}
	}
	return false
}
