package cluster

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// holdTime is how long who is refused waits for it, at least, and holdLongest at
	// most: who comes again at once would cost a connection and a hello each time.
	holdTime    = time.Second
	holdLongest = 4 * time.Second
	heldMost    = 1024
)

// holds keep connections that are refused open for a while. Those of one source end
// one after the other, at its pace: hundreds that were refused together would come
// again together, and what they cost in a burst all others would wait for.
type holds struct {
	gap   time.Duration // between two ends of one source
	slots chan struct{}

	mu   sync.Mutex
	last *lru.Cache[string, time.Time] // the last end of each source
}

func newHolds(limits Limits) (*holds, error) {
	last, err := lru.New[string, time.Time](pacedSources)
	return &holds{
		gap: time.Second / time.Duration(limits.HandshakeRate), last: last,
		slots: make(chan struct{}, min(heldMost, max(1, limits.Connections/4))),
	}, err
}

// hold waits until it is the source's turn to be refused, or ctx ends; where too many
// wait, it does not. begin is called before it waits.
func (h *holds) hold(ctx context.Context, source string, begin func()) {
	select {
	case h.slots <- struct{}{}:
	default:
		return
	}
	defer func() { <-h.slots }()
	begin()
	timer := time.NewTimer(time.Until(h.end(source, time.Now())))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// end is when one that is refused now ends.
func (h *holds) end(source string, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := now.Add(holdTime)
	if last, ok := h.last.Get(source); ok && last.Add(h.gap).After(end) {
		end = last.Add(h.gap)
	}
	if longest := now.Add(holdLongest); end.After(longest) {
		end = longest
	}
	h.last.Add(source, end)
	return end
}
