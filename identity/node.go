package identity

import (
	"errors"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	nodePrefix = "/hexr/node/"
	maxNodeID  = 63
)

var (
	// ErrNotNode: the peer's SPIFFE ID is not one of a node.
	ErrNotNode = errors.New("peer is not a hexrd node of this trust domain")
	// ErrWrongNode: the peer is a node, but not the one that was expected.
	ErrWrongNode = errors.New("peer is another node than the one expected")
)

// ValidNodeID reports whether s is a node ID: 1 to 63 of [a-z0-9-], neither
// beginning nor ending with a hyphen (a DNS label).
func ValidNodeID(s string) bool {
	if s == "" || len(s) > maxNodeID || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// NodeID returns the node-id of spiffe://<trust-domain>/hexr/node/<node-id>, or
// ErrNotNode. The trust domain is the caller's to check.
func NodeID(id spiffeid.ID) (string, error) {
	if id.IsZero() {
		return "", ErrNotNode
	}
	name, ok := strings.CutPrefix(id.Path(), nodePrefix)
	if !ok || !ValidNodeID(name) {
		return "", ErrNotNode
	}
	return name, nil
}

// AuthorizeNode admits any node of the trust domain.
func AuthorizeNode(td spiffeid.TrustDomain) func(spiffeid.ID) error {
	return func(id spiffeid.ID) error {
		if td.IsZero() || !id.MemberOf(td) {
			return ErrNotNode
		}
		_, err := NodeID(id)
		return err
	}
}

// AuthorizeExactly admits that one node of the trust domain.
func AuthorizeExactly(td spiffeid.TrustDomain, nodeID string) func(spiffeid.ID) error {
	node := AuthorizeNode(td)
	return func(id spiffeid.ID) error {
		if err := node(id); err != nil {
			return err
		}
		if name, err := NodeID(id); err != nil || name != nodeID {
			return ErrWrongNode
		}
		return nil
	}
}
