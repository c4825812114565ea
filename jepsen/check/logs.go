package check

import (
	"bufio"
	"os"
	"regexp"
)

// alarming is what no node may ever log, whatever its disk, network or clock do.
var alarming = regexp.MustCompile(`panic|goroutine \d+ \[|fatal error|state has diverged|DATA RACE`)

var running = regexp.MustCompile(`^goroutine \d+ \[running\]:$`)

// crashStop is how a node ends at a disk that takes no more of what Pebble's
// manifest needs: Pebble lets nobody return from there. Its stack follows.
var crashStop = regexp.MustCompile(`^panic: hexrd: the store's database reports a failure: look at the disk$`)

// Logs looks for what a node must never say. Where disks had faults, a node may
// end at one by the panic that is meant for it.
func Logs(files map[string]string, diskFaults bool) Result {
	r := Result{Name: "logs"}
	for _, node := range sortedKeys(files) {
		f, err := os.Open(files[node])
		if err != nil {
			r.problem("%s: %v", node, err)
			continue
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		expected := false // the stack that follows
		for lines.Scan() {
			r.Checked++
			switch line := lines.Bytes(); {
			case diskFaults && crashStop.Match(line):
				expected = true
				continue
			case expected && running.Match(line):
				expected = false
				continue
			}
			if alarming.Match(lines.Bytes()) {
				r.problem("%s: %s", node, lines.Text())
			}
		}
		if err := lines.Err(); err != nil {
			r.problem("%s: %v", node, err)
		}
		_ = f.Close()
	}
	return r
}
