package main

import (
	"errors"
	"fmt"

	"github.com/hexrdev/hexrd/client"
)

// Exit codes that scripts can use.
const (
	exitFailed = iota + 1
	exitUsage
	exitNotFound
	exitDenied
	exitConflict
	exitUnavailable
	exitUnauthenticated
	exitThrottled
)

var errUsage = errors.New("wrong usage")

func usageError(err error) error { return fmt.Errorf("%w: %w", errUsage, err) }

// exitError ends with a code that a program gave; it prints nothing.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func exitCode(err error) int {
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, client.ErrNotFound):
		return exitNotFound
	case errors.Is(err, client.ErrDenied):
		return exitDenied
	case errors.Is(err, client.ErrConflict):
		return exitConflict
	case errors.Is(err, client.ErrUnavailable):
		return exitUnavailable
	case errors.Is(err, client.ErrUnauthenticated):
		return exitUnauthenticated
	case errors.Is(err, client.ErrThrottled):
		return exitThrottled
	}
	return exitFailed
}
