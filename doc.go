// Package hexrd is a server as a value: Open wires identity, keys, the replica,
// the network between replicas and the API into one node, Wait tells when it
// ended, Close ends it. Nothing else in this module wires them.
package hexrd
