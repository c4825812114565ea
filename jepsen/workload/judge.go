package workload

import (
	"errors"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/jepsen/history"
)

// errNoClient: the call was not made.
var errNoClient = errors.New("no call")

// certain are the reasons that say that nothing was applied.
var certain = []string{
	"NO_LEADER", "OVERLOADED", "STOPPING", "STALE", "RATE_LIMITED", "TOO_MANY_IN_FLIGHT", "NO_IDENTITY",
	"INVALID_ARGUMENT", "QUOTA", "DISK_LOW",
}

// judge is what an error says of a call, all its tries.
func judge(err error) (history.Outcome, string) {
	if err == nil {
		return history.OK, ""
	}
	if errors.Is(err, errNoClient) {
		return history.Refused, "NO_CLIENT"
	}
	var e *client.Error
	if !errors.As(err, &e) {
		return history.Unknown, "ERROR"
	}
	reason := e.Reason
	if reason == "" {
		reason = e.Code.String()
	}
	switch {
	case e.Reason == "DESTROYED":
		return history.Gone, reason
	case e.Reason == "SHADOWED":
		return history.Shadowed, reason
	case e.Reason == "VERSION_CONFLICT":
		return history.Conflict, reason
	case e.Reason == "DENIED":
		return history.Denied, reason
	case e.Code == codes.NotFound:
		return history.NotFound, reason
	}
	if slices.Contains(certain, e.Reason) {
		return history.Refused, reason
	}
	return history.Unknown, reason
}
