package api

import (
	"context"
	"errors"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// Errors of Backend. All of Do but ErrUnknownOutcome are certain: nothing was
// applied.
var (
	ErrNoLeader       = errors.New("no leader")
	ErrUnknownOutcome = errors.New("the outcome is unknown")
	ErrOverloaded     = errors.New("overloaded")
	ErrStopped        = errors.New("the node is stopping")
	ErrNoMajority     = errors.New("no majority signed")
)

// Backend is the replica behind the API.
type Backend interface {
	// Do puts accesses through the log: a result for each, and the raft index.
	Do(ctx context.Context, accesses []*fsmpb.Access) ([]*fsmpb.Result, uint64, error)
	Store() *fsm.Store
	Keys() *seal.Keyring
	NodeID() string

	// Status and Members need no quorum.
	Status(ctx context.Context) (*hexrv1.StatusResponse, error)
	Members(ctx context.Context) (*hexrv1.MembersResponse, error)
	// Roots asks every member for its audit roots.
	Roots(ctx context.Context, sizes []uint64) []*hexrv1.NodeRoot
	// Checkpoint collects signatures of the audit tree as it was after an entry that
	// this node applied; ErrNoMajority.
	Checkpoint(ctx context.Context, index uint64) (*hexrv1.CheckpointResponse, error)
	// KeyUses asks every member for its use of storage keys that seal no more, by
	// key; under 0 is who did not answer.
	KeyUses(ctx context.Context) map[uint32][]*hexrv1.KeyUse
	// RemoveMember and Transfer do raft's part, once the access is granted.
	RemoveMember(ctx context.Context, id string) error
	Transfer(ctx context.Context, id string) (leader string, err error)
	// Healthy says whether the node answers, and if not why, as a constant text.
	Healthy() (ok bool, why string)
}

// Peer is the verified other end of a connection.
type Peer struct {
	ID       string // SPIFFE ID
	Kind     string // x509 or jwt
	NotAfter time.Time
	Addr     string
	// Presented: the connection has a certificate, verified or not.
	Presented bool
	// TokenDigest is the SHA-256 of a JWT-SVID.
	TokenDigest []byte
	// Close ends the connection; nil: the transport's own.
	Close func()
	// Written is how many bytes have left on the connection, of gRPC's; nil: unknown.
	Written func() uint64
	// Admitted says whether the identity still holds; nil: for as long as the
	// connection is open.
	Admitted func() bool
}

type peerKey struct{}

// WithPeer gives the requests of an HTTP connection their peer.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok && p.ID != ""
}
