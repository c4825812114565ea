package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// list grants the entry node to list scopes; it evaluates the listing from its
// own store, at this entry or a later one.
func (x *access) list(op *fsmpb.List) *fsmpb.Result {
	scopes, refused := x.visible(op.GetScope())
	if refused != nil {
		return refused
	}
	res := granted()
	res.Value = &fsmpb.Result_ListGrant{ListGrant: &fsmpb.ListGrant{Scopes: scopes}}
	return res
}

// visible is the scope given, or all that an agent reads, the narrowest first.
func (x *access) visible(scope string) ([]string, *fsmpb.Result) {
	if scope != "" {
		s, err := parseFullScope(scope, x.st.trustDomain)
		if err != nil {
			return nil, invalid()
		}
		if !MaySee(x.caller, s) {
			return nil, denied()
		}
		return []string{s.String()}, nil
	}
	if x.caller.Class != ClassAgent {
		return nil, invalid()
	}
	var scopes []string
	for _, in := range x.reads {
		scopes = append(scopes, in.text)
	}
	return scopes, nil
}
