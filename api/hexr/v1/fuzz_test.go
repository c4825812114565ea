package hexrv1

import "testing"

// FuzzParseDuration: what is read is not negative, and is what shows.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"90d", "1d12h", "1h30m", "0", "36500d", "d", "-1h", "1dd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d || d < 0 {
			t.Fatalf("%s shows as %s, which is %s: %v", d, FormatDuration(d), again, err)
		}
	})
}
