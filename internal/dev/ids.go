package dev

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const defaultProcess = "main"

// ParseID reads TENANT/AGENT[/PROCESS], the path of a SPIFFE ID, or a whole one
// of the trust domain.
func ParseID(td spiffeid.TrustDomain, s string) (spiffeid.ID, error) {
	switch {
	case strings.HasPrefix(s, "spiffe://"):
		id, err := spiffeid.FromString(s)
		if err != nil {
			return spiffeid.ID{}, fmt.Errorf("identity %q: %w", s, err)
		}
		if !id.MemberOf(td) {
			return spiffeid.ID{}, fmt.Errorf("identity %q is not of the trust domain %s", s, td)
		}
		return id, nil
	case strings.HasPrefix(s, "/"):
		return fromPath(td, s, s)
	}
	parts := strings.Split(s, "/")
	switch len(parts) {
	case 2:
		return fromPath(td, s, "/agent/"+s+"/"+defaultProcess)
	case 3:
		return fromPath(td, s, "/agent/"+s)
	}
	return spiffeid.ID{}, fmt.Errorf("identity %q: use TENANT/AGENT, TENANT/AGENT/PROCESS, "+
		"or the path of a SPIFFE ID such as /hexr/operator/ann", s)
}

func fromPath(td spiffeid.TrustDomain, given, path string) (spiffeid.ID, error) {
	id, err := spiffeid.FromPath(td, path)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("identity %q: %w", given, err)
	}
	return id, nil
}
