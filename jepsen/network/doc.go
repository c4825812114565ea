// Package network gives each node of a cluster a network namespace of its own,
// and carries every packet between them: one process reads all of them from TUN
// devices, and so can drop, delay, reorder and duplicate them for each pair of
// nodes and each direction. Nothing of it outlives that process, however it ends:
// namespaces and devices are held by file descriptors alone.
package network
