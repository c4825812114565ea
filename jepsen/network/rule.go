package network

import "time"

// Rule is what happens to packets from one node to another. The zero value lets
// them pass.
type Rule struct {
	Drop      bool
	Loss      float64       // the part of packets that is lost, 0 to 1
	Duplicate float64       // the part of packets that comes twice
	Delay     time.Duration // of every packet
	Jitter    time.Duration // up to so much more; packets overtake each other
}

// fate is what becomes of one packet: the delays of its copies.
func (r Rule) fate(random func() float64) []time.Duration {
	if r.Drop || r.Loss > 0 && random() < r.Loss {
		return nil
	}
	copies := 1
	if r.Duplicate > 0 && random() < r.Duplicate {
		copies = 2
	}
	out := make([]time.Duration, copies)
	for i := range out {
		out[i] = r.Delay
		if r.Jitter > 0 {
			out[i] += time.Duration(random() * float64(r.Jitter))
		}
	}
	return out
}
