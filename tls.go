package hexrd

import (
	"crypto/tls"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd/api"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/identity"
)

// clusterTLS is the process's identity as the network between nodes needs it.
type clusterTLS struct {
	source identity.Source
	td     spiffeid.TrustDomain
}

func (t clusterTLS) Server(alpn []string, requireCert bool) *tls.Config {
	return identity.ServerTLS(t.source, t.td, identity.ServerOptions{ALPN: alpn, Require: requireCert})
}

func (t clusterTLS) Client(nodeID string, alpn ...string) *tls.Config {
	authorize := identity.AuthorizeNode(t.td)
	if nodeID != "" {
		authorize = identity.AuthorizeExactly(t.td, nodeID)
	}
	return identity.ClientTLS(t.source, authorize, alpn...)
}

func (t clusterTLS) Authenticate(state tls.ConnectionState) (cluster.Peer, error) {
	peer, err := identity.Authenticate(state, t.source, t.td)
	if err != nil {
		return cluster.Peer{}, err
	}
	node, _ := identity.NodeID(peer.ID) // empty for every other class
	return cluster.Peer{ID: peer.ID.String(), Node: node, NotAfter: peer.NotAfter, Kind: peer.Kind}, nil
}

// agentTokens verifies JWT-SVIDs for the API.
type agentTokens struct{ *identity.Tokens }

func (t agentTokens) Verify(token string) (api.Peer, error) {
	p, err := t.Tokens.Verify(token)
	if err != nil {
		return api.Peer{}, err
	}
	return api.Peer{ID: p.ID.String(), Kind: p.Kind, NotAfter: p.NotAfter, TokenDigest: p.Digest[:]}, nil
}

func (t clusterTLS) Updated() <-chan struct{} { return t.source.Updated() }
