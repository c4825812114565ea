package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// resolve finds the record that a read names, by look or glance of its transaction:
// in the scope given, or for agents the first of the scopes they read that has one.
// A deleted record decides too, and hides the broader ones. A nil record comes with
// the outcome. The record must not be changed.
func resolve[R interface{ present() bool }](x *access, path, scope string, look func(placed, string) R) (R, *fsmpb.Result) {
	var none R
	if scope != "" {
		s, err := parseFullScope(scope, x.st.trustDomain)
		if err != nil {
			return none, invalid()
		}
		if !MaySee(x.caller, s) {
			return none, denied()
		}
		x.scope = scope
		if r := look(placed{s, scope}, path); r.present() {
			return r, nil
		}
		return none, notFound()
	}
	if x.caller.Class != ClassAgent {
		return none, invalid()
	}
	for _, in := range x.reads {
		if r := look(in, path); r.present() {
			x.scope = in.text
			return r, nil
		}
	}
	if x.inSibling(path) {
		return none, denied()
	}
	return none, notFound()
}
