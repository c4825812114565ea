package hexrd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// registerMetrics adds what the node knows of itself. No metric carries a path,
// a scope or an identity.
func (s *Server) registerMetrics() {
	gauge := func(name, help string, value func() float64) {
		s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "hexrd", Name: name, Help: help,
		}, value))
	}
	counter := func(name, help string, value func() uint64) {
		s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "hexrd", Name: name, Help: help,
		}, func() float64 { return float64(value()) }))
	}
	gauge("raft_leader", "1 if this node leads.", func() float64 { return bit(s.leads()) })
	gauge("raft_has_leader", "1 if this node knows a leader.", func() float64 {
		leader, _ := s.node.Leader()
		return bit(leader != "")
	})
	gauge("healthy", "1 if this node answers.", func() float64 { return bit(s.ready()) })
	gauge("raft_term", "Term of raft.", func() float64 { return float64(s.node.Status().Term) })
	gauge("raft_last_index", "Last index of the raft log.", func() float64 { return float64(s.node.Status().LastIndex) })
	gauge("fsm_applied_index", "Index of the last entry in the store.", func() float64 {
		return float64(s.node.Store().AppliedIndex())
	})
	gauge("fsm_time_seconds", "Time of the last entry, unix seconds.", func() float64 {
		return float64(s.node.Store().Time()) / 1e9
	})
	gauge("audit_rows", "Rows in the audit tree.", func() float64 { return float64(s.node.Store().AuditSize()) })
	gauge("rotations_overdue", "Secrets whose rotation is overdue.", func() float64 { return float64(s.node.Store().Overdue()) })
	gauge("sweep_late_seconds", "How long ago the first ended of what is still kept: requests, deletions, graces; 0: nothing did.", func() float64 {
		if due := s.node.Store().FirstDue(); due != 0 {
			return max(0, time.Since(time.Unix(0, due)).Seconds())
		}
		return 0
	})
	counter("value_copy_reads_total", "Values that gets read from copies beside the store.", func() uint64 {
		copies, _ := s.node.Store().ValueReads()
		return copies
	})
	counter("value_store_reads_total", "Values that gets read from the store itself: of a large one, where no copy was made yet.", func() uint64 {
		_, store := s.node.Store().ValueReads()
		return store
	})
	gauge("value_copies_bytes", "What copies of values take on the disk.", func() float64 {
		return float64(s.node.Store().CopiesSize())
	})
	counter("raft_log_syncs_total", "Syncs of the raft log's disk.", func() uint64 { return s.node.Counts().LogSyncs })
	counter("snapshots_total", "Snapshots made or received.", func() uint64 { return s.node.Counts().Snapshots })
	gauge("snapshot_seconds", "How long the last snapshot took.", func() float64 { return s.node.Counts().Snapshot.Seconds() })
	gauge("members", "Servers in the raft configuration.", func() float64 {
		return float64(len(s.node.Store().Configuration().GetServers()))
	})
	gauge("disk_free_ratio", "Share of the data directory's file system that is free.", func() float64 {
		free, total := diskSpace(s.cfg.DataDir)
		if total == 0 {
			return 0
		}
		return float64(free) / float64(total)
	})
	gauge("disk_state", "0 ok, 1 warning, 2 low (no puts), 3 very low, 4 critical (no reads).", func() float64 {
		return float64(s.disks.own.Load())
	})
	gauge("disk_verdict", "On the leader: the state that decides what is refused, of its own and a majority's disks.", func() float64 {
		return float64(s.disks.verdict.Load())
	})
	gauge("svid_expiry_seconds", "When this node's SVID ends, unix seconds.", func() float64 {
		svid, err := s.source.GetX509SVID()
		if err != nil {
			return 0
		}
		return float64(svid.Certificates[0].NotAfter.Unix())
	})
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
