// Package fault is where tests reach into a node that runs as a process: named
// points at which it can be made to die, and its clock. In a normal build both
// are nothing; the build tag hexrdfault turns them on.
//
// HEXRD_FAULT_CRASH=POINT[:N] kills the process with SIGKILL when it comes to
// that point the Nth time (default 1). HEXRD_FAULT_CLOCK names a file with a Go
// duration by which the clock is off; it is read again at each look.
package fault
