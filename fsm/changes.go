package fsm

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// Place is a place among the changes: behind the change of that number in the
// entry at that raft index. It means the same on every node.
type Place struct {
	Index  uint64
	Number uint32
}

// wholeEntry is the number that stands for all changes of an entry.
const wholeEntry = math.MaxUint32

// PlaceAfter is behind everything that the entry at an index changed.
func PlaceAfter(index uint64) Place { return Place{index, wholeEntry} }

func placeOf(p *fsmpb.Position) Place { return Place{p.GetIndex(), p.GetNumber()} }

// Before reports whether p comes before o.
func (p Place) Before(o Place) bool { return p.compare(o) < 0 }

func (p Place) compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Index, o.Index), cmp.Compare(p.Number, o.Number))
}

// String is INDEX, or INDEX.NUMBER within an entry.
func (p Place) String() string {
	if p.Number == wholeEntry {
		return strconv.FormatUint(p.Index, 10)
	}
	return strconv.FormatUint(p.Index, 10) + "." + strconv.FormatUint(uint64(p.Number), 10)
}

// ParsePlace is the inverse of String, or ErrPlace.
func ParsePlace(s string) (Place, error) {
	first, second, within := strings.Cut(s, ".")
	index, err := strconv.ParseUint(first, 10, 64)
	p := PlaceAfter(index)
	if err == nil && within {
		var n uint64
		n, err = strconv.ParseUint(second, 10, 32)
		p.Number = uint32(n)
	}
	if err != nil || p.String() != s {
		return Place{}, ErrPlace
	}
	return p, nil
}

// ChangeQuery selects changes: of these scopes, behind a place, of the entries up
// to an index that is applied.
type ChangeQuery struct {
	Scopes []string
	After  Place
	Upto   uint64
	Limit  int
}

// ChangePage is a page of changes in the order in which they took effect; Next is
// the place behind them and behind all that was looked at.
type ChangePage struct {
	Changes []*fsmpb.Change
	Next    Place
	More    bool // there are more up to Upto
	Gap     bool // some behind After are not kept any more: there are no Changes then
}

// Changes returns a page. It costs what it returns, whatever else changed.
func (s *Store) Changes(_ context.Context, q ChangeQuery) (ChangePage, error) {
	page := ChangePage{Next: PlaceAfter(q.Upto)}
	if page.Next.Before(q.After) {
		return ChangePage{Next: q.After}, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ChangePage{}, ErrClosed
	}
	snapshot := s.db.NewSnapshot()
	defer func() { _ = snapshot.Close() }()
	r := reader{snapshot, s.codec}
	for _, scope := range q.Scopes {
		key := s.codec.keys.Opaque("changes", scope)
		changes, gap, err := r.changesOf(key[:], q)
		if err != nil {
			return ChangePage{}, err
		}
		if gap {
			return ChangePage{Next: page.Next, Gap: true}, nil
		}
		page.Changes = append(page.Changes, changes...)
	}
	slices.SortFunc(page.Changes, func(a, b *fsmpb.Change) int {
		return placeOf(a.GetPosition()).compare(placeOf(b.GetPosition()))
	})
	if len(page.Changes) > q.Limit {
		page.Changes, page.More = page.Changes[:q.Limit], true
		page.Next = placeOf(page.Changes[q.Limit-1].GetPosition())
	}
	return page, nil
}

// changesOf reads up to Limit+1 changes of one scope; gap: the first of them are
// gone.
func (r reader) changesOf(key []byte, q ChangeQuery) (changes []*fsmpb.Change, gap bool, err error) {
	var log fsmpb.ChangeLog
	found, err := r.get(tableLog, key, &log)
	if err != nil || !found || !q.After.Before(placeOf(log.GetLast())) {
		return nil, false, err
	}
	if log.GetTrimmed() != nil && q.After.Before(placeOf(log.GetTrimmed())) {
		return nil, true, nil
	}
	first, err := r.firstAfter(key, &log, q.After)
	if err != nil {
		return nil, false, err
	}
	for n := first; n < log.GetNext() && len(changes) <= q.Limit; n++ {
		c, err := r.change(key, n)
		if err != nil {
			return nil, false, err
		}
		if c.GetPosition().GetIndex() > q.Upto {
			break
		}
		changes = append(changes, c)
	}
	return changes, false, nil
}

// firstAfter finds the first change behind a place: near the end most often, so
// it gallops from there.
func (r reader) firstAfter(key []byte, log *fsmpb.ChangeLog, after Place) (uint64, error) {
	low, high := log.GetFirst(), log.GetNext() // changes below low are not behind it, from high on they are
	for step := uint64(1); low < high; step *= 2 {
		n := high - min(step, high-low)
		c, err := r.change(key, n)
		if err != nil {
			return 0, err
		}
		if !after.Before(placeOf(c.GetPosition())) {
			low = n + 1
			break
		}
		high = n
	}
	for low < high {
		middle := low + (high-low)/2
		c, err := r.change(key, middle)
		if err != nil {
			return 0, err
		}
		if after.Before(placeOf(c.GetPosition())) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low, nil
}

func (r reader) change(key []byte, n uint64) (*fsmpb.Change, error) {
	c := &fsmpb.Change{}
	found, err := r.get(tableChange, changeKey(key, n), c)
	if err == nil && !found {
		err = fmt.Errorf("%w: a change is missing", ErrCorrupt)
	}
	return c, err
}
