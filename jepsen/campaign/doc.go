// Package campaign runs a cluster under load and faults, again and again: each run
// has a seed of its own, which follows from the campaign's and the run's number.
package campaign
