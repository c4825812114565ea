package workload

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/history"
)

const (
	pythonCaller = "/agent/acme/snake/main"
	pythonEnds   = 30 * time.Second // for calls that are under way
)

//go:embed client.py
var pythonClient string

// Python is an agent on the Python SDK, in a process of its own.
type Python struct {
	Interpreter string
	Cluster     *arena.Cluster
	Recorder    *history.Recorder
}

// Name of the workload.
func (w *Python) Name() string { return "python" }

// pythonReady says why an interpreter can't run the client.
func pythonReady(ctx context.Context, interpreter string) error {
	if interpreter == "" {
		return errors.New("no interpreter was given (-python)")
	}
	if _, err := exec.LookPath(interpreter); err != nil {
		return errors.New("there is no such interpreter: make test-python makes one")
	}
	out, err := exec.CommandContext(ctx, interpreter, "-c", "import hexr, opentelemetry.trace").CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s has not what it takes: %w: %s", interpreter, err, lines[len(lines)-1])
	}
	return nil
}

const zeroReadings = 100

// zeroOf is what a clock showed at the zero of the history's: of some readings the one
// between the closest two of the history, since a machine may halt us between any.
func zeroOf(history func() time.Duration, clock func() (int64, error)) (zero int64, err error) {
	closest := time.Duration(math.MaxInt64)
	for range zeroReadings {
		before := history()
		now, err := clock()
		if err != nil {
			return 0, err
		}
		if took := history() - before; took < closest {
			closest, zero = took, now-int64(before+took/2)
		}
	}
	return zero, nil
}

// monotonic is the clock of Python's time.monotonic_ns.
func monotonic() (int64, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano(), err
}

// Run runs the client until ctx ends, and adds its lines to the history.
func (w *Python) Run(ctx context.Context, worker int, r *rand.Rand) {
	if err := w.run(ctx, r); err != nil {
		w.Recorder.Add(history.Op{
			Workload: w.Name(), Worker: worker, Kind: history.Get, Caller: "spiffe://" + arena.TrustDomain + pythonCaller,
			Start: w.Recorder.Now(), End: w.Recorder.Now(), Outcome: history.Refused, Reason: "INTERNAL: " + err.Error(),
		})
	}
}

func (w *Python) run(ctx context.Context, r *rand.Rand) error {
	socket, err := w.Cluster.Identity(ctx, pythonCaller)
	if err != nil {
		return err
	}
	zero, err := zeroOf(w.Recorder.Now, monotonic)
	if err != nil {
		return err
	}
	end, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	cmd := exec.CommandContext(end, w.Interpreter, "-c", pythonClient)
	cmd.Env = append(os.Environ(), "SPIFFE_ENDPOINT_SOCKET="+socket, "HEXR_ADDR="+strings.Join(w.Cluster.Addresses(), ","),
		"JEPSEN_SEED="+strconv.FormatUint(uint64(r.Uint32()), 10), "JEPSEN_ZERO="+strconv.FormatInt(zero, 10),
		"JEPSEN_CALLER=spiffe://"+arena.TrustDomain+pythonCaller)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	<-ctx.Done()
	_ = in.Close()
	overdue := time.AfterFunc(pythonEnds, kill)
	defer overdue.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the Python client failed: %w: %s", err, errs.String())
	}
	ops, err := history.Read(&out)
	for _, o := range ops {
		w.Recorder.Add(o)
	}
	return err
}
