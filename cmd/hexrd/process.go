package main

import "golang.org/x/sys/unix"

// protectProcess keeps keys out of core dumps and of other processes of this
// user: no core file, not dumpable (which also closes /proc/PID/mem and ptrace).
func protectProcess() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
