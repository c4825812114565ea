package check

import (
	"bufio"
	"os"
	"regexp"
)

// alarming is what no node may ever log, whatever its disk, network or clock do.
var alarming = regexp.MustCompile(`panic|goroutine \d+ \[|fatal error|state has diverged|DATA RACE`)

// Logs looks for what a node must never say.
func Logs(files map[string]string) Result {
	r := Result{Name: "logs"}
	for _, node := range sortedKeys(files) {
		f, err := os.Open(files[node])
		if err != nil {
			r.problem("%s: %v", node, err)
			continue
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			r.Checked++
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
