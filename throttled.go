package hexrd

import (
	"context"
	"errors"
	"time"

	"github.com/hexrdev/hexrd/api"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/node"
)

// summaryEvery is how often the audit hears of callers that this node's limits
// turned away: one row for each, in place of one for each call.
const summaryEvery = 10 * time.Second

func (s *Server) summarise(ctx context.Context) {
	tick := time.NewTicker(summaryEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if all := s.api.Throttled(); len(all) > 0 {
			s.recordThrottled(ctx, all)
		}
	}
}

func (s *Server) recordThrottled(ctx context.Context, all []api.Throttled) {
	ctx, cancel := context.WithTimeout(ctx, summaryEvery)
	defer cancel()
	accesses := make([]*fsmpb.Access, 0, len(all))
	for _, t := range all {
		accesses = append(accesses, &fsmpb.Access{
			Caller: nodeSPIFFEID(s.td, s.nodeID), Svid: fsmpb.SVIDKind_SVID_KIND_NONE,
			Op: &fsmpb.Access_ThrottleSummary{ThrottleSummary: &fsmpb.ThrottleSummary{Subject: t.Caller, Count: t.Count}},
		})
	}
	results, _, err := s.node.Do(ctx, accesses)
	if err == nil && results[0].GetOutcome() == fsmpb.Outcome_OUTCOME_NO_SPACE {
		s.api.Again(all) // until there is room
		return
	}
	if err != nil {
		s.log.Warn("the audit may lack a summary of throttled callers: no quorum answered in time")
		if !errors.Is(err, node.ErrUnknownOutcome) {
			s.api.Again(all)
		}
	}
}
