package fsm

import (
	"strings"

	"github.com/hexrdev/hexrd/seal"
)

// ScopeKind is how far a scope reaches.
type ScopeKind uint8

// The kinds of scopes, from the narrowest.
const (
	ScopeProcess ScopeKind = iota + 1
	ScopeAgent
	ScopeTenant
)

// Scope is where a record lives and who may reach it.
type Scope struct {
	TrustDomain, Tenant string
	Agent               string // empty: the whole tenant
	Process             string // empty: the whole agent
}

// Kind tells the three shapes apart.
func (s Scope) Kind() ScopeKind {
	switch {
	case s.Agent == "":
		return ScopeTenant
	case s.Process == "":
		return ScopeAgent
	}
	return ScopeProcess
}

// String is the full form that is stored and shown.
func (s Scope) String() string {
	prefix := scheme + s.TrustDomain + "/agent/" + s.Tenant + "/"
	switch s.Kind() {
	case ScopeTenant:
		return prefix + "*"
	case ScopeAgent:
		return prefix + s.Agent + "/*"
	default:
		return prefix + s.Agent + "/" + s.Process
	}
}

// ParseScope reads a scope as a caller gives it: a full one, and for agents also
// the name of a process of its agent, or nothing for the agent's. Whether the
// caller may use it is decided with the access. ErrScope otherwise.
func ParseScope(c Caller, given string) (Scope, error) {
	if c.Class == ClassAgent {
		own := Scope{TrustDomain: c.TrustDomain, Tenant: c.Tenant, Agent: c.Agent}
		if given == "" {
			return own, nil
		}
		if validSegment(given) {
			own.Process = given
			return own, nil
		}
	}
	return parseFullScope(given, c.TrustDomain)
}

func parseFullScope(s, trustDomain string) (Scope, error) {
	rest, ok := strings.CutPrefix(s, scheme+trustDomain+"/agent/")
	if !ok {
		return Scope{}, ErrScope
	}
	parts := strings.Split(rest, "/")
	for _, p := range parts[:len(parts)-1] {
		if !validSegment(p) {
			return Scope{}, ErrScope
		}
	}
	last := parts[len(parts)-1]
	scope := Scope{TrustDomain: trustDomain, Tenant: parts[0]}
	switch {
	case len(parts) == 2 && last == "*":
	case len(parts) == 3 && last == "*":
		scope.Agent = parts[1]
	case len(parts) == 3 && validSegment(last):
		scope.Agent, scope.Process = parts[1], last
	default:
		return Scope{}, ErrScope
	}
	return scope, nil
}

// ReadScopes are the scopes that an agent's get searches, in this order.
func ReadScopes(c Caller) []Scope {
	if c.Class != ClassAgent {
		return nil
	}
	s := Scope{TrustDomain: c.TrustDomain, Tenant: c.Tenant, Agent: c.Agent, Process: c.Process}
	agent, tenant := s, s
	agent.Process = ""
	tenant.Process, tenant.Agent = "", ""
	return []Scope{s, agent, tenant}
}

// MayRead reports whether the caller may read values of the scope: agents their
// own process's, their agent's and their tenant's.
func MayRead(c Caller, s Scope) bool {
	return c.Class == ClassAgent && s.TrustDomain == c.TrustDomain && s.Tenant == c.Tenant &&
		(s.Agent == "" || s.Agent == c.Agent) && (s.Process == "" || s.Process == c.Process)
}

// mayWrite: agents in their agent's scope and their own process's, main in all
// processes' of its agent; provisioners everywhere in their tenant.
func mayWrite(c Caller, s Scope) bool {
	switch c.Class {
	case ClassAgent:
		return s.Tenant == c.Tenant && s.Agent == c.Agent &&
			(s.Process == "" || s.Process == c.Process || c.Process == MainProcess)
	case ClassProvisioner:
		return s.Tenant == c.Tenant
	}
	return false
}

// mayDestroy is mayWrite, but the agent's scope only by main.
func mayDestroy(c Caller, s Scope) bool {
	if c.Class == ClassAgent && s.Kind() == ScopeAgent && c.Process != MainProcess {
		return false
	}
	return mayWrite(c, s)
}

// MaySee reports whether the caller may see metadata of the scope.
func MaySee(c Caller, s Scope) bool {
	switch c.Class {
	case ClassAgent:
		return MayRead(c, s)
	case ClassProvisioner:
		return s.Tenant == c.Tenant
	case ClassOperator:
		return true
	}
	return false
}

// RecordKey is the opaque key of a path in a scope: the key of its rows, and
// what a sealed value is bound to.
func RecordKey(k *seal.Keyring, s Scope, p Path) [32]byte {
	return k.Opaque(domainRecord, s.String(), string(p))
}
