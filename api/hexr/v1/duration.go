package hexrv1

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	day     = 24 * time.Hour
	maxDays = 36500
)

var errDuration = errors.New("use a time such as 90d, 1d12h or 1h30m")

// ParseDuration reads a Go duration that may begin with days: 90d, 1d12h, 30s.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > maxDays {
		return 0, errDuration
	}
	var d time.Duration
	if rest != "" || !found {
		if d, err = time.ParseDuration(rest); err != nil || d < 0 {
			return 0, errDuration
		}
	}
	if d > maxDays*day {
		return 0, errDuration
	}
	return time.Duration(n)*day + d, nil
}

// FormatDuration is what ParseDuration reads, as short as it can be.
func FormatDuration(d time.Duration) string {
	out := ""
	if n := d / day; n > 0 {
		out = strconv.FormatInt(int64(n), 10) + "d"
		if d -= n * day; d == 0 {
			return out
		}
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return out + s
}
