package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/network"
)

var cutFor = span{time.Second, 8 * time.Second}

type link struct{ from, to string }

func networkFaults() []Fault {
	cut := network.Rule{Drop: true}
	return []Fault{
		{"isolate-one", Net, 2, ruled(cut, func(_ context.Context, t *Target, r *rand.Rand) []link { return isolate(t, some(t, r, 1)[0]) })},
		{"isolate-leader", Net, 2, ruled(cut, func(ctx context.Context, t *Target, r *rand.Rand) []link {
			return isolate(t, leaderOr(ctx, t, r))
		})},
		{"halves", Net, 2, ruled(cut, halves)},
		{"one-way", Net, 2, ruled(cut, oneWay)},
		{"bridge", Net, 2, ruled(cut, bridge)},
		{"lost-answers", Net, 1, ruled(cut, func(_ context.Context, t *Target, r *rand.Rand) []link {
			return []link{{some(t, r, 1)[0].ID, network.Outside}}
		})},
		{"loss", Net, 1, chosen(func(r *rand.Rand) network.Rule { return network.Rule{Loss: 0.02 + 0.2*r.Float64()} })},
		{"delay", Net, 1, chosen(func(r *rand.Rand) network.Rule {
			return network.Rule{Delay: time.Duration(5+r.IntN(150)) * time.Millisecond}
		})},
		{"reorder", Net, 1, chosen(func(r *rand.Rand) network.Rule {
			return network.Rule{Delay: time.Millisecond, Jitter: time.Duration(2+r.IntN(60)) * time.Millisecond, Duplicate: 0.1, Loss: 0.01}
		})},
	}
}

// ruled puts a rule on links, and takes it off after a while.
func ruled(rule network.Rule, which func(context.Context, *Target, *rand.Rand) []link) func(context.Context, *Target, *rand.Rand) (string, error) {
	return func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		links := which(ctx, t, r)
		detail := put(t, rule, links)
		hold(ctx, r, cutFor)
		put(t, network.Rule{}, links)
		return detail, nil
	}
}

// chosen puts a random rule on all links between nodes, or on those of one node.
func chosen(rule func(*rand.Rand) network.Rule) func(context.Context, *Target, *rand.Rand) (string, error) {
	return func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		members := t.Cluster.Members()
		links := between(members, members)
		if r.IntN(2) == 0 {
			links = isolate(t, members[r.IntN(len(members))])
		}
		chosen := rule(r)
		put(t, chosen, links)
		hold(ctx, r, cutFor)
		put(t, network.Rule{}, links)
		return fmt.Sprintf("%+v on %d links", chosen, len(links)), nil
	}
}

func put(t *Target, rule network.Rule, links []link) (detail string) {
	for i, l := range links {
		t.Network.Set(l.from, l.to, rule)
		if i > 0 {
			detail += ", "
		}
		detail += l.from + " > " + l.to
	}
	return detail
}

// between are all links from one group to another.
func between(a, b []*arena.Node) (links []link) {
	for _, from := range a {
		for _, to := range b {
			if from != to {
				links = append(links, link{from.ID, to.ID})
			}
		}
	}
	return links
}

func both(a, b []*arena.Node) []link { return append(between(a, b), between(b, a)...) }

func isolate(t *Target, n *arena.Node) []link {
	others := slices.DeleteFunc(t.Cluster.Members(), func(o *arena.Node) bool { return o == n })
	return both([]*arena.Node{n}, others)
}

// halves splits the nodes into a majority and a minority.
func halves(_ context.Context, t *Target, r *rand.Rand) []link {
	all := some(t, r, len(t.Cluster.Members()))
	return both(all[:len(all)/2], all[len(all)/2:])
}

// oneWay cuts one direction: of one link, or of all that a node sends or gets.
func oneWay(ctx context.Context, t *Target, r *rand.Rand) []link {
	n := leaderOr(ctx, t, r)
	others := slices.DeleteFunc(some(t, r, len(t.Cluster.Members())), func(o *arena.Node) bool { return o == n })
	switch one := []*arena.Node{n}; r.IntN(3) {
	case 0:
		return between(one, others)
	case 1:
		return between(others, one)
	default:
		return between(one, others[:min(1, len(others))])
	}
}

// bridge leaves one node that sees all others, which see two halves of them.
func bridge(_ context.Context, t *Target, r *rand.Rand) []link {
	all := some(t, r, len(t.Cluster.Members()))
	ends := all[1:]
	return both(ends[:len(ends)/2], ends[len(ends)/2:])
}
