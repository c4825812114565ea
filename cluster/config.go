package cluster

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"syscall"
	"time"
)

// Peer is who is at the other end of a connection.
type Peer struct {
	ID       string // SPIFFE ID; empty: no certificate, or none that verifies
	Node     string // node ID of callers of the node class, else empty
	NotAfter time.Time
	Kind     string
	Addr     string
}

// TLS is the identity of this process as the network needs it.
type TLS interface {
	// Server is the configuration to accept with. With require, a handshake without
	// a valid certificate fails with an alert.
	Server(alpn []string, require bool) *tls.Config
	// Client is the configuration to dial that node with; empty: any node of the
	// trust domain.
	Client(nodeID string, alpn ...string) *tls.Config
	// Authenticate says who the peer of a connection is now.
	Authenticate(tls.ConnectionState) (Peer, error)
	// Updated returns a channel that is closed when the SVID or a bundle changes.
	Updated() <-chan struct{}
}

// Admission says who may be connected.
type Admission interface {
	IsMember(nodeID string) bool
	Blocked(Peer) bool
	// Changed returns a channel that is closed when one of the answers may change.
	Changed() <-chan struct{}
}

// Config of a Listener.
type Config struct {
	Bind      string // host:port
	Advertise string // host:port that others dial
	TLS       TLS
	Admission Admission
	// ClusterID is compared on every raft stream.
	ClusterID func() [16]byte
	Logger    *slog.Logger
	Limits    Limits
}

// Limits bound what strangers cost. Zero fields mean the defaults.
type Limits struct {
	Handshakes       int           // unfinished at once; 256
	HandshakesSource int           // of one address; 64
	HandshakeTimeout time.Duration // 5 s
	MaxAge           time.Duration // of a connection; 12 h
	// HandshakeRate is how many are begun in a second, of one address and protocol; 100,
	// and twice as many at once.
	HandshakeRate int
	// Connections open at once, those of nodes aside, of which strangers without an
	// identity may have a quarter; 4096, and at most half of the process's
	// descriptors.
	Connections int
	// ConnectionsPeer are open at once of one identity, or of one address without
	// one; 512, and at most half of Connections.
	ConnectionsPeer int
}

func (l Limits) withDefaults() Limits {
	set := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	set(&l.Handshakes, 256)
	set(&l.HandshakesSource, 64)
	set(&l.HandshakeRate, 100)
	set(&l.Connections, min(4096, descriptors()/2))
	set(&l.ConnectionsPeer, min(512, l.Connections/2))
	if l.HandshakeTimeout == 0 {
		l.HandshakeTimeout = 5 * time.Second
	}
	if l.MaxAge == 0 {
		l.MaxAge = 12 * time.Hour
	}
	return l
}

// descriptors that this process may have open.
func descriptors() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}

// Validate says what is missing.
func (c Config) Validate() error {
	if c.Bind == "" || c.Advertise == "" || c.TLS == nil || c.Admission == nil || c.ClusterID == nil {
		return errors.New("cluster: bind, advertise, TLS, admission and cluster ID are required")
	}
	return nil
}
