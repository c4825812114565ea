package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// glance is what a read of one version sees of a record. It is shared with other
// accesses, and must not be changed.
type glance struct {
	key    []byte        // the record's; nil where nothing is in the scope
	exists bool          // a version is not destroyed
	secret *fsmpb.Secret // what a result shows of the version, without its value; nil where it is not kept

	// Of the version.
	destroyed, pending bool
	expiresAt          int64  // 0: no end
	holder             string // of the rotation that is under way
}

// present: there is a version that is not destroyed.
func (g *glance) present() bool { return g.exists }

// at is a glance at a version, 0 the current one.
func (r *record) at(version uint64) *glance {
	g := &glance{key: r.key, exists: r.present(), holder: r.head.GetRotation().GetHolder()}
	if v := r.version(version); v != nil {
		g.secret = r.secret(v)
		g.destroyed, g.pending, g.expiresAt = v.GetDestroyed(), v.GetPending(), v.GetExpiresAt()
	}
	return g
}

// show is the secret for a result of its own.
func (g *glance) show() *fsmpb.Secret {
	s := g.secret
	return &fsmpb.Secret{
		Path: s.GetPath(), Scope: s.GetScope(), Version: s.GetVersion(), Digest: s.GetDigest(), RequestId: s.GetRequestId(),
		CreatedAt: s.GetCreatedAt(), Labels: s.GetLabels(), DeletedAt: s.GetDeletedAt(),
		ByProvisioner: s.GetByProvisioner(), Size: s.GetSize(),
		Rotation: s.GetRotation(), RotationDue: s.GetRotationDue(), Overdue: s.GetOverdue(),
	}
}
