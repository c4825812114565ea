package fsm

import (
	"slices"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// The siblings row of an agent and a path lists the process scopes that hold a
// live record: inside an agent, denied tells that a path exists and not found
// that it does not.

func (x *access) siblingsKey(s Scope, path string) []byte {
	return x.t.opaque("siblings", s.TrustDomain, s.Tenant, s.Agent, path)
}

func (x *access) inSibling(path string) bool {
	own := x.reads[0]
	var row fsmpb.Siblings
	x.t.get(tableSiblings, x.siblingsKey(own.Scope, path), &row)
	for _, s := range row.GetScopes() {
		if s != own.text {
			return true
		}
	}
	return false
}

func (x *access) rememberSibling(s Scope, path string) {
	if s.Kind() != ScopeProcess {
		return
	}
	key := x.siblingsKey(s, path)
	var row fsmpb.Siblings
	x.t.get(tableSiblings, key, &row)
	i, found := slices.BinarySearch(row.GetScopes(), s.String())
	if found {
		return
	}
	row.Scopes = slices.Insert(row.GetScopes(), i, s.String())
	x.t.set(tableSiblings, key, &row)
}

func (x *access) forgetSibling(s Scope, path string) {
	if s.Kind() != ScopeProcess {
		return
	}
	key := x.siblingsKey(s, path)
	var row fsmpb.Siblings
	x.t.get(tableSiblings, key, &row)
	i, found := slices.BinarySearch(row.GetScopes(), s.String())
	if !found {
		return
	}
	row.Scopes = slices.Delete(row.GetScopes(), i, i+1)
	if len(row.GetScopes()) == 0 {
		x.t.del(tableSiblings, key)
		return
	}
	x.t.set(tableSiblings, key, &row)
}
