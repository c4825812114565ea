package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// describe shows the metadata of the latest version, also of a deleted record.
func (x *access) describe(op *fsmpb.Describe) *fsmpb.Result {
	g, refused := resolve(x, op.GetPath(), op.GetScope(), x.t.glance)
	if refused != nil {
		return refused
	}
	if g.version == nil {
		return notFound()
	}
	x.version = g.version.GetVersion()
	res := granted()
	res.Value = &fsmpb.Result_Secret{Secret: g.secret()}
	return res
}
