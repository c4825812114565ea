package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"

	"github.com/hexrdev/hexrd/client"
)

const (
	entryBytes   = 512 // about what an entry with one get has
	raftTimeout  = 10 * time.Second
	raftLogCache = 512
)

// BareRaft is a raft server over mutual TLS whose state machine does nothing: what
// an append costs at least, with the log store and the timers that a node has.
type BareRaft struct {
	raft  *raft.Raft
	close []io.Closer
}

// BareConfig of a BareRaft.
type BareConfig struct {
	ID       string
	Peers    []string // ID=ADDR of all servers, this one included
	Dir      string
	LogStore string // bolt or wal
	Identity client.Config
}

// OpenBareRaft starts one of the servers.
func OpenBareRaft(ctx context.Context, c BareConfig) (*BareRaft, error) {
	id, err := load(c.Identity)
	if err != nil {
		return nil, err
	}
	var conf raft.Configuration
	own := ""
	for _, p := range c.Peers {
		peer, addr, ok := strings.Cut(p, "=")
		if !ok {
			return nil, errors.New("peers: use ID=ADDR")
		}
		if peer == c.ID {
			own = addr
		}
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(peer), Address: raft.ServerAddress(addr)})
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", own)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	b := &BareRaft{}
	stable, logs, err := openBare(c)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	b.close = []io.Closer{stable, logs}
	cached, err := raft.NewLogCache(raftLogCache, logs)
	if err != nil {
		return nil, err
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger, cfg.NoLegacyTelemetry = raft.ServerID(c.ID), hclog.NewNullLogger(), true
	cfg.CommitTimeout = 25 * time.Millisecond
	snaps := raft.NewInmemSnapshotStore()
	if err := raft.BootstrapCluster(cfg, cached, stable, snaps, nil, conf); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: tlsStream{tls.NewListener(listener, id.server()), id}, MaxPool: 3, Timeout: raftTimeout, Logger: cfg.Logger,
	})
	b.raft, err = raft.NewRaft(cfg, nothing{}, cached, stable, snaps, trans)
	return b, err
}

type bareLog interface {
	raft.LogStore
	io.Closer
}

func openBare(c BareConfig) (stable *raftboltdb.BoltStore, logs bareLog, err error) {
	bolt := func(name string) (*raftboltdb.BoltStore, error) {
		return raftboltdb.New(raftboltdb.Options{
			Path:        filepath.Join(c.Dir, name),
			BoltOptions: &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true},
		})
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, nil, err
	}
	if stable, err = bolt("stable.db"); err != nil {
		return nil, nil, err
	}
	if c.LogStore != "wal" {
		logs, err = bolt("log.db")
		return stable, logs, err
	}
	dir := filepath.Join(c.Dir, "wal")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, nil, err
	}
	logs, err = wal.Open(dir, wal.WithLogger(hclog.NewNullLogger()))
	return stable, logs, err
}

// Measure appends with some workers, on the server that leads.
func (b *BareRaft) Measure(ctx context.Context, o Order) (Rate, error) {
	if b.raft.State() != raft.Leader {
		return Rate{}, errNotLeader
	}
	entry := payload(entryBytes)
	load := Load{Workers: o.Workers, Duration: o.Duration, WarmUp: o.WarmUp}
	return load.Drive(ctx, func(context.Context, int) error { return b.raft.Apply(entry, raftTimeout).Error() })
}

var errNotLeader = errors.New("this server does not lead")

// Close ends it.
func (b *BareRaft) Close() error {
	err := b.raft.Shutdown().Error()
	for _, c := range b.close {
		err = errors.Join(err, c.Close())
	}
	return err
}

// nothing is a state machine without a state.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nothing{}, nil }
func (nothing) Restore(snapshot io.ReadCloser) error { return snapshot.Close() }
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (nothing) Release()                             {}

// tlsStream is raft's way to its peers.
type tlsStream struct {
	net.Listener
	id loaded
}

func (s tlsStream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return (&tls.Dialer{Config: s.id.client()}).DialContext(ctx, "tcp", string(addr))
}
