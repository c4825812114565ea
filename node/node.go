package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/hexrdev/hexrd/fsm"
)

const (
	storeDir     = "store"
	snapshotsDir = "snapshots"
	restoringDir = "restoring"
)

// Node is one replica. All methods are safe for concurrent use.
type Node struct {
	cfg     Config
	log     *slog.Logger
	logKind string

	raw       rawLog
	logs      raft.LogStore // sealed, watched
	stable    *raftboltdb.BoltStore
	snapshots *snapshots
	machine   *machine
	store     *fsm.Store
	streams   *streams
	clock     *clock
	gather    *gather
	batcher   *batcher

	raft   atomic.Pointer[instance]
	reopen chan *raft.SnapshotMeta
	leader notifier

	ctx    context.Context // of the goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup

	failOnce sync.Once
	failure  error
	done     chan struct{}
	closing  atomic.Bool
	member   atomic.Bool // was in a committed configuration
}

// HasState reports whether the directory holds a node: a raft log, a vote or a
// snapshot.
func HasState(dir string) (bool, error) {
	if _, err := logKindOf(dir); err != nil {
		return false, nilIfMissing(err)
	}
	stable, err := openStable(dir)
	if err != nil {
		return false, err
	}
	defer func() { _ = stable.Close() }()
	logs, _, err := openLog(dir, "", hclogAdapter{slog.New(slog.DiscardHandler)})
	if err != nil {
		return false, err
	}
	defer func() { _ = logs.Close() }()
	snaps, err := openSnapshots(filepath.Join(dir, snapshotsDir), Config{})
	if err != nil {
		return false, err
	}
	return raft.HasExistingState(logs, stable, snaps)
}

// Open starts the replica. ctx bounds Open alone.
func Open(ctx context.Context, c Config) (*Node, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	n := &Node{cfg: c, log: c.Logger, done: make(chan struct{}), reopen: make(chan *raft.SnapshotMeta, 1), clock: newClock()}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close(ctx))
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) error {
	if err := n.openStores(ctx); err != nil {
		return err
	}
	exists, err := raft.HasExistingState(n.logs, n.stable, n.snapshots)
	if err != nil {
		return fmt.Errorf("look at raft state: %w", err)
	}
	if !exists && n.cfg.Bootstrap == nil && !n.cfg.Joining {
		return ErrEmpty
	}
	if err := n.reconcile(ctx); err != nil {
		return err
	}
	n.streams = newStreams(n.cfg.Stream)
	if err := n.startRaft(); err != nil {
		return err
	}
	n.gather, n.batcher = newGather(n), newBatcher(n)
	n.own(n.reopenLoop)
	n.own(n.gather.run)
	n.own(n.batcher.run)
	n.own(n.housekeep)
	n.own(n.watchMembership)
	if !exists && n.cfg.Bootstrap != nil {
		return n.bootstrap(ctx)
	}
	if n.cfg.Bootstrap != nil {
		n.own(n.finishBootstrap)
	}
	return nil
}

func (n *Node) openStores(ctx context.Context) (err error) {
	h := hclogAdapter{n.log}
	if _, err = logKind(n.cfg.Dir, n.cfg.LogStore); err != nil {
		return err
	}
	if n.stable, err = openStable(n.cfg.Dir); err != nil { // first: its lock tells of another process
		return err
	}
	if n.raw, n.logKind, err = openLog(n.cfg.Dir, n.cfg.LogStore, h); err != nil {
		return err
	}
	n.logs = sealedLog{watchdog{n.raw, n.cfg.Timers.Hang, n.fail}, n.cfg.Keys, n.fail}
	if n.snapshots, err = openSnapshots(filepath.Join(n.cfg.Dir, snapshotsDir), n.cfg); err != nil {
		return err
	}
	n.store, err = fsm.Open(ctx, fsm.Config{Dir: filepath.Join(n.cfg.Dir, storeDir), Keys: n.cfg.Keys, Logger: n.log, Failed: n.storeFailed})
	if err != nil {
		return err
	}
	n.machine = &machine{
		store: n.store, snapshots: n.snapshots, restoring: filepath.Join(n.cfg.Dir, restoringDir),
		fail: n.fail, configured: n.configured, restored: n.restored,
	}
	return nil
}

// storeFailed ends the node: what it applies would not become durable.
func (n *Node) storeFailed(err error) { n.fail(fmt.Errorf("%w: the store: %w", ErrDisk, err)) }

func (n *Node) own(run func(context.Context)) {
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		run(n.ctx)
	}()
}

// fail ends the node: it stops answering raft at once, and Done is closed.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.failure = err
		close(n.done)
		if n.streams != nil {
			n.streams.stop()
		}
		if r := n.raft.Load(); r != nil {
			r.Shutdown() // does not wait: the disk may hang
		}
	})
}

// Done is closed when the node has failed by itself; Err says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node failed; nil while it has not.
func (n *Node) Err() error {
	select {
	case <-n.done:
		return n.failure
	default:
		return nil
	}
}

// Store is the replicated state of this node.
func (n *Node) Store() *fsm.Store { return n.store }

const closeTimeout = 10 * time.Second

// Close ends the node and waits. Leadership should have moved on before.
func (n *Node) Close(ctx context.Context) error {
	if n.closing.Swap(true) {
		return nil
	}
	n.cancel()
	var errs []error
	if r := n.raft.Load(); r != nil {
		errs = append(errs, n.shutdown(ctx, r))
	}
	if n.streams != nil {
		n.streams.stop()
	}
	n.wg.Wait()
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.stable != nil {
		errs = append(errs, n.stable.Close())
	}
	if n.raw != nil {
		errs = append(errs, n.raw.Close())
	}
	return errors.Join(errs...)
}

// shutdown waits for raft to end, but not for ever: a disk may hang.
func (n *Node) shutdown(ctx context.Context, r *instance) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	ended := make(chan error, 1)
	f := r.Shutdown()
	go func() { ended <- f.Error() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("raft did not stop: %w", ctx.Err())
	}
}
