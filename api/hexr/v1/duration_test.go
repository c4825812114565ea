package hexrv1

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"90d": 90 * day, "1d12h": 36 * time.Hour, "30s": 30 * time.Second, "0s": 0, "1h30m": 90 * time.Minute, "1h": time.Hour,
		"2m": 2 * time.Minute, "1d1s": day + time.Second, "1.5s": 1500 * time.Millisecond, "10m0.5s": 10*time.Minute + 500*time.Millisecond,
	} {
		d, err := ParseDuration(s)
		if err != nil || d != want {
			t.Errorf("%q is %s, %v", s, d, err)
		}
		if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
			t.Errorf("%q comes back as %q: %v", s, FormatDuration(d), err)
		}
	}
	for d, want := range map[time.Duration]string{90 * day: "90d", 36 * time.Hour: "1d12h", time.Hour: "1h", 90 * time.Minute: "1h30m", 0: "0s"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%s is written %q, want %q", d, got, want)
		}
	}
	for _, s := range []string{"", "d", "90", "-1d", "1d-1h", "-1s", "1.5d", "99999999d", "1w", "1d1d", " 1d", "1h1d"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("%q is %s", s, d)
		}
	}
}
