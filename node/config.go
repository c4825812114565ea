package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/fault"
	"github.com/hexrdev/hexrd/seal"
)

// Log stores.
const (
	LogStoreBolt = "bolt"
	LogStoreWAL  = "wal"
)

// Forwarder is the way to the other nodes. Its errors are those of this package.
type Forwarder interface {
	// Propose carries a proposal to the leader; what is not certain is
	// ErrUnknownOutcome.
	Propose(ctx context.Context, leaderID, leaderAddr string, proposal []byte) (reply []byte, err error)
	// Ask asks a node, or with an empty ID whoever is at that address, where it
	// stands; ErrRemoved when it does not know this node as a member, ErrForeign when
	// it is of another cluster.
	Ask(ctx context.Context, id, addr string) (Standing, error)
}

// Bootstrap says how a new cluster begins.
type Bootstrap struct {
	TrustDomain string
	AuditKey    ed25519.PublicKey // of this node
	Settings    *fsmpb.Settings   // nil: the defaults
}

// Config of a Node.
type Config struct {
	ID      string // node ID
	Dir     string
	Address string // advertised host:port
	// LogStore is "bolt" or "wal"; empty: what the directory has, or "wal".
	LogStore string
	Keys     *seal.Keyring
	// InstallKeys makes a keyring that came with a snapshot durable; ExportKeys
	// gives the one to send with a snapshot.
	InstallKeys func(ctx context.Context, exported []byte) error
	ExportKeys  func() ([]byte, error)

	Stream  raft.StreamLayer
	Forward Forwarder
	Logger  *slog.Logger // nil: no log

	Bootstrap *Bootstrap // nil: no. Changes nothing on existing state
	Joining   bool       // an empty directory is that of a node which is being added
	AskAlso   []string   // where to ask for members, should all addresses have changed
	// Admitters are the addresses of those that admitted a node in an earlier
	// process: it may have been killed before it knew of a configuration that it is in.
	Admitters []string

	// Refuse is asked on the leader before an access enters the log; any outcome
	// but 0 refuses that access alone, without a row. nil: none is refused.
	Refuse func(*fsmpb.Access) fsmpb.Outcome

	Timers Timers
	Limits Limits

	Now func() time.Time // the clock; nil: the system's
}

// Timers of raft. Zero fields mean the defaults. Heartbeats wait behind a
// follower's log sync (see transport.go): the election timeout must exceed the
// slowest usual sync, or a busy disk costs elections.
type Timers struct {
	Heartbeat time.Duration // 1 s
	Election  time.Duration // 1 s
	Lease     time.Duration // 500 ms: a leader that hears no quorum steps down
	Commit    time.Duration // 25 ms: how late a follower of an idle leader learns a commit
	Hang      time.Duration // 10 s: a sync that takes longer means that the disk hangs
	Late      time.Duration // 3 s: the answer to a read that took longer is decided anew
	Apart     time.Duration // 250 ms: between the candidacies of followers whose leader's process has ended
}

// Limits of a node. Zero fields mean the defaults.
type Limits struct {
	BatchCount int // accesses of one entry; 512
	BatchBytes int // of one entry, before its last access; 256 KiB
	Queue      int // waiting calls; 4096

	SnapshotEntries uint64        // log entries between snapshots; 8192
	SnapshotEvery   time.Duration // how often it is looked; 30 s
	TrailingEntries uint64        // kept behind a snapshot; 10240
	IdleEvery       time.Duration // FSM time stands still at most that long; 30 s
}

func or[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c Config) withDefaults() Config {
	or(&c.Timers.Heartbeat, time.Second)
	or(&c.Timers.Election, time.Second)
	or(&c.Timers.Lease, 500*time.Millisecond)
	or(&c.Timers.Commit, 25*time.Millisecond)
	or(&c.Timers.Hang, 10*time.Second)
	or(&c.Timers.Late, 3*time.Second)
	or(&c.Timers.Apart, 250*time.Millisecond)
	or(&c.Limits.BatchCount, 512)
	or(&c.Limits.BatchBytes, 256<<10)
	or(&c.Limits.Queue, 4096)
	or(&c.Limits.SnapshotEntries, 8192)
	or(&c.Limits.SnapshotEvery, 30*time.Second)
	or(&c.Limits.TrailingEntries, 10240)
	or(&c.Limits.IdleEvery, 30*time.Second)
	if c.Now == nil {
		c.Now = fault.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate says what is missing.
func (c Config) Validate() error {
	switch {
	case c.ID == "" || c.Dir == "" || c.Address == "":
		return errors.New("node: ID, directory and address are required")
	case c.Keys == nil || c.InstallKeys == nil || c.ExportKeys == nil:
		return errors.New("node: keys are required")
	case c.Stream == nil || c.Forward == nil:
		return errors.New("node: stream and forwarder are required")
	}
	return nil
}
