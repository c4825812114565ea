package bench

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// goroutines of a node, by what they run: the function that each began with.
func goroutines(ctx context.Context, n Node) (map[string]int, error) {
	c := adminClient(n)
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("a node's goroutines: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	counts := map[string]int{}
	many, began := 0, ""
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() { // "3 @ ...", then a line for each frame of the stack, then an empty one
		line := lines.Text()
		if frame, ok := strings.CutPrefix(line, "#"); ok {
			if fields := strings.Fields(frame); len(fields) > 1 {
				began, _, _ = strings.Cut(fields[1], "+0x")
			}
			continue
		}
		if many > 0 {
			counts[began] += many
		}
		many, began = 0, ""
		_, _ = fmt.Sscanf(line, "%d @", &many)
	}
	if many > 0 {
		counts[began] += many
	}
	return counts, lines.Err()
}

// more says what there is more of than before.
func more(before, after map[string]int) string {
	var all []string
	for what, n := range after {
		if n > before[what] {
			all = append(all, fmt.Sprintf("%d more of %s", n-before[what], what))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
