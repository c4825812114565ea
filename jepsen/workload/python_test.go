package workload

import (
	"testing"
	"time"
)

// TestZeroOf: that all readings but one are interrupted, on either side of the
// clock's, moves no operation of the Python client.
func TestZeroOf(t *testing.T) {
	const begun, calm = int64(5 * time.Hour), 70
	at, readings := begun, 0
	halted := func(by time.Duration) {
		if readings != calm {
			at += int64(by)
		}
	}
	history := func() time.Duration {
		at += 40
		return time.Duration(at - begun)
	}
	clock := func() (int64, error) {
		readings++
		halted(time.Millisecond)
		at += 40
		now := at
		halted(3 * time.Millisecond)
		return now, nil
	}
	zero, err := zeroOf(history, clock)
	if off := time.Duration(zero - begun); err != nil || off.Abs() > time.Microsecond {
		t.Errorf("off by %v, %v", off, err)
	}
}
