package check

import (
	"testing"
	"time"

	"github.com/hexrdev/hexrd/jepsen/history"
)

// at makes an operation of a workload that lasts from one millisecond to another.
func at(from, to int, o history.Op) history.Op {
	o.Start, o.End, o.Caller = time.Duration(from)*time.Millisecond, time.Duration(to)*time.Millisecond, agent
	if o.Outcome == "" {
		o.Outcome = history.OK
	}
	return o
}

func TestList(t *testing.T) {
	put := func(from, to int, version uint64, outcome history.Outcome) history.Op {
		return at(from, to, history.Op{Workload: "list", Kind: history.Put, Path: "d/a", Version: version, Outcome: outcome})
	}
	gone := func(from, to int, outcome history.Outcome) history.Op {
		return at(from, to, history.Op{Workload: "list", Kind: history.Delete, Path: "d/a", Outcome: outcome})
	}
	shows := func(versions ...uint64) []history.Item {
		items := []history.Item{}
		for _, v := range versions {
			items = append(items, history.Item{Path: "d/a", Version: v})
		}
		return items
	}
	for what, c := range map[string]struct {
		before []history.Op
		items  []history.Item
		finds  string // empty: nothing
	}{
		"shown":                  {[]history.Op{put(1, 2, 1, "")}, shows(1), ""},
		"lost":                   {[]history.Op{put(1, 2, 1, "")}, nil, "lacks"},
		"perhaps deleted":        {[]history.Op{put(1, 2, 1, ""), gone(3, 4, history.Unknown)}, nil, ""},
		"perhaps deleted, shown": {[]history.Op{put(1, 2, 1, ""), gone(3, 4, history.Unknown)}, shows(1), ""},
		"deleted":                {[]history.Op{put(1, 2, 1, ""), gone(3, 4, "")}, nil, ""},
		"deleted, shown":         {[]history.Op{put(1, 2, 1, ""), gone(3, 4, "")}, shows(1), "deleted before"},
		"put beside its delete":  {[]history.Op{put(1, 9, 1, history.Unknown), gone(3, 4, "")}, shows(1), ""},
		"put again":              {[]history.Op{put(1, 2, 1, ""), gone(3, 4, ""), put(5, 6, 2, "")}, shows(2), ""},
		"stale version":          {[]history.Op{put(1, 2, 1, ""), put(3, 4, 2, "")}, shows(1), "2 to 2 are possible"},
		"version of nobody":      {[]history.Op{put(1, 2, 1, "")}, shows(2), "1 to 1 are possible"},
		"in flight, shown":       {[]history.Op{put(1, 12, 1, "")}, shows(1), ""},
		"in flight, not shown":   {[]history.Op{put(1, 12, 1, "")}, nil, ""},
		"later, shown":           {[]history.Op{put(25, 26, 1, "")}, shows(1), "deleted before"},
		"of nobody":              {nil, shows(1), "nobody put"},
		"twice":                  {[]history.Op{put(1, 2, 1, "")}, shows(1, 1), "twice"},
	} {
		t.Run(what, func(t *testing.T) {
			list := at(10, 20, history.Op{Workload: "list", Kind: history.List, Path: "d/", Items: c.items})
			r := List(&Evidence{Ops: append(c.before, list)})
			if c.finds == "" {
				clean(t, r)
				return
			}
			finds(t, r, c.finds)
		})
	}
}

func TestVersions(t *testing.T) {
	put := func(from, to int, version uint64, value string, outcome history.Outcome) history.Op {
		return at(from, to, history.Op{Workload: "versions", Kind: history.Put, Path: "p", Version: version, Value: value, Outcome: outcome})
	}
	get := func(asked, version uint64, value string) history.Op {
		return at(20, 30, history.Op{Workload: "versions", Kind: history.Get, Path: "p", Asked: asked, Version: version, Got: value})
	}
	list := func(versions ...uint64) history.Op {
		o := at(20, 30, history.Op{Workload: "versions", Kind: history.Versions, Path: "p"})
		for i, v := range versions {
			o.Items = append(o.Items, history.Item{Version: v, Current: i == len(versions)-1})
		}
		return o
	}
	one, two, lost := put(1, 2, 1, "a", ""), put(3, 4, 2, "b", ""), put(5, 6, 0, "c", history.Unknown)
	later := put(40, 41, 3, "d", "")
	for what, c := range map[string]struct {
		ops   []history.Op
		finds string
	}{
		"right":            {[]history.Op{one, two, list(1, 2), get(1, 1, "a")}, ""},
		"applied":          {[]history.Op{one, two, lost, list(1, 2, 3), get(3, 3, "c")}, ""},
		"one number twice": {[]history.Op{one, put(3, 4, 1, "b", "")}, "version 1 of p is"},
		"one lost":         {[]history.Op{one, two, list(1)}, "lacks version 2"},
		"a gap":            {[]history.Op{one, two, later, list(1, 3)}, "stands behind"},
		"pruned":           {[]history.Op{one, two, list(2)}, ""},
		"other value":      {[]history.Op{one, two, get(1, 1, "b")}, "nobody put there"},
		"other version":    {[]history.Op{one, two, get(1, 2, "b")}, "asked for version 1"},
		"of the future":    {[]history.Op{one, two, later, list(1, 2, 3)}, "only later"},
	} {
		t.Run(what, func(t *testing.T) {
			r := Versions(&Evidence{Ops: c.ops})
			if c.finds == "" {
				clean(t, r)
				return
			}
			finds(t, r, c.finds)
		})
	}
}
