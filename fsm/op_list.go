package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// list grants the entry node to list scopes; it evaluates the listing from its
// own store, at this entry or a later one.
func (x *access) list(op *fsmpb.List) *fsmpb.Result {
	grant := &fsmpb.ListGrant{}
	if op.GetScope() != "" {
		s, err := parseFullScope(op.GetScope(), x.st.trustDomain)
		if err != nil {
			return invalid()
		}
		if !maySee(x.caller, s) {
			return denied()
		}
		grant.Scopes = []string{s.String()}
	} else {
		if x.caller.Class != ClassAgent {
			return invalid()
		}
		for _, s := range ReadScopes(x.caller) {
			grant.Scopes = append(grant.Scopes, s.String())
		}
	}
	res := granted()
	res.Value = &fsmpb.Result_ListGrant{ListGrant: grant}
	return res
}
