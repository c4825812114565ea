package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/hexrdev/hexrd/client"
)

// member is a node of the dev cluster: its identity, and its current process.
type member struct {
	nodeState
	workload *WorkloadServer
	process  *Process
	admin    string // socket
}

// stop ends the process in good order, and by force when that takes too long.
func (m *member) stop() {
	if m.process != nil && m.process.Running() {
		_ = m.process.Signal(syscall.SIGCONT)
		_ = m.process.Signal(syscall.SIGTERM)
		select {
		case <-m.process.exited:
		case <-time.After(stopTimeout):
			_ = m.process.Signal(syscall.SIGKILL)
			<-m.process.exited
		}
	}
	if m.workload != nil {
		_ = m.workload.Close()
	}
}

// AddNode adds a node by `hexrd join`, and waits until it is a healthy member.
func (c *Cluster) AddNode(ctx context.Context) (NodeInfo, error) {
	c.mu.Lock()
	m, err := c.add(ctx)
	c.mu.Unlock()
	if err != nil {
		return NodeInfo{}, err
	}
	return c.info(ctx, m.ID), nil
}

// add makes the next node: the first bootstraps, all others join with a token.
func (c *Cluster) add(ctx context.Context) (*member, error) {
	addr, err := c.ports.Free(ctx)
	if err != nil {
		return nil, err
	}
	n := nodeState{ID: fmt.Sprintf("n%d", len(c.state.Nodes)+1), Address: addr}
	if err := os.MkdirAll(c.layout.node(n.ID), 0o700); err != nil {
		return nil, fmt.Errorf("make node directory: %w", err)
	}
	args := []string{"start", "--bootstrap"}
	if len(c.state.Nodes) > 0 {
		if err := c.writeToken(ctx, n.ID); err != nil {
			return nil, err
		}
		args = []string{"join", "--token-file", c.layout.token(n.ID)}
		args = append(args, c.addresses()...)
	}
	c.say("starting %s on %s: hexrd %s", n.ID, n.Address, args[0])
	m, err := c.launch(ctx, n, args)
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx, m); err != nil {
		return nil, err
	}
	_ = os.Remove(c.layout.token(n.ID)) // consumed
	c.state.Nodes = append(c.state.Nodes, n)
	return m, c.state.save(c.layout.state())
}

// writeToken asks the cluster, as its operator, for a join token.
func (c *Cluster) writeToken(ctx context.Context, nodeID string) error {
	op, err := c.asOperator(ctx, c.addresses())
	if err != nil {
		return err
	}
	defer func() { _ = op.Close() }()
	token, err := op.CreateToken(ctx, nodeID, 10*time.Minute)
	if err != nil {
		return fmt.Errorf("create a join token for %s: %w", nodeID, err)
	}
	return os.WriteFile(c.layout.token(nodeID), []byte(token.GetToken()+"\n"), 0o600)
}

func (c *Cluster) asOperator(ctx context.Context, addrs []string) (*client.Client, error) {
	return client.Dial(ctx, client.Config{Addrs: addrs, Socket: c.operator.Address()})
}

// restart starts a node that the directory holds.
func (c *Cluster) restart(ctx context.Context, n nodeState) error {
	c.say("starting %s on %s: hexrd start", n.ID, n.Address)
	_, err := c.launch(ctx, n, []string{"start"})
	return err
}

// launch runs the node's program with a Workload API of its own.
func (c *Cluster) launch(ctx context.Context, n nodeState, args []string) (*member, error) {
	m := c.nodes[n.ID]
	if m == nil {
		workload, err := c.serveIdentity(ctx, "/hexr/node/"+n.ID, n.ID+".sock", true)
		if err != nil {
			return nil, err
		}
		m = &member{nodeState: n, workload: workload}
		c.nodes[n.ID] = m
	}
	admin, err := socketPath(c.cfg.Dir, n.ID+"-admin.sock")
	if err != nil {
		return nil, err
	}
	args = append(args,
		"--data-dir", c.layout.data(n.ID), "--wrapper-key", c.layout.wrapperKey(n.ID),
		"--bind", n.Address, "--admin-socket", admin)
	m.admin = admin
	args = append(args, c.cfg.NodeArgs...)
	if c.cfg.LogStore != "" {
		args = append(args, "--log-store", c.cfg.LogStore)
	}
	env := []string{"SPIFFE_ENDPOINT_SOCKET=" + m.workload.Address()}
	m.process, err = StartProcess(Command{Program: c.program, Args: args, Env: env, LogFile: c.layout.log(n.ID)})
	return m, err
}

func (c *Cluster) await(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := waitHealthy(ctx, c.health, m.Address, m.process); err != nil {
		return fmt.Errorf("node %s: %w; its log is %s", m.ID, err, c.layout.log(m.ID))
	}
	return nil
}

// StartNode starts a node that is not running and waits until it is healthy.
// Without a quorum that takes until others were started too, meanwhile.
func (c *Cluster) StartNode(ctx context.Context, id string) (NodeInfo, error) {
	m, err := c.startAgain(ctx, id)
	if err != nil {
		return NodeInfo{}, err
	}
	if err := c.await(ctx, m); err != nil {
		return NodeInfo{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.describe(m), nil
}

func (c *Cluster) startAgain(ctx context.Context, id string) (*member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.nodes[id]
	if m == nil {
		return nil, fmt.Errorf("there is no node %q: `hexrd dev nodes` lists them", id)
	}
	if m.process.Running() {
		return nil, fmt.Errorf("node %s is running", id)
	}
	return m, c.restart(ctx, m.nodeState)
}

var errNoLeader = errors.New("no node leads now: try again in a moment")

// Signal sends a signal to a node, or to the one that leads. After one that ends
// the process it waits until it is gone.
func (c *Cluster) Signal(ctx context.Context, id, name string) (NodeInfo, error) {
	sig, ok := map[string]syscall.Signal{
		"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "TERM": syscall.SIGTERM,
		"QUIT": syscall.SIGQUIT, "ABRT": syscall.SIGABRT,
	}[name]
	if !ok {
		return NodeInfo{}, fmt.Errorf("signal %q: use KILL, STOP, CONT, TERM, QUIT or ABRT", name)
	}
	if id == "leader" {
		if id = c.leader(ctx); id == "" {
			return NodeInfo{}, errNoLeader
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.nodes[id]
	if m == nil {
		return NodeInfo{}, fmt.Errorf("there is no node %q: `hexrd dev nodes` lists them", id)
	}
	if err := m.process.Signal(sig); err != nil {
		return NodeInfo{}, fmt.Errorf("node %s: %w", id, err)
	}
	if sig != syscall.SIGSTOP && sig != syscall.SIGCONT {
		select {
		case <-m.process.exited:
		case <-ctx.Done():
			return NodeInfo{}, ctx.Err()
		}
	}
	return c.describe(m), nil
}
