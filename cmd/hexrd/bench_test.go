package main

import (
	"encoding/json"
	"testing"

	"github.com/hexrdev/hexrd/internal/bench"
)

// TestBench: the verb measures a cluster of real processes with each workload, and
// says what the servers spent. How fast it was is no test's business.
func TestBench(t *testing.T) {
	_, dir := startCluster(t, "bolt")
	s := script{t, dir}
	s.run(operator, 0, "settings", "set", "rate_burst", "1000000") // however fast it is
	for _, workload := range bench.Workloads {
		var r bench.Result
		out, _ := s.run(benchAuditor, 0, "bench", workload, "--dir", dir, "--workers", "4", "--identities", "4", "--secrets", "40",
			"--duration", "300ms", "--warm-up", "100ms", "-o", "json")
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if r.Workload != workload || r.Operations == 0 || r.PerSecond == 0 || r.Latency.P50 == 0 || r.Latency.Max < r.Latency.P50 {
			t.Errorf("%s: %s", workload, out)
		}
		if len(r.Errors) > 0 {
			t.Errorf("%s: errors %v", workload, r.Errors)
		}
		if r.Servers == nil || r.Servers.Resident == 0 || r.Servers.Syncs == 0 || r.Servers.Entries == 0 {
			t.Errorf("%s: servers %+v", workload, r.Servers)
		}
	}
	for _, target := range []string{bench.Leader, bench.Follower} {
		s.run(benchAuditor, 0, "bench", "get", "--dir", dir, "--workers", "2", "--identities", "2", "--secrets", "4",
			"--duration", "100ms", "--warm-up", "0s", "--target", target)
	}
	for _, wrong := range [][]string{
		{"bench"}, {"bench", "sing"}, {"bench", "get", "--workers", "0"}, {"bench", "get", "--secrets", "3"},
		{"bench", "get", "--target", "moon"}, {"bench", "get", "--value-size", "0"},
	} {
		s.run(benchAuditor, exitUsage, append(wrong, "--dir", dir)...)
	}
}
