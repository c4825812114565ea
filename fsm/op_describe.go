package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// describe shows the metadata of the latest version, also of a deleted record.
func (x *access) describe(op *fsmpb.Describe) *fsmpb.Result {
	r, refused := x.resolve(op.GetPath(), op.GetScope())
	if refused != nil {
		return refused
	}
	v := r.version(0)
	if v == nil {
		return notFound()
	}
	x.version = v.GetVersion()
	res := granted()
	res.Value = &fsmpb.Result_Secret{Secret: r.secret(v)}
	return res
}
