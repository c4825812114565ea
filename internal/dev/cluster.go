package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	controlSocket  = "control.sock"
	mintSocket     = "mint.sock"
	operatorSocket = "operator.sock"

	defaultSVIDTTL = time.Hour
	maxNodes       = 9
	startTimeout   = 60 * time.Second
	stopTimeout    = 15 * time.Second
)

// Config of a dev cluster.
type Config struct {
	Dir         string
	TrustDomain string        // empty: hexr.cloud
	Nodes       int           // 0: 3
	SVIDTTL     time.Duration // 0: 1 h
	LogStore    string        // empty: the node's default
	NodeArgs    []string      // further flags of every node
	Program     string        // the hexrd binary; empty: this one
	Ports       *Ports        // that the nodes get, where several clusters share a process; nil: its own
	Logger      *slog.Logger  // nil: no log
	Progress    io.Writer     // a line for each step; nil: none
}

// Validate says what is wrong.
func (c Config) Validate() error {
	if c.Dir == "" {
		return errors.New("dev: no directory")
	}
	if c.Nodes < 0 || c.Nodes > maxNodes {
		return fmt.Errorf("dev: --nodes must be 1 to %d", maxNodes)
	}
	if c.SVIDTTL < 0 {
		return errors.New("dev: --svid-ttl must be positive")
	}
	_, err := spiffeid.TrustDomainFromString(c.trustDomain())
	if err != nil {
		return fmt.Errorf("dev: trust domain: %w", err)
	}
	return nil
}

func (c Config) trustDomain() string {
	if c.TrustDomain == "" {
		return "hexr.cloud"
	}
	return c.TrustDomain
}

func (c Config) ttl() time.Duration {
	if c.SVIDTTL == 0 {
		return defaultSVIDTTL
	}
	return c.SVIDTTL
}

// Cluster is a cluster of node processes on this machine, with its CA. It
// isolates nothing between processes of one user.
type Cluster struct {
	cfg     Config
	layout  Layout
	td      spiffeid.TrustDomain
	program string
	log     *slog.Logger
	lock    *os.File
	ca      *CA
	health  *http.Client
	ports   *Ports

	mint     *MintServer
	control  *control
	operator *WorkloadServer

	mu    sync.Mutex // guards nodes and state, and orders starts and signals
	nodes map[string]*member
	state clusterState
}

// Start brings the cluster up, new or from what the directory holds, and
// returns when every node is healthy.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := open(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.bringUp(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func open(cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, layout: Layout{cfg.Dir}, program: cfg.Program, log: cfg.Logger, ports: cfg.Ports, nodes: map[string]*member{}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.ports == nil {
		c.ports = NewPorts()
	}
	var err error
	if c.program == "" {
		if c.program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the hexrd program: %w", err)
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the dev directory: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("protect the dev directory: %w", err)
	}
	if c.lock, err = lockDir(c.layout.lock()); err != nil {
		return nil, err
	}
	if err := c.load(); err != nil {
		return nil, errors.Join(err, c.lock.Close())
	}
	return c, nil
}

// load reads or makes what outlives a run: the state file and the CA.
func (c *Cluster) load() (err error) {
	if c.state, err = loadState(c.layout.state()); err != nil {
		return err
	}
	if c.state.TrustDomain == "" {
		c.state.TrustDomain = c.cfg.trustDomain()
	}
	if c.cfg.TrustDomain != "" && c.cfg.TrustDomain != c.state.TrustDomain {
		return fmt.Errorf("dev: this directory is of trust domain %s", c.state.TrustDomain)
	}
	if c.td, err = spiffeid.TrustDomainFromString(c.state.TrustDomain); err != nil {
		return err
	}
	if c.ca, err = OpenCA(c.layout.ca(), c.td); err != nil {
		return err
	}
	c.health = healthClient(c.ca)
	return c.ca.WriteBundle(c.layout.Bundle())
}

func (c *Cluster) bringUp(ctx context.Context) error {
	socket, err := socketPath(c.cfg.Dir, mintSocket)
	if err != nil {
		return err
	}
	if c.mint, err = ServeMint(ctx, socket, c.ca, c.cfg.ttl(), c.log); err != nil {
		return err
	}
	if c.operator, err = c.serveIdentity(ctx, "/hexr/operator/dev", operatorSocket, false); err != nil {
		return err
	}
	if err := c.startNodes(ctx); err != nil {
		return err
	}
	if socket, err = socketPath(c.cfg.Dir, controlSocket); err != nil {
		return err
	}
	c.control, err = serveControl(ctx, socket, c)
	return err
}

// startNodes starts what the directory holds, then adds what is missing.
func (c *Cluster) startNodes(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.state.Nodes {
		if err := c.restart(ctx, n); err != nil {
			return err
		}
	}
	for _, m := range c.nodes {
		if err := c.await(ctx, m); err != nil {
			return err
		}
	}
	want := c.cfg.Nodes
	if want == 0 {
		want = 3
	}
	for len(c.state.Nodes) < want {
		if _, err := c.add(ctx); err != nil {
			return err
		}
	}
	return c.acceptTokens(ctx)
}

// acceptTokens turns the audience of JWT-SVIDs on, as an operator and once: who
// turns it off later is not overruled at the next start.
func (c *Cluster) acceptTokens(ctx context.Context) error {
	if c.state.JWT {
		return nil
	}
	op, err := c.asOperator(ctx, c.addresses())
	if err != nil {
		return err
	}
	defer func() { _ = op.Close() }()
	if _, err := op.SetSetting(ctx, "jwt_svid", "true"); err != nil {
		return fmt.Errorf("accept JWT-SVIDs: %w", err)
	}
	c.state.JWT = true
	return c.state.save(c.layout.state())
}

// Close ends all nodes, the last added first, and waits for them.
func (c *Cluster) Close() error {
	if c.control != nil {
		c.control.close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.state.Nodes) - 1; i >= 0; i-- {
		if m := c.nodes[c.state.Nodes[i].ID]; m != nil {
			m.stop()
		}
	}
	var errs []error
	if c.operator != nil {
		errs = append(errs, c.operator.Close())
	}
	if c.mint != nil {
		errs = append(errs, c.mint.Close())
	}
	return errors.Join(append(errs, c.lock.Close())...)
}

// Addresses of all nodes, in the order in which they were added.
func (c *Cluster) Addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addresses()
}

func (c *Cluster) addresses() []string {
	addrs := make([]string, 0, len(c.state.Nodes))
	for _, n := range c.state.Nodes {
		addrs = append(addrs, n.Address)
	}
	return addrs
}

// BundleFile is the trust bundle as PEM.
func (c *Cluster) BundleFile() string { return c.layout.Bundle() }

// TrustDomain of the cluster.
func (c *Cluster) TrustDomain() string { return c.td.Name() }

func (c *Cluster) say(format string, args ...any) {
	if c.cfg.Progress != nil {
		_, _ = fmt.Fprintf(c.cfg.Progress, format+"\n", args...)
	}
}
