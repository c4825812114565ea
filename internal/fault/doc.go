// Package fault is where tests reach into a node that runs as a process: named
// points at which it can be made to die, its clock, and where it begins to copy values. In a
// normal build all of them are nothing; the build tag hexrdfault turns them on.
//
// HEXRD_FAULT_CRASH=POINT[:N] kills the process with SIGKILL when it comes to
// that point the Nth time (default 1). HEXRD_FAULT_CLOCK names a file with a Go
// duration by which the clock is off; it is read again at each look.
// HEXRD_FAULT_COPIES=1 has a store copy values from the first one on, as a large one does.
package fault
