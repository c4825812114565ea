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
	stopLimit   = 15 * time.Second
	healthPause = 50 * time.Millisecond
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
	program string
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
	program := c.cfg.Program
	if c.cfg.Old != "" && !c.upgrading {
		program = c.cfg.Old
	}
	c.mu.Unlock()
	n := &Node{ID: id, c: c, program: program, dir: filepath.Join(c.cfg.Dir, "nodes", id)}
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
	var err error
	n.Address, err = n.c.ports.Free(ctx)
	return err
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

// errRetired: nothing starts the node any more.
var errRetired = errors.New("the node was abandoned")

// WaitHealthy returns when the node says that it is healthy.
func (n *Node) WaitHealthy(ctx context.Context) error {
	tick := time.NewTicker(healthPause)
	defer tick.Stop()
	for !dev.Healthy(ctx, n.health, n.Address) {
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

// close ends the node.
func (n *Node) close() {
	n.Stop()
	_ = n.workload.Close()
}

// Stop ends the process in good order where that does not take too long.
func (n *Node) Stop() {
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
}
