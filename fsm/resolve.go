package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// resolve finds the record that a read names: in the scope given, or for agents
// the first of the scopes they read that has one. A deleted record decides too,
// and hides the broader ones. A nil record comes with the outcome.
func (x *access) resolve(path, scope string) (*record, *fsmpb.Result) {
	if scope != "" {
		s, err := parseFullScope(scope, x.st.trustDomain)
		if err != nil {
			return nil, invalid()
		}
		if !MaySee(x.caller, s) {
			return nil, denied()
		}
		x.scope = scope
		if r := x.record(s, path); r.present() {
			return r, nil
		}
		return nil, notFound()
	}
	if x.caller.Class != ClassAgent {
		return nil, invalid()
	}
	for _, s := range ReadScopes(x.caller) {
		if r := x.record(s, path); r.present() {
			x.scope = s.String()
			return r, nil
		}
	}
	if x.inSibling(path) {
		return nil, denied()
	}
	return nil, notFound()
}
