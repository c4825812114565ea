package hexrd

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"

	"github.com/hexrdev/hexrd/api"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/identity"
	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/internal/quiet"
	"github.com/hexrdev/hexrd/node"
	"github.com/hexrdev/hexrd/seal"
)

const handOverTimeout = 3 * time.Second

// Server is a running node.
type Server struct {
	cfg    Config
	log    *slog.Logger
	source identity.Source
	td     spiffeid.TrustDomain
	nodeID string
	tls    clusterTLS
	tokens agentTokens

	wrapper  seal.Wrapper
	keys     *keyStore
	auditKey ed25519.PrivateKey

	peers     *cluster.Peers
	admission *admission
	admitters []string // addresses of those that admitted this node in an earlier process
	listener  *cluster.Listener
	node      *node.Node
	api       *api.Server
	registry  *prometheus.Registry
	grpc      *grpc.Server
	carriers  []*carrier
	nodes     *grpc.Server // for other nodes: no caller's flood reaches it
	http      *http.Server
	admin     *admin
	disks     disks

	ctx    context.Context // of the goroutines that the server owns
	cancel context.CancelFunc
	wg     sync.WaitGroup

	failed    chan error // what made it end by itself; at most one is kept
	closeOnce sync.Once
	closeErr  error
}

// Open starts a node, and returns once it serves: a bootstrapped node leads
// then, and a joining one has been admitted. ctx bounds Open alone.
func Open(ctx context.Context, c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: c, log: c.logger(), registry: prometheus.NewRegistry(), failed: make(chan error, 1)}
	s.disks.voters = map[string]heardSpace{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	if err := s.identify(ctx); err != nil {
		return err
	}
	if err := s.makeDataDir(); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	hasNode, err := node.HasState(s.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("look at data directory: %w", err)
	}
	fresh := !hasNode
	s.peers = cluster.NewPeers(cluster.PeersConfig{TLS: s.tls, ClusterID: s.clusterID, Logger: s.log})
	s.admission = newAdmission(s.td.Name(), s.peers)
	if err := s.openKeys(ctx, fresh); err != nil {
		return err
	}
	if !fresh {
		if err := s.recallAdmitters(); err != nil {
			return err
		}
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	s.lookAtDisk()
	s.disks.verdict.Store(s.disks.own.Load())
	if err := s.openNode(ctx, fresh); err != nil {
		return err
	}
	if err := s.serve(); err != nil { // before it starts: nodes that start together ask one another
		return err
	}
	if err := s.returned(ctx); err != nil {
		return err
	}
	if err := s.node.Start(ctx); err != nil {
		return fmt.Errorf("start node: %w", err)
	}
	s.own(s.promote)
	s.own(s.keepKeys)
	s.own(s.rewrap)
	s.own(s.reseal)
	s.own(s.watchNode)
	s.own(s.watchRemoval)
	s.own(s.summarise)
	s.own(s.watchDisks)
	return s.takePlace(ctx, fresh)
}

// makeDataDir makes the directory this user's alone, also one that was there.
func (s *Server) makeDataDir() error {
	if err := durable.MakeDir(s.cfg.DataDir); err != nil {
		return err
	}
	info, err := os.Stat(s.cfg.DataDir)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	if os.Chmod(s.cfg.DataDir, 0o700) != nil { // a mount of somebody else's, say
		s.log.Warn("the data directory is open to other users of this machine: make it 0700")
	}
	return nil
}

// identify opens the source of SVIDs; the node's ID and trust domain are those
// of its SVID.
func (s *Server) identify(ctx context.Context) error {
	idc := s.cfg.Identity
	idc.Logger = s.log
	source, err := identity.Open(ctx, idc)
	if err != nil {
		return fmt.Errorf("open identity: %w", err)
	}
	s.source = source
	svid, err := source.GetX509SVID()
	if err != nil {
		return fmt.Errorf("open identity: %w", err)
	}
	s.td = svid.ID.TrustDomain()
	if s.nodeID, err = identity.NodeID(svid.ID); err != nil {
		return fmt.Errorf("this process's SVID is not one of a node: register it as spiffe://%s/hexr/node/<node-id>: %w", s.td.Name(), err)
	}
	s.tls = clusterTLS{source: source, td: s.td}
	tokens, err := identity.NewTokens(source, s.td)
	s.tokens = agentTokens{tokens}
	return err
}

// openKeys opens or makes the wrapper key, the keyring and the audit key. A
// fresh node bootstraps, joins, or refuses: an empty node votes for anyone.
func (s *Server) openKeys(ctx context.Context, fresh bool) (err error) {
	joining := len(s.cfg.Join) > 0
	if fresh && !s.cfg.Bootstrap && !joining {
		return ErrNoState
	}
	if s.wrapper, err = openWrapper(s.cfg, fresh); err != nil {
		return err
	}
	if s.auditKey, err = openAuditKey(ctx, s.cfg.DataDir, s.wrapper, s.nodeID); err != nil {
		return err
	}
	s.keys, err = loadKeys(ctx, s.cfg.DataDir, s.wrapper)
	missing := errors.Is(err, os.ErrNotExist)
	switch {
	case err != nil && !missing:
		return err
	case fresh && joining: // again, too, after a join that was cut off: same ID, same token, same answer
		return s.join(ctx)
	case missing && fresh:
		s.keys, err = newKeys(ctx, s.cfg.DataDir, s.wrapper)
		return err
	case missing:
		return fmt.Errorf("the data directory holds a node but no keyring: %w", err)
	}
	return nil
}

func (s *Server) clusterID() [16]byte {
	if s.keys == nil {
		return [16]byte{}
	}
	return s.keys.ring.ClusterID()
}

func (s *Server) openNode(ctx context.Context, fresh bool) (err error) {
	nc := node.Config{
		ID: s.nodeID, Dir: s.cfg.DataDir, Address: s.cfg.advertise(), LogStore: s.cfg.LogStore,
		Keys: s.keys.ring, InstallKeys: s.keys.install, ExportKeys: s.keys.ring.Export,
		Stream:  cluster.NewStreamLayer(s.listener, s.admission.resolve),
		Forward: newForwarder(s.peers, s.nodeID, s.registry), Logger: s.log,
		Joining: fresh && len(s.cfg.Join) > 0, AskAlso: s.cfg.Join, Admitters: s.admitters,
		Refuse: s.disks.refuse,
		Limits: node.Limits{
			SnapshotEntries: s.cfg.Snapshots.Entries, TrailingEntries: s.cfg.Snapshots.Trailing, SnapshotEvery: s.cfg.Snapshots.Interval,
		},
	}
	if s.cfg.Bootstrap {
		nc.Bootstrap = &node.Bootstrap{
			TrustDomain: s.td.Name(), AuditKey: s.auditKey.Public().(ed25519.PublicKey),
		}
	}
	if s.node, err = node.Open(ctx, nc); err != nil {
		return fmt.Errorf("open node: %w", err)
	}
	s.admission.opened(s.node)
	return nil
}

// own runs a goroutine that Close ends and waits for.
func (s *Server) own(run func(context.Context)) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("a part of the node panicked: this is a bug, please report it", quiet.Panic(v))
				s.fail(node.ErrPanic)
			}
		}()
		run(s.ctx)
	}()
}

// watchNode reports a replica that ended by itself.
func (s *Server) watchNode(ctx context.Context) {
	select {
	case <-s.node.Done():
		s.fail(s.node.Err())
	case <-ctx.Done():
	}
}

func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// Wait returns when ctx ends or the node left the cluster (nil), or ended by
// itself (why). The caller
// closes the server in both cases.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case err := <-s.failed: // nil: it left the cluster
		return err
	case <-ctx.Done():
		return nil
	}
}

// NodeID is the node's, from its SVID.
func (s *Server) NodeID() string { return s.nodeID }

// Addr is where the node listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends the node in good order: leadership moves on, what is being
// answered is answered, raft and the store stop. ctx bounds the polite part.
func (s *Server) Close(ctx context.Context) error {
	s.closeOnce.Do(func() { s.closeErr = s.close(ctx) })
	return s.closeErr
}

func (s *Server) close(ctx context.Context) error {
	var errs []error
	s.handOver(ctx)
	s.cancel()
	s.stopServing(ctx)
	s.wg.Wait()
	if s.node != nil {
		errs = append(errs, s.node.Close(ctx))
	}
	if s.peers != nil {
		errs = append(errs, s.peers.Close())
	}
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.source != nil {
		errs = append(errs, s.source.Close())
	}
	return errors.Join(errs...)
}

// handOver moves leadership on before anything stops, so that the cluster does
// not wait for an election. A node that has failed can't.
func (s *Server) handOver(ctx context.Context) {
	if s.node == nil || s.node.Err() != nil || !s.leads() || len(s.node.Store().Configuration().GetServers()) < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	if err := s.node.Transfer(ctx, ""); err != nil {
		s.log.Warn("leadership did not move before the stop: the others elect after a timeout")
	}
}
