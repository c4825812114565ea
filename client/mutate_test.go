package client

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/internal/frames"
)

// TestEndsOfTries: what a mutation says of its outcome holds for all its tries.
func TestEndsOfTries(t *testing.T) {
	const breaks = "the connection breaks"
	for name, c := range map[string]struct {
		tries [][2]string // code and reason
		kind  error
		want  string // reason
	}{
		"refused":                {[][2]string{{"RESOURCE_EXHAUSTED", "DISK_LOW"}}, ErrThrottled, "DISK_LOW"},
		"certain, then refused":  {[][2]string{{"UNAVAILABLE", "NO_LEADER"}, {"RESOURCE_EXHAUSTED", "DISK_LOW"}}, ErrThrottled, "DISK_LOW"},
		"broken, then refused":   {[][2]string{{breaks}, {"RESOURCE_EXHAUSTED", "RATE_LIMITED"}}, ErrUnavailable, "OUTCOME_UNKNOWN"},
		"unknown, then refused":  {[][2]string{{"UNAVAILABLE", "OUTCOME_UNKNOWN"}, {"RESOURCE_EXHAUSTED", "DISK_LOW"}}, ErrUnavailable, "OUTCOME_UNKNOWN"},
		"half, then refused":     {[][2]string{{"UNAVAILABLE", "CONFIGURATION_NOT_CHANGED"}, {"UNAUTHENTICATED", "NO_IDENTITY"}}, ErrUnavailable, "OUTCOME_UNKNOWN"},
		"late, then blocked":     {[][2]string{{"DEADLINE_EXCEEDED", "DEADLINE"}, {"PERMISSION_DENIED", "BLOCKED"}}, ErrUnavailable, "OUTCOME_UNKNOWN"},
		"broken, then no leader": {[][2]string{{breaks}, {"UNAVAILABLE", "NO_LEADER"}, {"UNAVAILABLE", "NO_LEADER"}, {"UNAVAILABLE", "NO_LEADER"}}, ErrUnavailable, "OUTCOME_UNKNOWN"},
		"late, then late":        {[][2]string{{"DEADLINE_EXCEEDED", "DEADLINE"}, {"DEADLINE_EXCEEDED", "DEADLINE"}, {"DEADLINE_EXCEEDED", "DEADLINE"}, {"DEADLINE_EXCEEDED", "DEADLINE"}}, context.DeadlineExceeded, "DEADLINE"},
		"broken, then a failure": {[][2]string{{breaks}, {"INTERNAL", "CORRUPT"}}, nil, "CORRUPT"},
		"broken, then decided":   {[][2]string{{breaks}, {"FAILED_PRECONDITION", "VERSION_CONFLICT"}}, ErrConflict, "VERSION_CONFLICT"},
		"broken, then denied":    {[][2]string{{breaks}, {"PERMISSION_DENIED", "DENIED"}}, ErrDenied, "DENIED"},
		"broken, then no right":  {[][2]string{{breaks}, {"PERMISSION_DENIED", "WRONG_CLASS"}}, ErrDenied, "WRONG_CLASS"},
		"broken, then a quota":   {[][2]string{{breaks}, {"RESOURCE_EXHAUSTED", "QUOTA"}}, ErrThrottled, "QUOTA"},
	} {
		t.Run(name, func(t *testing.T) {
			tries := make(chan [2]string, len(c.tries))
			for _, try := range c.tries {
				tries <- try
			}
			client := (&scripted{carry: func(calls *frames.Conn) {
				for call := take(calls); call != nil; call = take(calls) {
					try := <-tries
					if try[0] == breaks {
						return
					}
					say(t, calls, failure(call.GetId(), try[0], try[1]))
				}
			}}).client(t)
			_, err := client.Put(t.Context(), "k", []byte("v"), PutOptions{})
			var e *Error
			if (c.kind != nil && !errors.Is(err, c.kind)) || !errors.As(err, &e) || e.Reason != c.want || len(tries) != 0 {
				t.Errorf("it ended with %v, %d tries before the last", err, len(tries))
			}
		})
	}
}

// TestUnreachedLeavesNothingOpen: a node that was not reached applied nothing; of one that
// says that it is unavailable nobody knows.
func TestUnreachedLeavesNothingOpen(t *testing.T) {
	gone := listen(t)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+gone.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	n := newNode(context.WithoutCancel(t.Context()), conn, func(context.Context) (net.Conn, error) { return nil, refused })
	defer func() { _ = n.Close() }()
	_, err1 := vault(n).Put(t.Context(), &hexrv1.PutRequest{})
	_, err2 := vault(n).Delete(t.Context(), &hexrv1.DeleteRequest{})
	for _, err := range []error{err1, err2, &Error{Code: codes.Unavailable, Reason: "NO_LEADER"}} {
		if err == nil || leavesOpen(err) {
			t.Errorf("it may have been applied: %v", err)
		}
	}
	_, err3 := vault(serveNode(t, hanging{}, nil)).Delete(t.Context(), &hexrv1.DeleteRequest{})
	for _, err := range []error{err3, errors.New("anything else")} {
		if !leavesOpen(err) {
			t.Errorf("it was certainly not applied: %v", err)
		}
	}
}
