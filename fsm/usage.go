package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// usage counts what a scope's agent and tenant hold: records that are present,
// and the bytes of the versions kept; or what that changes by.
type usage struct{ secrets, bytes int64 }

func (x *access) usageKeys(s Scope) (agent, tenant []byte) {
	tenant = x.t.opaque("usage", s.TrustDomain, s.Tenant)
	if s.Agent != "" {
		agent = x.t.opaque("usage", s.TrustDomain, s.Tenant, s.Agent)
	}
	return agent, tenant
}

// charge adds to the counts, or takes from them.
func (x *access) charge(s Scope, by usage) {
	agent, tenant := x.usageKeys(s)
	for _, key := range [][]byte{agent, tenant} {
		if key == nil {
			continue
		}
		var u fsmpb.Usage
		x.t.get(tableUsage, key, &u)
		u.Secrets = add(u.GetSecrets(), by.secrets)
		u.Bytes = add(u.GetBytes(), by.bytes)
		x.t.set(tableUsage, key, &u)
	}
}

func add(n uint64, d int64) uint64 {
	if d < 0 && n < uint64(-d) {
		return 0
	}
	return n + uint64(d)
}

// room reports whether the scope's agent and tenant may hold that much more.
func (x *access) room(s Scope, secrets, bytes uint64) bool {
	agent, tenant := x.usageKeys(s)
	fits := func(key []byte, maxSecrets, maxBytes uint64) bool {
		var u fsmpb.Usage
		x.t.get(tableUsage, key, &u)
		return u.GetSecrets()+secrets <= maxSecrets && u.GetBytes()+bytes <= maxBytes
	}
	if agent != nil && !fits(agent, x.limits.GetAgentSecretsMax(), x.limits.GetAgentBytesMax()) {
		return false
	}
	return fits(tenant, x.limits.GetTenantSecretsMax(), x.limits.GetTenantBytesMax())
}
