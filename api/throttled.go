package api

import (
	"cmp"
	"slices"
)

const (
	// summarised bounds the callers that are counted between two summaries.
	summarised = 1024
	// summaryRows bounds the rows of one summary; the rest waits for the next.
	summaryRows = 100
)

// Throttled is how many calls of a caller its limits refused.
type Throttled struct {
	Caller string
	Count  uint64
}

// refuse counts a refusal. The limiter's lock is held.
func (l *limiter) refuse(id string) {
	l.count(Throttled{id, 1})
}

// count forgets who is one too many: the metrics have all.
func (l *limiter) count(t Throttled) {
	if _, known := l.refused[t.Caller]; known || len(l.refused) < summarised {
		l.refused[t.Caller] += t.Count
	}
}

// Throttled returns who was refused how often since the last time, those with the
// most first, and forgets what it returns. A node records them in the audit, in
// place of a row for each call.
func (s *Server) Throttled() []Throttled { return s.limits.throttled() }

func (l *limiter) throttled() []Throttled {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Throttled, 0, len(l.refused))
	for id, n := range l.refused {
		all = append(all, Throttled{id, n})
	}
	slices.SortFunc(all, func(a, b Throttled) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Caller, b.Caller))
	})
	all = all[:min(len(all), summaryRows)]
	for _, t := range all {
		delete(l.refused, t.Caller)
	}
	return all
}

// Again gives back what could not be recorded.
func (s *Server) Again(all []Throttled) {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	for _, t := range all {
		s.limits.count(t)
	}
}
