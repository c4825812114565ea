package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/network"
)

// Classes of faults. Those of one class come one after the other; classes mix.
const (
	Process    = "process"
	Net        = "network"
	Clock      = "clock"
	Storage    = "disk"
	Membership = "membership"
	Identity   = "identity"
	Torture    = "torture"
	Upgrade    = "upgrade"
)

// ErrViolation: a fault showed that hexrd breaks a promise.
var ErrViolation = errors.New("violation")

// Target is what faults are done to.
type Target struct {
	Cluster  *arena.Cluster
	Network  *network.Network // nil: loopback
	Disks    *Disks           // nil: the machine's own
	Timeline *Timeline

	// hands are held while a fault has processes in hand, alone by one that changes
	// what they start from.
	hands sync.RWMutex
}

// Fault is one that can be injected. Run injects it, holds it for some time, and
// takes it back, also when ctx ends meanwhile. The detail says what it was.
type Fault struct {
	Name, Class string
	Weight      int // how often it is chosen, beside others of its class
	Run         func(ctx context.Context, t *Target, r *rand.Rand) (detail string, err error)
}

// All faults that there are.
func All() []Fault {
	return slices.Concat(processFaults(), networkFaults(), clockFaults(), storageFaults(), membershipFaults(), identityFaults(), tortureFaults(), upgradeFaults())
}

// Choose selects faults by class or name; what the target can't have is left out,
// and named.
func Choose(t *Target, names []string) (chosen []Fault, left []string, err error) {
	known := map[string]bool{}
	for _, f := range All() {
		known[f.Name], known[f.Class] = true, true
		switch {
		case !slices.Contains(names, f.Name) && !slices.Contains(names, f.Class):
		case f.Class == Net && t.Network == nil, f.Class == Storage && t.Disks == nil:
			left = append(left, f.Name)
		default:
			chosen = append(chosen, f)
		}
	}
	for _, n := range names {
		if !known[n] && n != "none" {
			return nil, nil, fmt.Errorf("there is no fault %q: use none, or some of %s", n, strings.Join(Names(), ", "))
		}
	}
	return chosen, left, nil
}

// Want reports whether some of the names are of faults of a class.
func Want(names []string, class string) bool {
	return slices.ContainsFunc(All(), func(f Fault) bool {
		return f.Class == class && (slices.Contains(names, f.Name) || slices.Contains(names, class))
	})
}

// Names of all faults, after their classes.
func Names() []string {
	var classes, names []string
	for _, f := range All() {
		if !slices.Contains(classes, f.Class) {
			classes = append(classes, f.Class)
		}
		names = append(names, f.Name)
	}
	return append(classes, names...)
}

// Run injects faults until ctx ends: those of a class one after the other, with
// pauses. It returns the violations that they showed, once all are taken back.
func Run(ctx context.Context, t *Target, faults []Fault, seed uint64) error {
	classes := map[string][]Fault{}
	for _, f := range faults {
		classes[f.Class] = append(classes[f.Class], f)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var found []error
	for class, fs := range classes {
		r := rand.New(rand.NewPCG(seed, stream(class)))
		wg.Add(1)
		go func() {
			defer wg.Done()
			for hold(ctx, r, pauses(class)); ctx.Err() == nil; hold(ctx, r, pauses(class)) {
				if err := inject(ctx, t, draw(r, fs), r); errors.Is(err, ErrViolation) {
					mu.Lock()
					found = append(found, err)
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	return errors.Join(found...)
}

func stream(class string) (n uint64) {
	for _, b := range []byte(class) {
		n = n*257 + uint64(b)
	}
	return n
}

func inject(ctx context.Context, t *Target, f Fault, r *rand.Rand) error {
	e := Event{Name: f.Name, Class: f.Class, Start: t.Timeline.Now()}
	detail, err := run(ctx, t, f, r)
	e.Detail, e.End = detail, t.Timeline.Now()
	if err != nil {
		e.Error = err.Error()
	}
	t.Timeline.Add(e)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", f.Name, detail, err)
	}
	return nil
}

func run(ctx context.Context, t *Target, f Fault, r *rand.Rand) (string, error) {
	switch f.Class {
	case Process, Storage, Torture, Upgrade:
		t.hands.RLock()
		defer t.hands.RUnlock()
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return f.Run(ctx, t, r)
}

// draw chooses by weight.
func draw(r *rand.Rand, faults []Fault) Fault {
	total := 0
	for _, f := range faults {
		total += max(f.Weight, 1)
	}
	n := r.IntN(total)
	for _, f := range faults {
		if n -= max(f.Weight, 1); n < 0 {
			return f
		}
	}
	return faults[len(faults)-1]
}

// span is a time to choose from.
type span struct{ from, to time.Duration }

func pauses(class string) span {
	switch class {
	case Torture:
		return span{time.Second, 2500 * time.Millisecond}
	case Membership, Identity:
		return span{3 * time.Second, 8 * time.Second}
	}
	return span{1500 * time.Millisecond, 6 * time.Second}
}

// hold waits for a time of the span, or until ctx ends.
func hold(ctx context.Context, r *rand.Rand, s span) {
	d := s.from
	if s.to > s.from {
		d += time.Duration(r.Int64N(int64(s.to - s.from)))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// some are n members at random, in random order.
func some(t *Target, r *rand.Rand, n int) []*arena.Node {
	members := t.Cluster.Members()
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return members[:min(n, len(members))]
}

// leaderOr is the leader, or any member where nobody says who leads.
func leaderOr(ctx context.Context, t *Target, r *rand.Rand) *arena.Node {
	if n := t.Cluster.Leader(ctx); n != nil {
		return n
	}
	return some(t, r, 1)[0]
}

func names(nodes []*arena.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.ID)
	}
	return strings.Join(out, ", ")
}
