package hexrd

import (
	"testing"
	"time"
)

func TestDiskMarks(t *testing.T) {
	for _, c := range []struct {
		was  space
		free uint64 // of 10,000
		want space
	}{
		{spaceOK, 1000, spaceOK},
		{spaceOK, 999, spaceWarning},
		{spaceOK, 500, spaceWarning},
		{spaceOK, 499, spaceLow},
		{spaceOK, 300, spaceLow},
		{spaceOK, 299, spaceVeryLow},
		{spaceOK, 200, spaceVeryLow},
		{spaceOK, 199, spaceCritical},
		{spaceCritical, 249, spaceCritical}, // back half a point above the mark
		{spaceCritical, 250, spaceVeryLow},
		{spaceLow, 549, spaceLow},
		{spaceLow, 550, spaceWarning},
		{spaceCritical, 9000, spaceOK},
		{spaceWarning, 0, spaceCritical},
	} {
		if got := c.was.after(c.free, 10_000); got != c.want {
			t.Errorf("%v, then %d of 10000 free: %v, want %v", c.was, c.free, got, c.want)
		}
	}
	if got := spaceLow.after(0, 0); got != spaceLow {
		t.Errorf("a disk that can't be looked at: %v", got)
	}
	for _, c := range []struct {
		states []space
		want   space
	}{
		{nil, spaceOK},
		{[]space{spaceLow}, spaceLow},
		{[]space{spaceOK, spaceCritical, spaceOK}, spaceOK},
		{[]space{spaceCritical, spaceOK, spaceLow}, spaceLow},
		{[]space{spaceOK, spaceOK, spaceLow, spaceLow}, spaceLow},
		{[]space{spaceOK, spaceCritical, spaceOK, spaceLow, spaceOK}, spaceOK},
	} {
		if got := majorityOf(c.states); got != c.want {
			t.Errorf("%v: %v, want %v", c.states, got, c.want)
		}
	}
}

// TestVoterIsNotLowBeforeItWasAsked: a leader that was just started, as after a
// power cut of all, takes puts though the others don't answer yet.
func TestVoterIsNotLowBeforeItWasAsked(t *testing.T) {
	d := disks{voters: map[string]heardSpace{}}
	begin := time.Now()
	for after, want := range map[time.Duration]space{0: spaceOK, forgetSpace - 1: spaceOK, forgetSpace: spaceLow} {
		d.voters = map[string]heardSpace{}
		if got := d.heard("n2", begin); got != spaceOK {
			t.Errorf("never heard: %v", got)
		}
		if got := d.heard("n2", begin.Add(after)); got != want {
			t.Errorf("silent for %s: %v, want %v", after, got, want)
		}
	}
	d.voters["n3"] = heardSpace{spaceWarning, begin}
	if got := d.heard("n3", begin.Add(time.Second)); got != spaceWarning {
		t.Errorf("it said %v", got)
	}
}
