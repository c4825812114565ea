package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	chosen, left, err := Choose(&Target{}, []string{Process, "halves", "disk-full"})
	if err != nil || len(chosen) != len(processFaults()) || !slices.Equal(left, []string{"halves", "disk-full"}) {
		t.Errorf("%d chosen, %v left out, %v", len(chosen), left, err)
	}
	if _, _, err := Choose(&Target{}, []string{"earthquake"}); err == nil || !strings.Contains(err.Error(), "kill-leader") {
		t.Errorf("an unknown fault: %v", err)
	}
	if chosen, _, err := Choose(&Target{}, []string{"none"}); err != nil || len(chosen) > 0 {
		t.Errorf("none: %v, %v", chosen, err)
	}
}

func TestNamesAreNamesOfOne(t *testing.T) {
	names := Names()
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("a name is given twice: %v", names)
	}
}

func TestDrawByWeight(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	count := map[string]int{}
	for range 1000 {
		count[draw(r, []Fault{{Name: "often", Weight: 9}, {Name: "seldom"}}).Name]++
	}
	if count["seldom"] < 50 || count["seldom"] > 200 {
		t.Errorf("%v", count)
	}
}

// TestRun: a seed gives the same faults in the same order; a violation is
// returned, another error is in the timeline alone.
func TestRun(t *testing.T) {
	run := func() ([]string, *Timeline, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		var order []string
		var faults []Fault
		for i := range 4 {
			faults = append(faults, Fault{Name: fmt.Sprint(i), Class: Torture, Run: func(context.Context, *Target, *rand.Rand) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				if order = append(order, fmt.Sprint(i)); len(order) == 2 {
					cancel()
					return "", fmt.Errorf("%w: it took part", ErrViolation)
				}
				return "", errors.New("could not be had")
			}})
		}
		line := &Timeline{Now: func() time.Duration { return 0 }}
		err := Run(ctx, &Target{Timeline: line}, faults, 7)
		return order, line, err
	}
	first, line, err := run()
	if !errors.Is(err, ErrViolation) || len(line.Events()) != 2 || line.Events()[0].Error != "could not be had" {
		t.Errorf("%v, %v", err, line.Events())
	}
	if second, _, _ := run(); !slices.Equal(first, second) {
		t.Errorf("%v, then %v", first, second)
	}
}
