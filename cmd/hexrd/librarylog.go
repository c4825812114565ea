package main

import (
	"io"

	"google.golang.org/grpc/grpclog"
)

// quietLibraries keeps gRPC from writing to standard error by itself: its lines
// quote addresses and TLS errors, which name identities. What matters of them
// comes back as errors.
func quietLibraries() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}
