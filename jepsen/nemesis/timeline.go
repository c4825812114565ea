package nemesis

import (
	"slices"
	"sync"
	"time"
)

// Event is something that was done to the cluster, or that it did by itself.
// Times are since the run began.
type Event struct {
	Name   string        `json:"name"`
	Class  string        `json:"class"`
	Detail string        `json:"detail,omitempty"`
	Start  time.Duration `json:"start"`
	End    time.Duration `json:"end"`
	Error  string        `json:"error,omitempty"` // the fault could not be had as it was meant
}

// Timeline collects events. Its methods are safe for concurrent use.
type Timeline struct {
	Now func() time.Duration

	mu     sync.Mutex
	events []Event
}

// Add keeps an event.
func (t *Timeline) Add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

// Mark keeps an event of this moment.
func (t *Timeline) Mark(class, name, detail string) {
	at := t.Now()
	t.Add(Event{Class: class, Name: name, Detail: detail, Start: at, End: at})
}

// Events in the order of their starts.
func (t *Timeline) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := slices.Clone(t.events)
	slices.SortStableFunc(out, func(a, b Event) int { return int(a.Start - b.Start) })
	return out
}
