package bench

import (
	"context"
	"errors"
	"time"
)

// Servers is what the nodes spent on a load.
type Servers struct {
	CPU      float64 `json:"cpu_seconds_per_1000"`      // of all nodes
	Alloc    float64 `json:"allocated_bytes_per_1000"`  // of all nodes
	Mallocs  float64 `json:"allocations_per_operation"` // of all nodes
	Resident float64 `json:"resident_bytes_most"`       // of the largest node, after the load
	Syncs    float64 `json:"leader_log_syncs_per_operation"`
	Entries  float64 `json:"log_entries_per_operation"`
}

// metric names of a node.
const (
	mLeader     = "hexrd_raft_leader"
	mCPU        = "process_cpu_seconds_total"
	mResident   = "process_resident_memory_bytes"
	mAlloc      = "go_memstats_alloc_bytes_total"
	mMallocs    = "go_memstats_mallocs_total"
	mHeap       = "go_memstats_heap_alloc_bytes"
	mGoroutines = "go_goroutines"
	mSyncs      = "hexrd_raft_log_syncs_total"
	mLastIndex  = "hexrd_raft_last_index"
	mRows       = "hexrd_audit_rows"
	mApplied    = "hexrd_fsm_applied_index"
	mSnapshot   = "hexrd_snapshot_seconds"
	mSnapshots  = "hexrd_snapshots_total"
)

// spent compares samples from before and after a number of operations.
func spent(before, after []Sample, operations int64) *Servers {
	if operations == 0 {
		return nil
	}
	n := float64(operations)
	var s Servers
	for i := range after {
		grown := func(name string) float64 { return after[i][name] - before[i][name] }
		s.CPU += grown(mCPU) / n * 1000
		s.Alloc += grown(mAlloc) / n * 1000
		s.Mallocs += grown(mMallocs) / n
		s.Resident = max(s.Resident, after[i][mResident])
		if after[i][mLeader] == 1 {
			s.Syncs, s.Entries = grown(mSyncs)/n, grown(mLastIndex)/n
		}
	}
	return &s
}

const (
	leaderWait = 30 * time.Second
	leaderPoll = 100 * time.Millisecond
)

// leaderOf asks the nodes which of them leads, and waits for one that does.
func leaderOf(ctx context.Context, s Scraper, nodes []Node) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	for {
		for i, n := range nodes {
			if sample, err := s.Scrape(ctx, n); err == nil && sample[mLeader] == 1 {
				return i, nil
			}
		}
		select {
		case <-time.After(leaderPoll):
		case <-ctx.Done():
			return 0, errors.New("no node leads")
		}
	}
}

// targets are the addresses to call.
func (c Config) targets(ctx context.Context) ([]string, error) {
	var addrs []string
	if c.Target == All {
		for _, n := range c.Nodes {
			addrs = append(addrs, n.Addr)
		}
		return addrs, nil
	}
	leader, err := leaderOf(ctx, c.Scraper, c.Nodes)
	if err != nil {
		return nil, err
	}
	if c.Target == Leader {
		return []string{c.Nodes[leader].Addr}, nil
	}
	if len(c.Nodes) == 1 {
		return nil, errors.New("there is no follower")
	}
	return []string{c.Nodes[(leader+1)%len(c.Nodes)].Addr}, nil
}
