// Package bench measures a cluster through the Go client, and the limits of the
// machine that it runs on, so that figures of one run can be compared as ratios.
package bench
