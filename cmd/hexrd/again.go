package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// beginAgain starts this program again, as the same process, where it needs what
// the runtime takes only as it starts. It does not return then.
func beginAgain() error {
	runtime.LockOSThread() // it is this thread that goes on
	defer runtime.UnlockOSThread()
	env, quieter := plainTraceback(os.Environ())
	if !lateTimers() && !quieter {
		return nil
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, os.Args, env)
	}
	if quieter {
		return fmt.Errorf("unset %s, and start again: %w", traceback, err)
	}
	return nil // it runs as well, but wakes up more often
}

const traceback = "GOTRACEBACK"

// plainTraceback is an environment that does not ask for more than the stack that
// failed, and whether the one given does: a trace prints arguments as words of
// memory, and a core dump has all of it. The runtime takes no lower level once it
// runs.
func plainTraceback(env []string) (plain []string, changed bool) {
	switch os.Getenv(traceback) {
	case "", "none", "0", "single":
		return env, false
	}
	return slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, traceback+"=") }), true
}

const (
	kernelSlack = 50_000  // ns, of a thread that nobody set another for (prctl(2), PR_SET_TIMERSLACK)
	timerSlack  = 500_000 // ns
)

// lateTimers lets timers of this thread, and of those that it begins, fire up to
// half a millisecond late, and reports whether they did not before. While there is
// work, the runtime's monitor sleeps for 20 us at a time, and who would steal a
// goroutine for 3 us: with the kernel's own slack a node wakes up thousands of times
// a second for these alone. No timer of a node is that precise (decision 8). What a
// supervisor set (systemd's TimerSlackNSec) comes first.
func lateTimers() bool {
	if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || slack != kernelSlack {
		return false
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) != nil {
		return false
	}
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	return err == nil && slack == timerSlack // or it would begin again for ever
}
