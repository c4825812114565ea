//go:build !hexrdfault

package fault

import "time"

// Point is a place to crash at.
func Point(string) {}

// Now is the time of the clock.
func Now() time.Time { return time.Now() }
