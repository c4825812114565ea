// Package nemesis is what goes wrong: faults, each of which undoes itself, and the
// loops that inject them. What it does follows from a seed, as far as the moments
// do at which it looks at the cluster.
package nemesis
