package fsm

import "strings"

// Class is one of the five disjoint kinds of callers.
type Class uint8

// The classes of callers.
const (
	ClassAgent Class = iota + 1
	ClassProvisioner
	ClassOperator
	ClassAuditor
	ClassNode
)

func (c Class) String() string {
	switch c {
	case ClassAgent:
		return "agent"
	case ClassProvisioner:
		return "provisioner"
	case ClassOperator:
		return "operator"
	case ClassAuditor:
		return "auditor"
	case ClassNode:
		return "node"
	}
	return "unknown"
}

const (
	scheme     = "spiffe://"
	maxSegment = 63

	// MainProcess is the default process of an agent, and its supervisor.
	MainProcess = "main"
)

// Caller is who makes an access: a SPIFFE ID of the cluster's trust domain,
// parsed once and compared bytewise.
type Caller struct {
	ID          string
	TrustDomain string
	Class       Class
	Tenant      string // agents and provisioners
	Agent       string // agents
	Process     string // agents
	Name        string // provisioners, operators, auditors; of a node its node ID
}

// ParseCaller reads an ID of that trust domain, or returns ErrCaller. Nothing is
// normalised.
func ParseCaller(id, trustDomain string) (Caller, error) {
	rest, ok := strings.CutPrefix(id, scheme+trustDomain+"/")
	if !ok || trustDomain == "" {
		return Caller{}, ErrCaller
	}
	c := Caller{ID: id, TrustDomain: trustDomain}
	parts := strings.Split(rest, "/")
	for _, p := range parts {
		if !validSegment(p) {
			return Caller{}, ErrCaller
		}
	}
	switch {
	case len(parts) == 4 && parts[0] == "agent":
		c.Class, c.Tenant, c.Agent, c.Process = ClassAgent, parts[1], parts[2], parts[3]
	case len(parts) == 4 && parts[0] == "hexr" && parts[1] == "provisioner":
		c.Class, c.Tenant, c.Name = ClassProvisioner, parts[2], parts[3]
	case len(parts) == 3 && parts[0] == "hexr" && parts[1] == "operator":
		c.Class, c.Name = ClassOperator, parts[2]
	case len(parts) == 3 && parts[0] == "hexr" && parts[1] == "auditor":
		c.Class, c.Name = ClassAuditor, parts[2]
	case len(parts) == 3 && parts[0] == "hexr" && parts[1] == "node" && validNodeID(parts[2]):
		c.Class, c.Name = ClassNode, parts[2]
	default:
		return Caller{}, ErrCaller
	}
	return c, nil
}

// validSegment: 1 to 63 of [A-Za-z0-9._-], not "." or "..".
func validSegment(s string) bool {
	if s == "" || len(s) > maxSegment || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if !wordByte(s[i]) {
			return false
		}
	}
	return true
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// validNodeID: a DNS label in lower case.
func validNodeID(s string) bool {
	if s == "" || len(s) > maxSegment || s[0] == '-' || s[len(s)-1] == '-' {
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
