package arena

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hexrdev/hexrd/internal/dev"
)

const (
	restartPause = 200 * time.Millisecond // after a process that ended at once it is longer
	longestPause = 2 * time.Second
)

// Start starts the node's process, and from now on again whenever it ends. It
// does nothing where one runs. It does not wait for its health.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.removed {
		return fmt.Errorf("%s was removed", n.ID)
	}
	n.wanted = true
	if n.running() {
		return nil
	}
	return n.launch()
}

// Try starts the node's process once: where it ends, it is not started again.
func (n *Node) Try() error {
	if err := n.Start(); err != nil {
		return err
	}
	n.Disown()
	return nil
}

func (n *Node) running() bool { return n.process != nil && n.process.Running() }

func (n *Node) launch() error {
	args := append([]string{}, n.args...)
	args = append(args, "--data-dir", n.Data(), "--wrapper-key", filepath.Join(n.dir, "wrapper.key"),
		"--bind", n.Address, "--admin-socket", filepath.Join(n.c.sockets, n.ID+"-admin"))
	args = append(args, n.c.cfg.NodeArgs...)
	if n.c.cfg.LogStore != "" {
		args = append(args, "--log-store", n.c.cfg.LogStore)
	}
	p, err := dev.StartProcess(dev.Command{
		Program: n.program, Args: args, LogFile: n.LogFile(), Namespace: n.namespace,
		Env: append([]string{
			"SPIFFE_ENDPOINT_SOCKET=" + n.workload.Address(), "HEXRD_FAULT_CLOCK=" + n.clockFile(), "HEXRD_FAULT_CRASH=" + n.crash,
		}, n.c.cfg.Env...),
	})
	if err != nil {
		return err
	}
	n.process, n.paused, n.crash = p, false, ""
	n.starts++
	n.c.wg.Add(1)
	begun := time.Now()
	go func() {
		defer n.c.wg.Done()
		n.supervise(p, begun)
	}()
	return nil
}

// supervise starts the next process when this one has ended, as long as one is
// wanted.
func (n *Node) supervise(p *dev.Process, begun time.Time) {
	<-p.Exited()
	n.mu.Lock()
	again := n.wanted
	n.pause = min(2*max(n.pause, restartPause/2), longestPause)
	if time.Since(begun) > longestPause {
		n.pause = restartPause
	}
	pause := n.pause
	n.mu.Unlock()
	if !again {
		return
	}
	if n.c.cfg.Exited != nil {
		n.c.cfg.Exited(n.ID, p.Err())
	}
	time.Sleep(pause)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wanted && n.process == p {
		if err := n.launch(); err != nil {
			n.c.cfg.Logger.Error("a node does not start: is its binary still there?", "node", n.ID, "error", err)
		}
	}
}

// Kill ends the process with SIGKILL, and waits until it is gone. With again it
// is started anew by its supervisor; else by Start alone.
func (n *Node) Kill(again bool) {
	n.mu.Lock()
	n.wanted = n.wanted && again
	p := n.process
	if p != nil {
		_ = p.Signal(syscall.SIGKILL) // of a process that has ended: an error, and what is wanted
	}
	n.mu.Unlock()
	if p != nil {
		<-p.Exited()
	}
}

// Pause stops the process as it stands; Continue lets it go on.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP, true) }

// Continue lets a paused process go on.
func (n *Node) Continue() error { return n.signal(syscall.SIGCONT, false) }

func (n *Node) signal(sig syscall.Signal, paused bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running() || n.paused == paused {
		return nil
	}
	n.paused = paused
	return n.process.Signal(sig)
}

// Running reports whether a process of the node runs, be it paused.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running()
}

// Starts is how often a process of the node was started.
func (n *Node) Starts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.starts
}

// WaitExit returns when the process has ended.
func (n *Node) WaitExit(ctx context.Context) error {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.Exited():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s runs on: %w", n.ID, ctx.Err())
	}
}
