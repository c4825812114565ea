// Package workload is the clients of a cluster under test: what they call, and
// how it is written down. Each call carries a trace id of its own, which its audit
// rows have too.
package workload
