package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/joho/godotenv"
)

// FuzzConfigFile: what is read sets flags, or is an error.
func FuzzConfigFile(f *testing.F) {
	f.Add([]byte("data_dir: /var/lib/hexrd\nsnapshot_entries: 10\n"), "HEXRD_BIND=:1")
	f.Add([]byte("a: &a [*a]\n---\nb: {}\n"), "HEXRD_LOG_LEVEL=what")
	f.Add([]byte("<<: *x\nlog_level: !!binary aGk=\n"), "")
	f.Fuzz(func(t *testing.T, data []byte, env string) {
		values, err := parseConfig(data)
		if err == nil && slices.Contains(sortedKeys(values), "\x00") {
			t.Fatal("a key that YAML has none of")
		}
		if flags := newStartCommand().Flags(); strings.Contains(env, "=") {
			_ = fillFlags(flags, []string{env})
		}
	})
}

// FuzzImportFile: a .env file is read, or refused.
func FuzzImportFile(f *testing.F) {
	f.Add("A=1\nexport B='x'\nC=\"$A\"\n")
	f.Add("=\n${")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := godotenv.Parse(strings.NewReader(text))
		if err == nil && values == nil {
			t.Fatal("neither values nor an error")
		}
	})
}
