package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	askPause = 500 * time.Millisecond
	// removedRounds is how often in a row nobody may know this node before it
	// believes that: a follower that lags does not know a new one.
	removedRounds = 5
)

// Standing is what another node says of itself, and of this one.
type Standing struct {
	ID                  string
	Time                int64  // its clock, unix nanoseconds
	Applied             uint64 // index of the last entry in its store
	MarkIndex, MarkTerm uint64 // its mark of the node that asks; zero: none
	Members             []Server
}

// inquiry asks the other members what they know of this node's disk.
type inquiry struct {
	n    *Node
	need int      // answers that make, with this node, a majority
	also []string // addresses where any node may answer

	waiting sync.Once
	strange int // rounds in a row in which this node was no member to anybody

	mu          sync.Mutex
	peers       map[string]string // node ID to address; grows as members tell of others
	heard       map[string]bool
	removed     int // in this round
	foreign     int
	index, term uint64
}

// newInquiry asks who is in the configuration on this disk, and at the addresses that the node was told to ask.
func newInquiry(n *Node) *inquiry {
	q := &inquiry{n: n, peers: map[string]string{}, also: n.cfg.AskAlso, heard: map[string]bool{}}
	voters, member := 0, false
	for _, s := range n.Servers() {
		member = member || s.ID == n.cfg.ID
		if s.Voter {
			voters++
		}
		if s.ID != n.cfg.ID {
			q.peers[s.ID] = s.Address
		}
	}
	q.need = min(voters/2, len(q.peers))
	if member || len(n.cfg.Admitters) == 0 {
		return q
	}
	// It was killed while it joined, or its disk was taken back to then: those in an
	// old configuration may all be gone.
	q.also = append(slices.Clone(q.also), n.cfg.Admitters...)
	if len(q.peers) == 0 {
		q.need = len(n.cfg.Admitters)/2 + 1
	}
	return q
}

// round asks everyone once, and reports whether enough have answered by now. All
// get the same time: more answers than needed show more. ErrRemoved when nobody
// knows this node any more, ErrForeign when they are another cluster.
func (q *inquiry) round(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	q.mu.Lock()
	peers := maps.Clone(q.peers)
	q.removed, q.foreign = 0, 0
	q.mu.Unlock()
	var wg sync.WaitGroup
	ask := func(id, addr string) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			q.note(q.n.cfg.Forward.Ask(ctx, id, addr))
		}()
	}
	for id, addr := range peers {
		ask(id, addr)
	}
	for _, addr := range q.also {
		ask("", addr)
	}
	wg.Wait()
	if len(q.heard) == 0 && q.removed+q.foreign >= q.need {
		q.strange++
	} else {
		q.strange = 0
	}
	switch {
	case q.strange < removedRounds:
	case q.removed > 0:
		return false, ErrRemoved
	default:
		return false, ErrForeign
	}
	return len(q.heard) >= q.need, nil
}

func (q *inquiry) note(s Standing, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case errors.Is(err, ErrRemoved):
		q.removed++
	case errors.Is(err, ErrForeign):
		q.foreign++
	case err != nil || s.ID == q.n.cfg.ID:
	default:
		q.heard[s.ID] = true
		q.index, q.term = max(q.index, s.MarkIndex), max(q.term, s.MarkTerm)
		for _, m := range s.Members {
			if m.ID != q.n.cfg.ID {
				q.peers[m.ID] = m.Address
			}
		}
	}
}
