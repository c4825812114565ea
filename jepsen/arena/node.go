package arena

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd/internal/dev"
)

const (
	restartPause = 200 * time.Millisecond // after a process that ended at once it is longer
	longestPause = 2 * time.Second
	stopLimit    = 15 * time.Second
	healthPause  = 50 * time.Millisecond
)

// Node is one node of the cluster over all its processes.
type Node struct {
	ID, Address string

	c         *Cluster
	dir       string
	namespace *os.File
	workload  *dev.WorkloadServer
	health    *http.Client

	mu      sync.Mutex // guards what follows, and orders starts and signals
	args    []string
	crash   string // point of the next start, or empty
	process *dev.Process
	wanted  bool // what ends is started again
	paused  bool
	removed bool // nothing starts it again
	out     bool // the cluster knows
	starts  int
	pause   time.Duration // before the next start by itself
}

// newNode makes all of a node but its process.
func (c *Cluster) newNode(ctx context.Context) (*Node, error) {
	c.mu.Lock()
	c.last++
	id := "n" + strconv.Itoa(c.last)
	c.mu.Unlock()
	n := &Node{ID: id, c: c, dir: filepath.Join(c.cfg.Dir, "nodes", id)}
	if err := os.MkdirAll(n.Data(), 0o700); err != nil {
		return nil, fmt.Errorf("make node directory: %w", err)
	}
	if c.cfg.Mount != nil {
		if err := c.cfg.Mount(ctx, id, n.Data()); err != nil {
			return nil, fmt.Errorf("mount the disk of %s: %w", id, err)
		}
	}
	if err := n.place(ctx); err != nil {
		return nil, err
	}
	svid, err := spiffeid.FromPath(c.td, "/hexr/node/"+id)
	if err != nil {
		return nil, err
	}
	n.health = healthClient(c.authority, svid)
	n.workload, err = dev.ServeWorkload(ctx, filepath.Join(c.sockets, id), c.authority.issue(svid, c.cfg.SVIDTTL), c.cfg.Logger)
	return n, err
}

// place gives the node its address.
func (n *Node) place(ctx context.Context) error {
	if n.c.cfg.Network != nil {
		addr, namespace, err := n.c.cfg.Network.Add(n.ID)
		n.Address, n.namespace = net.JoinHostPort(addr.String(), strconv.Itoa(port)), namespace
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	n.Address = l.Addr().String()
	return l.Close()
}

// Data is the node's data directory.
func (n *Node) Data() string { return filepath.Join(n.dir, "data") }

// LogFile holds what all its processes said.
func (n *Node) LogFile() string { return filepath.Join(n.dir, "node.log") }

func (n *Node) clockFile() string { return filepath.Join(n.dir, "clock") }

func (n *Node) setArgs(args []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.args = args
}

// CrashAt lets the next process of the node die at a point of internal/fault; the
// ones after it do not. POINT:N is the Nth time there.
func (n *Node) CrashAt(point string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.crash = point
}

// SetClock makes the node's clock wrong by that much; 0: right.
func (n *Node) SetClock(off time.Duration) error {
	tmp := n.clockFile() + ".new"
	if err := os.WriteFile(tmp, []byte(off.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, n.clockFile())
}

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
		Program: n.c.cfg.Program, Args: args, LogFile: n.LogFile(), Namespace: n.namespace,
		Env: []string{
			"SPIFFE_ENDPOINT_SOCKET=" + n.workload.Address(), "HEXRD_FAULT_CLOCK=" + n.clockFile(), "HEXRD_FAULT_CRASH=" + n.crash,
		},
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

// errRetired: nothing starts the node any more.
var errRetired = errors.New("the node was abandoned")

// WaitHealthy returns when the node says that it is healthy.
func (n *Node) WaitHealthy(ctx context.Context) error {
	tick := time.NewTicker(healthPause)
	defer tick.Stop()
	for !healthy(ctx, n.health, n.Address) {
		if n.Retired() {
			return fmt.Errorf("%s: %w", n.ID, errRetired)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not become healthy by itself; its log is %s: %w", n.ID, n.LogFile(), ctx.Err())
		}
	}
	return nil
}

// Disown makes sure that the node is not started again by itself.
func (n *Node) Disown() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = false
}

// Abandon ends a node whose disk is not to be used again: nothing starts it any
// more, and it is no member to this suite from now on. Remove tells the cluster.
func (n *Node) Abandon() {
	n.mu.Lock()
	n.removed = true
	n.mu.Unlock()
	n.Kill(false)
}

// forget: the cluster has removed it.
func (n *Node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.out = true
}

// pending: it was abandoned, and is a member of the cluster still.
func (n *Node) pending() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removed && !n.out
}

// Retired: it was abandoned, or removed.
func (n *Node) Retired() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removed
}

// close ends the process in good order where that does not take too long.
func (n *Node) close() {
	n.mu.Lock()
	n.wanted = false
	p := n.process
	if n.running() {
		_ = errors.Join(p.Signal(syscall.SIGCONT), p.Signal(syscall.SIGTERM))
	}
	n.mu.Unlock()
	if p != nil {
		select {
		case <-p.Exited():
		case <-time.After(stopLimit):
			n.Kill(false)
		}
	}
	_ = n.workload.Close()
}
