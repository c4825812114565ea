package hexrd

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// space is how much room a disk has left.
type space uint32

// The states of a disk. Each begins below the mark of diskMarks.
const (
	spaceOK space = iota
	spaceWarning
	spaceLow // puts are refused
	spaceVeryLow
	spaceCritical // all but deletes, what operators need, and the audit's own are refused
)

// diskMarks are the shares of a file system that are free, in percent; a state
// ends half a point above its own.
var diskMarks = []float64{spaceOK: 100, spaceWarning: 10, spaceLow: 5, spaceVeryLow: 3, spaceCritical: 2}

const backAbove = 0.5

func (s space) String() string {
	return []string{"ok", "warning", "low", "very low", "critical"}[min(s, spaceCritical)]
}

// after is the state that follows this one.
func (s space) after(free, total uint64) space {
	if total == 0 {
		return s
	}
	percent := 100 * float64(free) / float64(total)
	next := spaceOK
	for state, mark := range diskMarks {
		if state := space(state); percent < mark || state <= s && percent < mark+backAbove {
			next = state
		}
	}
	return next
}

// diskSpace is what the file system of dir has for this process, and its size,
// in bytes; zero where that can't be told.
func diskSpace(dir string) (free, total uint64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, 0
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize)
}

const (
	diskInterval = time.Second
	// forgetSpace is how long a member that does not answer counts with its last state.
	forgetSpace = time.Minute
)

// disks knows this node's disk, and as leader those of all voters. What is put
// through any node is stored by all: who decides is the leader, before the log.
type disks struct {
	own, verdict atomic.Uint32 // space
	// Only watchDisks uses these.
	voters map[string]heardSpace
}

type heardSpace struct {
	space space
	at    time.Time
}

// refuse is the leader's word on an access (node.Config.Refuse).
func (d *disks) refuse(a *fsmpb.Access) fsmpb.Outcome {
	verdict := space(d.verdict.Load())
	op := fsm.OperationOf(a)
	if verdict >= spaceLow && op == audit.OpPut || verdict >= spaceCritical && !vital(op) {
		return fsmpb.Outcome_OUTCOME_NO_SPACE
	}
	return 0
}

// vital is what a cluster without room still does: free some, shut someone out,
// change its members and settings, and be audited.
func vital(op audit.Operation) bool {
	switch op {
	case audit.OpGet, audit.OpPut, audit.OpUndelete, audit.OpList, audit.OpDescribe, audit.OpVersions, audit.OpThrottled:
		return false
	}
	return true
}

func (s *Server) watchDisks(ctx context.Context) {
	tick := time.NewTicker(diskInterval)
	defer tick.Stop()
	for {
		own := s.lookAtDisk()
		if s.node.Store().CopyValues(own == spaceOK) != nil {
			s.log.Warn("copies of values could not be removed, or made, beside the store: look at the disk")
		}
		verdict := own
		if s.leads() {
			verdict = s.weighDisks(ctx, own)
		}
		s.disks.verdict.Store(uint32(verdict))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookAtDisk notes the state of this node's disk, and tells when it changed.
func (s *Server) lookAtDisk() space {
	was := space(s.disks.own.Load())
	free, total := diskSpace(s.cfg.DataDir)
	now := was.after(free, total)
	s.disks.own.Store(uint32(now))
	text := map[space]string{
		spaceWarning:  "the data directory's disk has less than 10 % free: below 5 % puts are refused; make room",
		spaceLow:      "the data directory's disk has less than 5 % free: puts are refused where that is the leader's, or a majority's; make room",
		spaceVeryLow:  "the data directory's disk has less than 3 % free: below 2 % reads are refused, too; make room",
		spaceCritical: "the data directory's disk has less than 2 % free: all but deletes is refused where that is the leader's, or a majority's; make room",
	}[now]
	switch {
	case now > was:
		s.log.Warn(text, "free_bytes", free, "total_bytes", total)
	case now < was:
		s.log.Info("the data directory's disk has more room again", "state", now.String(), "free_bytes", free)
	}
	return now
}

// weighDisks is what the disks of the voters allow: what a majority of them has
// room for, and the leader's own. One follower's full disk costs the cluster that
// follower, not its writes; a leader with less room than most hands leadership on.
func (s *Server) weighDisks(ctx context.Context, own space) space {
	states, roomiest := s.votersSpace(ctx, own)
	majority := majorityOf(states)
	if own >= spaceLow && majority < own && roomiest != "" {
		s.log.Warn("this node's disk has less room than others': it hands leadership on")
		if err := s.node.Transfer(ctx, roomiest); err != nil {
			s.log.Warn("leadership did not move from a node whose disk is low; it is tried again")
		}
	}
	return max(own, majority)
}

// majorityOf is the best state that a majority has or betters.
func majorityOf(states []space) space {
	if len(states) == 0 {
		return spaceOK
	}
	slices.Sort(states)
	return states[len(states)/2]
}

// heard is what counts for another voter: its last state, or low when it has not
// answered for long. One that never did has as long from when it is looked for: a
// leader that has just been started would refuse puts for want of answers else.
func (d *disks) heard(id string, now time.Time) space {
	last, ok := d.voters[id]
	if !ok {
		last = heardSpace{spaceOK, now}
		d.voters[id] = last
	}
	if now.Sub(last.at) >= forgetSpace {
		return spaceLow
	}
	return last.space
}

// votersSpace asks all voters. Who did not answer for long counts as low: it is
// no room to rely on, and no reason to refuse reads.
func (s *Server) votersSpace(ctx context.Context, own space) (states []space, roomiest string) {
	best := own
	now := time.Now()
	for _, m := range (backend{s}).statuses(ctx) {
		if !m.voter {
			continue
		}
		if m.status != nil {
			s.disks.voters[m.id] = heardSpace{space(min(m.status.GetDisk(), math.MaxUint8)), now}
		}
		state := own
		if m.id != s.nodeID {
			state = s.disks.heard(m.id, now)
			if state < best && m.status != nil {
				best, roomiest = state, m.id
			}
		}
		states = append(states, state)
	}
	return states, roomiest
}
