package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// asThreads makes the test binary a program that begins as a node does, and prints
// the timer slack of some of its threads.
const asThreads = "HEXRD_TEST_THREADS"

const someThreads = 8

func runThreads() error {
	if err := beginAgain(); err != nil {
		return err
	}
	slacks := make([]int, someThreads)
	var all, begun sync.WaitGroup
	begun.Add(someThreads)
	for i := range slacks {
		all.Go(func() {
			runtime.LockOSThread()
			begun.Done()
			begun.Wait() // each has a thread of its own
			slacks[i], _ = unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		})
	}
	all.Wait()
	fmt.Println(strings.Trim(fmt.Sprint(slacks), "[]"))
	return nil
}

// TestTimersMayBeLate: all threads of a node have the slack, or what it was given.
func TestTimersMayBeLate(t *testing.T) {
	t.Parallel()
	for given, want := range map[int]int{kernelSlack: timerSlack, 70_000: 70_000} {
		out := withSlack(t, given)
		if got := strings.Fields(out); !slices.Equal(got, slices.Repeat([]string{fmt.Sprint(want)}, someThreads)) {
			t.Errorf("begun with %d ns: %q, want %d", given, out, want)
		}
	}
}

// withSlack runs the program as a child of a thread that has a timer slack, which
// the child inherits.
func withSlack(t *testing.T, ns int) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asThreads+"=1")
	runtime.LockOSThread() // and not unlocked: the thread ends with its goroutine
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(ns), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
