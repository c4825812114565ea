package hexrd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/hexrdev/hexrd/identity"
)

// Defaults of Config.
const (
	DefaultBind     = "127.0.0.1:7443"
	DefaultLogStore = "wal"
)

// Config is a node's own configuration: addresses, directories, the wrapper and
// where SVIDs come from. What decides an access is not here but in the
// cluster's settings. Its node ID and trust domain are those of its SVID.
type Config struct {
	// DataDir holds the raft log, the store, snapshots and the wrapped keyring.
	DataDir string
	// WrapperKey is the file whose key wraps the keyring; outside DataDir. It is
	// made when the node bootstraps or joins and the file does not exist.
	WrapperKey string

	Bind      string // host:port to listen on; empty: DefaultBind
	Advertise string // host:port that other nodes and clients use; empty: Bind

	// Bootstrap makes an empty node the first of a new cluster. On existing state
	// it changes nothing.
	Bootstrap bool
	// Join makes an empty node a member of the cluster that answers at one of
	// these addresses. On existing state it changes nothing.
	Join []string
	// Token is the join token's text; empty where the cluster does without.
	Token string

	// LogStore is "bolt" or "wal", fixed when the node is created; empty: what the
	// node has, or DefaultLogStore.
	LogStore string

	Identity identity.Config

	// Snapshots says when snapshots are taken; its zero value means the defaults.
	Snapshots Snapshots

	// AdminSocket is a unix socket (0600) with metrics, profiles and leave; empty: none.
	AdminSocket string

	Logger  *slog.Logger // nil: no log
	Version string       // shown in status
}

// Snapshots says how often raft's log is replaced by a snapshot of the store.
// Zero fields mean the defaults of package node.
type Snapshots struct {
	Entries  uint64        // log entries since the last one
	Trailing uint64        // entries kept behind one, for followers that lag
	Interval time.Duration // how often it is looked whether one is due
}

// Validate says what is wrong, without touching disk or network.
func (c Config) Validate() error {
	if c.DataDir == "" {
		return errors.New("no data directory: set --data-dir")
	}
	if c.WrapperKey == "" {
		return errors.New("no wrapper key file: set --wrapper-key to a path outside the data directory")
	}
	if c.Bootstrap && len(c.Join) > 0 {
		return errors.New("bootstrap and join exclude each other: the first node bootstraps, all others join")
	}
	for _, a := range append([]string{c.Bind, c.Advertise}, c.Join...) {
		if a == "" {
			continue
		}
		if err := validAddress(a); err != nil {
			return err
		}
	}
	if host, _, _ := net.SplitHostPort(c.advertise()); net.ParseIP(host).IsUnspecified() || host == "" {
		return fmt.Errorf("address %q is not one that others can dial: set --advertise to host:port", c.advertise())
	}
	switch c.LogStore {
	case "", "bolt", "wal":
	default:
		return fmt.Errorf("log store %q is unknown: use bolt or wal", c.LogStore)
	}
	return c.Identity.Validate()
}

func validAddress(a string) error {
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("address %q is not host:port", a)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && port != "0" {
		return fmt.Errorf("address %q: the port is not a number from 1 to 65535", a)
	}
	return nil
}

func (c Config) bind() string {
	if c.Bind == "" {
		return DefaultBind
	}
	return c.Bind
}

func (c Config) advertise() string {
	if c.Advertise == "" {
		return c.bind()
	}
	return c.Advertise
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}
