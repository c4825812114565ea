package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
	votes     sealedStable // stable, sealed
	snapshots *snapshots
	machine   *machine
	store     *fsm.Store
	streams   *streams
	clock     *clock
	gather    *gather
	batcher   *batcher

	stores atomic.Uint64 // writes to the log
	raft   atomic.Pointer[instance]
	reopen chan *raft.SnapshotMeta
	leader notifier
	reign  reign

	ctx    context.Context // of the goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup

	failOnce sync.Once
	failure  error
	done     chan struct{}
	exists   bool          // there was state when it was opened
	known    []Server      // the configuration on disk then
	logged   marks         // in the log then: the store may be behind it
	started  chan struct{} // closed once raft runs
	closing  atomic.Bool
	member   atomic.Bool // was in a committed configuration
}

// HasState reports whether the directory holds a node: a raft log, a vote or a
// snapshot.
func HasState(dir string) (bool, error) {
	found, err := hasState(dir)
	return found, advise(err)
}

func hasState(dir string) (bool, error) {
	if _, err := logKindOf(dir); err != nil {
		return false, nilIfMissing(err)
	}
	stable, err := openStable(dir)
	if err != nil {
		return false, err
	}
	defer func() { _ = stable.Close() }()
	logs, _, err := openLog(dir, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return false, err
	}
	defer func() { _ = logs.Close() }()
	if snaps, err := os.ReadDir(filepath.Join(dir, snapshotsDir)); err == nil && len(snaps) > 0 {
		return true, nil
	}
	return raft.HasExistingState(logs, stable, raft.NewDiscardSnapshotStore())
}

// Open opens the replica's files; Start lets it take part. ctx bounds Open alone.
func Open(ctx context.Context, c Config) (*Node, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	n := &Node{cfg: c, log: c.Logger, done: make(chan struct{}), started: make(chan struct{}), reopen: make(chan *raft.SnapshotMeta, 1), clock: newClock(c.Now)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(advise(err), n.Close(ctx))
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) error {
	if err := n.openStores(ctx); err != nil {
		return err
	}
	exists, err := raft.HasExistingState(n.logs, n.votes, n.snapshots)
	if err != nil {
		return fmt.Errorf("look at raft state: %w", err)
	}
	if !exists && n.cfg.Bootstrap == nil && !n.cfg.Joining && len(n.cfg.Admitters) == 0 {
		return ErrEmpty
	}
	n.exists = exists
	n.gather, n.batcher = newGather(n), newBatcher(n)
	return n.reconcile(ctx)
}

// Start lets the node take part. A node that was a member before first hears
// from the others that its disk is what it was, and takes part from then on: that
// goes on beside, and an error ends the node. Whoever asks this node about itself
// must be answered from now on. ctx bounds Start alone.
func (n *Node) Start(ctx context.Context) error {
	n.streams = newStreams(n.cfg.Stream, n.cfg.Address)
	if (n.exists || len(n.cfg.Admitters) > 0) && newInquiry(n).need > 0 {
		n.own(n.startChecked)
		return nil
	}
	if err := n.startRaft(); err != nil {
		return err
	}
	n.run()
	if !n.exists && n.cfg.Bootstrap != nil {
		return n.bootstrap(ctx)
	}
	if n.cfg.Bootstrap != nil {
		n.own(n.finishBootstrap)
	}
	return nil
}

func (n *Node) startChecked(ctx context.Context) {
	err := n.checkMark(ctx)
	if err == nil {
		err = n.startRaft()
	}
	if err != nil {
		if ctx.Err() == nil {
			n.fail(err)
		}
		return
	}
	n.run()
}

func (n *Node) run() {
	for _, loop := range []func(context.Context){
		n.reopenLoop, n.gather.run, n.batcher.run, n.housekeep, n.sweeping, n.watchMembership, n.report, n.watchLeader,
	} {
		n.own(loop)
	}
	close(n.started)
}

// Started is closed once raft runs.
func (n *Node) Started() <-chan struct{} { return n.started }

func (n *Node) openStores(ctx context.Context) (err error) {
	if _, err = logKind(n.cfg.Dir, n.cfg.LogStore); err != nil {
		return err
	}
	if n.stable, err = openStable(n.cfg.Dir); err != nil { // first: its lock tells of another process
		return err
	}
	n.votes = sealedStable{n.stable, n.cfg.Keys, &sync.Mutex{}, n.halt}
	if n.raw, n.logKind, err = openLog(n.cfg.Dir, n.cfg.LogStore, n.log); err != nil {
		return err
	}
	tailed, err := openTailed(n.cfg.Dir, n.raw)
	if err != nil {
		return err
	}
	n.raw = tailed
	n.logs = sealedLog{watchdog{n.raw, n.cfg.Timers.Hang, n.fail, &n.stores}, n.cfg.Keys, n.halt}
	if n.snapshots, err = openSnapshots(filepath.Join(n.cfg.Dir, snapshotsDir), n.cfg); err != nil {
		return err
	}
	n.snapshots.damaged = n.snapshotAnew
	if err := whole("the store", func() (err error) {
		n.store, err = fsm.Open(ctx, fsm.Config{
			Dir: filepath.Join(n.cfg.Dir, storeDir), Keys: n.cfg.Keys, Logger: n.log, Failed: n.storeFailed,
		})
		return err
	}); err != nil {
		return err
	}
	n.machine = &machine{
		log: n.log, store: n.store, snapshots: n.snapshots, restoring: filepath.Join(n.cfg.Dir, restoringDir),
		fail: n.fail, configured: n.configured, restored: n.restored,
	}
	return nil
}

// storeFailed ends the node: what it applies would not become durable, or what
// it holds can't be read.
func (n *Node) storeFailed(err error) {
	if !errors.Is(err, fsm.ErrCorrupt) {
		err = fmt.Errorf("%w: the store: %w", ErrDisk, err)
	}
	n.fail(err)
}

func (n *Node) own(run func(context.Context)) {
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		n.guard(func() { run(n.ctx) })
	}()
}

// spawn runs what ends by itself, and what a disk that hangs may keep: Close does not wait for it.
func (n *Node) spawn(run func()) { go n.guard(run) }

// guard runs what ends the node where it panics.
func (n *Node) guard(run func()) {
	if err := guarded(n.log, func() error { run(); return nil }); err != nil {
		n.fail(err)
	}
}

// fail ends the node: it stops answering raft at once, and Done is closed.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.failure = advise(err)
		close(n.done)
		if n.streams != nil {
			n.streams.stop()
		}
		if r := n.raft.Load(); r != nil {
			r.Shutdown() // does not wait: the disk may hang
		}
	})
}

// halt is fail for what raft panics at: its goroutine stays here until the
// process ends.
func (n *Node) halt(err error) {
	n.fail(err)
	if n.raft.Load() != nil {
		select {}
	}
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
	go func() {
		err := f.Error()
		r.log.end()
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("raft did not stop: %w", ctx.Err())
	}
}
