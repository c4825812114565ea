package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd/internal/quiet"
)

// protectProcess keeps keys out of core dumps and of other processes of this
// user: no core file, not dumpable (which also closes /proc/PID and ptrace), and
// no file that others may read.
func protectProcess() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

const (
	garbagePercent = 400
	// memoryLimit is of Go's own memory. Pebble's cache and memtables and the program
	// itself come on top, some 130 MiB: a node with a large store is to stay below 500.
	memoryLimit = 330 << 20
)

// collectLater lets garbage pile up to some times of what is in use, which is
// little: at the runtime's own setting a node spends an eighth of its time
// collecting. Near the limit it collects as often as it must. GOGC and GOMEMLIMIT
// come first.
func collectLater() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// fatalSignals are those for which the runtime would print the stacks of all
// goroutines with their arguments, and the registers.
var fatalSignals = []os.Signal{
	syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGILL, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV,
}

// dumpStacks answers those signals with the stacks alone, and ends the process.
// A fault of the process itself stays the runtime's.
func dumpStacks(w io.Writer) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, fatalSignals...)
	go func() {
		sig := (<-signals).(syscall.Signal)
		_, _ = fmt.Fprintf(w, "hexrd: %s: the stacks of all goroutines, without their arguments:\n", sig)
		_ = quiet.Goroutines(w)
		os.Exit(128 + int(sig))
	}()
}
