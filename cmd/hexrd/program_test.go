package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// faultyDir is where faulty builds to; TestMain removes it.
var faultyDir string

// faulty builds hexrd with the points of package fault and without the race
// detector, once for all tests.
var faulty = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hexrd-faults-")
	if err != nil {
		return "", err
	}
	faultyDir = dir
	program := filepath.Join(dir, "hexrd")
	out, err := exec.Command("go", "build", "-tags", "hexrdfault", "-o", program, ".").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return program, nil
})

// binary is the program that the processes of a test run: this binary itself, with
// the race detector where the tests have it; in a short run the faulty build, which
// starts several times as fast.
func binary(t testing.TB) string {
	t.Helper()
	if !testing.Short() {
		return os.Args[0]
	}
	return faultyBinary(t)
}

func faultyBinary(t testing.TB) string {
	t.Helper()
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// logStores are those that a test runs on: in a short run the default alone.
func logStores() []string {
	if testing.Short() {
		return []string{"wal"}
	}
	return []string{"bolt", "wal"}
}
