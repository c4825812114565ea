package arena

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
	"github.com/hexrdev/hexrd/jepsen/network"
)

const (
	// TrustDomain of every cluster under test.
	TrustDomain = "jepsen.hexr.cloud"

	port          = 7443
	startLimit    = 60 * time.Second
	tokenLife     = 10 * time.Minute
	defaultSVID   = time.Hour
	operatorAsked = 5 * time.Second
)

// Config of a Cluster.
type Config struct {
	Dir      string // of data and logs
	Program  string // the hexrd binary
	Old      string // one of an earlier version, which all run until one is upgraded; empty: none
	Nodes    int
	LogStore string        // bolt or wal; empty: the node's default
	NodeArgs []string      // further flags of every node
	Env      []string      // and variables
	SVIDTTL  time.Duration // 0: 1 h
	// Network that the nodes are in; nil: loopback. The cluster does not close it.
	Network *network.Network
	// Mount puts a disk under a node's empty data directory, before its first start;
	// nil: none.
	Mount func(ctx context.Context, id, dir string) error
	// Exited is told of a process that ended though nobody wanted it to; nil: nobody.
	Exited func(id string, err error)
	Logger *slog.Logger
}

// Cluster is the cluster under test. Its methods are safe for concurrent use.
type Cluster struct {
	cfg       Config
	td        spiffeid.TrustDomain
	authority *authority
	sockets   string // short names: the kernel allows few bytes
	ports     *dev.Ports

	settling sync.Mutex // one at a time, or too many would join

	mu         sync.Mutex
	nodes      []*Node
	identities map[string]*dev.WorkloadServer
	last       int  // number of the newest node
	upgrading  bool // what joins is of the new version
	wg         sync.WaitGroup
}

// Start brings a new cluster up, and returns when every node is healthy.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.SVIDTTL == 0 {
		cfg.SVIDTTL = defaultSVID
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{cfg: cfg, ports: dev.NewPorts(), identities: map[string]*dev.WorkloadServer{}}
	var err error
	if c.td, err = spiffeid.TrustDomainFromString(TrustDomain); err != nil {
		return nil, err
	}
	if c.authority, err = openAuthority(cfg.Dir, c.td); err != nil {
		return nil, err
	}
	if c.sockets, err = os.MkdirTemp("", "hxj-"); err != nil {
		return nil, fmt.Errorf("make a directory for sockets: %w", err)
	}
	for range cfg.Nodes {
		if _, err := c.Join(ctx, ""); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// Join makes the next node: the first bootstraps, all others join with a token.
// It returns when the node is a healthy member. crashAt is where its first process
// dies (see CrashAt); empty: nowhere.
func (c *Cluster) Join(ctx context.Context, crashAt string) (*Node, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	n, err := c.newNode(ctx)
	if err != nil {
		return nil, err
	}
	members := c.Addresses()
	args := []string{"start", "--bootstrap"}
	if len(members) > 0 {
		if args, err = c.joinArgs(ctx, n, members); err != nil {
			return nil, errors.Join(err, n.workload.Close())
		}
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	// Where the first attempt ends half-way, the same command is right again.
	n.setArgs(args)
	n.CrashAt(crashAt)
	if err := n.Start(); err != nil {
		return nil, err
	}
	if err := n.WaitHealthy(ctx); err != nil {
		return n, err
	}
	n.setArgs([]string{"start"})
	return n, nil
}

func (c *Cluster) joinArgs(ctx context.Context, n *Node, members []string) ([]string, error) {
	op, err := c.Operator(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = op.Close() }()
	token, err := op.CreateToken(ctx, n.ID, tokenLife)
	if err != nil {
		return nil, fmt.Errorf("create a join token for %s: %w", n.ID, err)
	}
	file := filepath.Join(n.dir, "join-token")
	if err := os.WriteFile(file, []byte(token.GetToken()+"\n"), 0o600); err != nil {
		return nil, err
	}
	return append([]string{"join", "--token-file", file}, members...), nil
}

// Remove takes a node out of the cluster for good, as `hexrd members remove`
// does, and ends its process.
func (c *Cluster) Remove(ctx context.Context, id string) error {
	op, err := c.Operator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = op.Close() }()
	if err := op.RemoveMember(ctx, id); err != nil && !errors.Is(err, client.ErrNotFound) {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	if n := c.Node(id); n != nil {
		n.Abandon()
		n.forget()
	}
	return nil
}

// Operator is a client for the operator of the cluster, through any member.
func (c *Cluster) Operator(ctx context.Context) (*client.Client, error) {
	return c.operator(ctx, c.Addresses())
}

// Tell has a node tell the cluster a mark that is newer than all it holds now: what
// it proposes carries one.
func (c *Cluster) Tell(ctx context.Context, n *Node) error {
	op, err := c.operator(ctx, []string{n.Address})
	if err != nil {
		return err
	}
	defer func() { _ = op.Close() }()
	before, err := op.Status(ctx)
	if err != nil {
		return err
	}
	for {
		status, err := op.Status(ctx)
		if err == nil {
			_, err = op.ListTokens(ctx)
		}
		if err != nil || status.GetApplied() > before.GetLastIndex() {
			return err
		}
		select {
		case <-time.After(healthPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Cluster) operator(ctx context.Context, addrs []string) (*client.Client, error) {
	socket, err := c.Identity(ctx, "/hexr/operator/jepsen")
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, client.Config{Addrs: addrs, Socket: socket, AttemptTimeout: operatorAsked, Timeout: startLimit, Retries: 100})
}

// Identity serves an identity (see dev.ParseID), and returns the address of its
// Workload API.
func (c *Cluster) Identity(ctx context.Context, id string) (string, error) {
	parsed, err := dev.ParseID(c.td, id)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.identities[parsed.String()]; w != nil {
		return w.Address(), nil
	}
	w, err := dev.ServeWorkload(ctx, filepath.Join(c.sockets, fmt.Sprintf("i%d", len(c.identities))), c.authority.issue(parsed, c.cfg.SVIDTTL), c.cfg.Logger)
	if err != nil {
		return "", err
	}
	c.identities[parsed.String()] = w
	return w.Address(), nil
}

// Members are the nodes that were not removed, in the order in which they joined.
func (c *Cluster) Members() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.nodes), (*Node).Retired)
}

// Addresses of the members.
func (c *Cluster) Addresses() []string {
	var addrs []string
	for _, n := range c.Members() {
		addrs = append(addrs, n.Address)
	}
	return addrs
}

// Node by its ID, also one that was removed; nil: there is none.
func (c *Cluster) Node(id string) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// LogFiles of all nodes that there ever were, by ID.
func (c *Cluster) LogFiles() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	files := map[string]string{}
	for _, n := range c.nodes {
		files[n.ID] = n.LogFile()
	}
	return files
}

// Leader is the member that leads, as the first that answers sees it; nil: nobody
// says.
func (c *Cluster) Leader(ctx context.Context) *Node {
	ctx, cancel := context.WithTimeout(ctx, operatorAsked)
	defer cancel()
	op, err := c.Operator(ctx)
	if err != nil {
		return nil
	}
	defer func() { _ = op.Close() }()
	st, err := op.Status(ctx)
	if err != nil || st.GetLeader() == "" {
		return nil
	}
	return c.Node(st.GetLeader())
}

// Close ends all processes, waits for them, and removes the sockets.
func (c *Cluster) Close() error {
	c.mu.Lock()
	nodes := slices.Clone(c.nodes)
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			n.close()
		}()
	}
	wg.Wait()
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, w := range c.identities {
		errs = append(errs, w.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(c.sockets))...)
}
