package cluster

import (
	"errors"
	"fmt"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
)

// ErrUnknownOutcome: the call broke after it was sent; it may have been applied.
var ErrUnknownOutcome = errors.New("the outcome is unknown")

// RefusalError is an answer that is certain: nothing was applied (except for
// KIND_UNKNOWN_OUTCOME, which says that the other side does not know).
type RefusalError struct {
	Kind          clusterpb.Refusal_Kind
	LeaderID      string
	LeaderAddress string
	Message       string
}

func (e *RefusalError) Error() string {
	if e.Message != "" {
		return e.Message
	}
	switch e.Kind {
	case clusterpb.Refusal_KIND_NOT_LEADER:
		return "another node leads"
	case clusterpb.Refusal_KIND_WRONG_CLUSTER:
		return "the node is of another cluster"
	case clusterpb.Refusal_KIND_NOT_MEMBER:
		return "the calling node is not a member of the cluster"
	default:
		return fmt.Sprintf("refused (%d)", e.Kind)
	}
}

func toRefusal(err error) *clusterpb.Refusal {
	if err == nil {
		return nil
	}
	var r *RefusalError
	if !errors.As(err, &r) {
		r = &RefusalError{Kind: clusterpb.Refusal_KIND_UNKNOWN_OUTCOME, Message: "the node failed to answer"}
	}
	return &clusterpb.Refusal{Kind: r.Kind, LeaderId: r.LeaderID, LeaderAddress: r.LeaderAddress, Message: r.Message}
}

func fromRefusal(r *clusterpb.Refusal) error {
	if r == nil {
		return nil
	}
	return &RefusalError{Kind: r.GetKind(), LeaderID: r.GetLeaderId(), LeaderAddress: r.GetLeaderAddress(), Message: r.GetMessage()}
}
