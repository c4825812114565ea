package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// versions lists the versions that are kept.
func (x *access) versions(op *fsmpb.Versions) *fsmpb.Result {
	r, refused := resolve(x, op.GetPath(), op.GetScope(), x.t.look)
	if refused != nil {
		return refused
	}
	list := &fsmpb.VersionList{Path: r.path, Scope: r.in.text}
	for _, v := range r.head.GetVersions() {
		list.Versions = append(list.Versions, &fsmpb.VersionInfo{
			Version: v.GetVersion(), CreatedAt: v.GetCreatedAt(), Size: v.GetSize(),
			Deleted: r.head.GetDeletedAt() != 0, Destroyed: v.GetDestroyed() || x.ended(v),
			Pending: v.GetPending(), Current: v.GetVersion() == r.current() && !v.GetDestroyed(), ExpiresAt: v.GetExpiresAt(),
		})
	}
	res := granted()
	res.Value = &fsmpb.Result_VersionList{VersionList: list}
	return res
}
