package workload

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/jepsen/history"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		err  error
		want history.Outcome
	}{
		{nil, history.OK},
		{&client.Error{Code: codes.NotFound, Reason: "NOT_FOUND"}, history.NotFound},
		{&client.Error{Code: codes.PermissionDenied, Reason: "DENIED"}, history.Denied},
		{fmt.Errorf("put: %w", &client.Error{Code: codes.FailedPrecondition, Reason: "VERSION_CONFLICT"}), history.Conflict},
		{&client.Error{Code: codes.FailedPrecondition, Reason: "DESTROYED"}, history.Gone},
		{&client.Error{Code: codes.Unavailable, Reason: "NO_LEADER"}, history.Refused},
		{&client.Error{Code: codes.Unavailable, Reason: "OUTCOME_UNKNOWN"}, history.Unknown},
		{&client.Error{Code: codes.Unavailable}, history.Unknown}, // a broken connection
		{&client.Error{Code: codes.Unauthenticated, Reason: "SVID_EXPIRED"}, history.Unknown},
		{context.DeadlineExceeded, history.Unknown},
		{fmt.Errorf("%w: no identity", errNoClient), history.Refused},
	} {
		if got, _ := judge(c.err); got != c.want {
			t.Errorf("%v: %s, not %s", c.err, got, c.want)
		}
	}
}
