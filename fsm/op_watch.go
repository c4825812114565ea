package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// watch grants the entry node to show the changes of scopes, from this entry on
// or from an earlier place; it reads them from its own store.
func (x *access) watch(op *fsmpb.Watch) *fsmpb.Result {
	scopes, refused := x.visible(op.GetScope())
	if refused != nil {
		return refused
	}
	res := granted()
	res.Value = &fsmpb.Result_WatchGrant{WatchGrant: &fsmpb.WatchGrant{Scopes: scopes}}
	return res
}
