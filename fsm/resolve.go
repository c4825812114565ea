package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// resolve finds the record that a read names: in the scope given, or for agents
// the first of the scopes they read that has one. A deleted record decides too,
// and hides the broader ones. A nil record comes with the outcome. The record must
// not be changed.
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
		if r := x.t.look(placed{s, scope}, path); r.present() {
			return r, nil
		}
		return nil, notFound()
	}
	if x.caller.Class != ClassAgent {
		return nil, invalid()
	}
	for _, in := range x.reads {
		if r := x.t.look(in, path); r.present() {
			x.scope = in.text
			return r, nil
		}
	}
	if x.inSibling(path) {
		return nil, denied()
	}
	return nil, notFound()
}
