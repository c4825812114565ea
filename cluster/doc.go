// Package cluster is the network between replicas: the one-port listener, raft's
// stream layer, forwarding, join, membership and the autopilot. Commands are
// opaque bytes here.
package cluster
