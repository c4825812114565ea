// Package dev is a cluster on one machine: a small CA, a SPIFFE Workload API
// that serves its SVIDs, the node processes, and identities for programs. It
// isolates nothing between processes of one user.
package dev
