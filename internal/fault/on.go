//go:build hexrdfault

package fault

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var passed atomic.Int64

// Point is a place to crash at.
func Point(name string) {
	want, nth, _ := strings.Cut(os.Getenv("HEXRD_FAULT_CRASH"), ":")
	if want != name {
		return
	}
	n, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		n = 1
	}
	if passed.Add(1) == n {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more of this process may happen
	}
}

// Now is the time of the clock.
func Now() time.Time {
	now := time.Now()
	data, err := os.ReadFile(os.Getenv("HEXRD_FAULT_CLOCK"))
	if err != nil {
		return now
	}
	off, err := time.ParseDuration(strings.TrimSpace(string(data)))
	if err != nil {
		return now
	}
	return now.Add(off)
}

// CopiesFrom is from how many bytes of values on a store copies them.
func CopiesFrom(usual int64) int64 {
	if os.Getenv("HEXRD_FAULT_COPIES") != "" {
		return 0
	}
	return usual
}
