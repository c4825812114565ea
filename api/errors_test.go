package api

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestOtherNodesErrorsStayHere: the status that another node's connection broke
// with is not the answer; its text holds addresses.
func TestOtherNodesErrorsStayHere(t *testing.T) {
	broken := fmt.Errorf("%w: call: %w", ErrUnknownOutcome, status.Error(codes.Internal, "read tcp 10.0.0.1:7443"))
	got := status.Convert((&Server{}).statusOf(broken, nil))
	if got.Code() != codes.Unavailable || strings.Contains(got.Message(), "10.0.0.1") || len(got.Details()) != 1 {
		t.Errorf("the answer is %s: %s, %v", got.Code(), got.Message(), got.Details())
	}
	own := status.Error(codes.NotFound, "of a service of this node")
	if got := status.Convert((&Server{}).statusOf(own, nil)); got.Code() != codes.NotFound {
		t.Error("a status of this node was replaced")
	}
}
