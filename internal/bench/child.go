package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Order asks a child process for a measurement; it answers a line with an Answer.
type Order struct {
	Workload string        `json:"workload"`
	Workers  int           `json:"workers"`
	Duration time.Duration `json:"duration"`
	WarmUp   time.Duration `json:"warm_up"`
	Target   string        `json:"target,omitempty"`
}

// Answer of a child process; its first one says that it is ready.
type Answer struct {
	Ready string `json:"ready,omitempty"` // address or name
	Rate  Rate   `json:"rate"`
	Error string `json:"error,omitempty"`
}

// child is a process that serves or measures something to compare with. It ends
// with its standard input.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ready string
}

// startChild runs a program and waits until it says that it is ready.
func startChild(ctx context.Context, program string, args ...string) (*child, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C ends it through its input
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return nil, fmt.Errorf("start what to compare with: %w", err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	a, err := c.answer()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start what to compare with: %w", err), c.close())
	}
	c.ready = a.Ready
	return c, nil
}

func (c *child) answer() (Answer, error) {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return Answer{}, errors.New("the process ended")
	}
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		return Answer{}, fmt.Errorf("its answer is not understood: %w", err)
	}
	if a.Error != "" {
		return Answer{}, errors.New(a.Error)
	}
	return a, nil
}

func (c *child) ask(o Order) (Rate, error) {
	if err := json.NewEncoder(c.in).Encode(o); err != nil {
		return Rate{}, err
	}
	a, err := c.answer()
	return a.Rate, err
}

func (c *child) close() error {
	_ = c.in.Close()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // it was told to end
	}
	return err
}

// Obey is a child's side: it says that it is ready, and answers orders until its
// input ends.
func Obey(ctx context.Context, in io.Reader, out io.Writer, ready string, do func(context.Context, Order) (Rate, error)) error {
	enc := json.NewEncoder(out)
	if err := enc.Encode(Answer{Ready: ready}); err != nil {
		return err
	}
	dec := json.NewDecoder(in)
	for {
		var o Order
		if err := dec.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var a Answer
		var err error
		if a.Rate, err = do(ctx, o); err != nil {
			a.Error = err.Error()
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}
