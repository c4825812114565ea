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
		once bool
		want history.Outcome
	}{
		{nil, true, history.OK},
		{&client.Error{Code: codes.NotFound, Reason: "NOT_FOUND"}, true, history.NotFound},
		{&client.Error{Code: codes.PermissionDenied, Reason: "DENIED"}, false, history.Denied},
		{fmt.Errorf("put: %w", &client.Error{Code: codes.FailedPrecondition, Reason: "VERSION_CONFLICT"}), true, history.Conflict},
		{&client.Error{Code: codes.FailedPrecondition, Reason: "DESTROYED"}, true, history.Gone},
		{&client.Error{Code: codes.Unavailable, Reason: "NO_LEADER"}, true, history.Refused},
		{&client.Error{Code: codes.Unavailable, Reason: "NO_LEADER"}, false, history.Unknown}, // of the tries before nothing is known
		{&client.Error{Code: codes.Unavailable, Reason: "OUTCOME_UNKNOWN"}, true, history.Unknown},
		{&client.Error{Code: codes.Unavailable}, true, history.Unknown}, // a broken connection
		{&client.Error{Code: codes.Unauthenticated, Reason: "SVID_EXPIRED"}, true, history.Unknown},
		{context.DeadlineExceeded, true, history.Unknown},
		{fmt.Errorf("%w: no identity", errNoClient), false, history.Refused},
	} {
		if got, _ := judge(c.err, c.once); got != c.want {
			t.Errorf("%v, once %t: %s, not %s", c.err, c.once, got, c.want)
		}
	}
}
