package dev

import (
	"context"
	"io"
)

// Tour runs the main job.
func Tour(ctx context.Context, out io.Writer) error { return nil }
