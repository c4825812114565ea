package dev

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is a program of a node to run.
type Command struct {
	Program   string
	Args, Env []string // Env is added to this process's own
	LogFile   string   // its output is appended there
	// Namespace is the network namespace that it runs in; nil: this process's own.
	Namespace *os.File
}

// Process is one run of a node's program. It dies with the supervisor. Its
// methods are safe for concurrent use.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu      sync.Mutex
	stopped bool // by SIGSTOP
	err     error
}

// StartProcess runs the command.
func StartProcess(c Command) (*Process, error) {
	out, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open node log: %w", err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(c.Program, c.Args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C is the supervisor's: nodes stop in order
		Pdeathsig: syscall.SIGTERM,
	}
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(c.Namespace, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	return p, nil
}

// run keeps its thread for the life of the child: the kernel sends Pdeathsig
// when the thread that started it ends.
func (p *Process) run(namespace *os.File, started chan<- error) {
	runtime.LockOSThread()
	if namespace == nil {
		defer runtime.UnlockOSThread()
	} else if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("enter the network namespace: %w", err)
		return // a thread that is not unlocked ends with its goroutine, and serves nobody else
	}
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(p.exited)
}

// PID of the process, also after its end.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed once the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err is how the process ended; nil before, and after exit code 0.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// status is "running", "paused" or "exited".
func (p *Process) status() string {
	if !p.Running() {
		return "exited"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return "paused"
	}
	return "running"
}

// Signal sends a signal.
func (p *Process) Signal(sig syscall.Signal) error {
	if !p.Running() {
		return errors.New("the node is not running")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch sig {
	case syscall.SIGSTOP:
		p.stopped = true
	case syscall.SIGCONT:
		p.stopped = false
	}
	return p.cmd.Process.Signal(sig)
}
