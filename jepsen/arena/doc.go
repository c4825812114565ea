// Package arena is the cluster under test: real node processes, each with an
// address, a clock, a data directory and an identity of its own. It starts what
// ends, as a supervisor does, unless a fault wants it down.
package arena
