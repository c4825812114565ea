package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// glance is what a read of one version sees of a record. It is shared with other
// accesses, and must not be changed.
type glance struct {
	key     []byte // the record's; nil where nothing is in the scope
	in      placed
	path    string
	exists  bool               // a version is not destroyed
	head    *fsmpb.Head        // its versions, and what numbers them, may be missing
	version *fsmpb.VersionMeta // nil where it is not kept
}

// present: there is a version that is not destroyed.
func (g *glance) present() bool { return g.exists }

// at is a glance at a version, 0 the current one.
func (r *record) at(version uint64) *glance {
	return &glance{key: r.key, in: r.in, path: r.path, exists: r.present(), head: r.head, version: r.version(version)}
}

// secret is what a result shows of the version.
func (g *glance) secret() *fsmpb.Secret {
	v := g.version
	return &fsmpb.Secret{
		Path: g.path, Scope: g.in.text, Version: v.GetVersion(), Digest: v.GetDigest(), RequestId: v.GetRequestId(),
		CreatedAt: v.GetCreatedAt(), Labels: v.GetLabels(), DeletedAt: g.head.GetDeletedAt(),
		ByProvisioner: g.head.GetByProvisioner(), Size: v.GetSize(),
		Rotation: g.head.GetPeriod(), RotationDue: g.head.GetDueAt(), Overdue: g.head.GetOverdue(),
	}
}
