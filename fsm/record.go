package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// record is a path in a scope, with its head as it stands.
type record struct {
	key   []byte
	scope Scope
	path  string
	head  *fsmpb.Head // nil: never put
}

func (x *access) record(s Scope, path string) *record {
	r := &record{key: x.t.opaque("record", s.String(), path), scope: s, path: path}
	var h fsmpb.Head
	if x.t.get(tableHead, r.key, &h) {
		r.head = &h
	}
	return r
}

// present: there is a version that is not destroyed.
func (r *record) present() bool {
	for _, v := range r.head.GetVersions() {
		if !v.GetDestroyed() {
			return true
		}
	}
	return false
}

// live: it answers a get of its latest version.
func (r *record) live() bool {
	if r.head.GetDeletedAt() != 0 {
		return false
	}
	v := r.version(0)
	return v != nil && !v.GetDestroyed()
}

// version is the meta of a version, 0 the latest; nil where it is not kept.
func (r *record) version(n uint64) *fsmpb.VersionMeta {
	if n == 0 {
		n = r.head.GetVersion()
	}
	i, found := slices.BinarySearchFunc(r.head.GetVersions(), n, func(v *fsmpb.VersionMeta, n uint64) int {
		switch {
		case v.GetVersion() < n:
			return -1
		case v.GetVersion() > n:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return r.head.GetVersions()[i]
}

func (r *record) valueKey(version uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(r.key), version)
}

func (x *access) save(r *record) { x.t.set(tableHead, r.key, r.head) }

// dropVersion makes a version unreadable: its value row goes, its bytes are given
// back.
func (x *access) dropVersion(r *record, v *fsmpb.VersionMeta) {
	if v.GetDestroyed() {
		return
	}
	x.t.del(tableValue, r.valueKey(v.GetVersion()))
	v.Destroyed = true
	x.st.use(v.GetValueKey(), -1)
	x.charge(r.scope, 0, -int64(v.GetSize()))
}

// purge destroys all versions. The head stays, so that version numbers never
// start again.
func (x *access) purge(r *record) {
	was := r.present()
	for _, v := range r.head.GetVersions() {
		x.dropVersion(r, v)
	}
	r.head.Versions, r.head.DeletedAt, r.head.ByProvisioner = nil, 0, false
	x.save(r)
	if was {
		x.charge(r.scope, -1, 0)
		x.unlist(r.scope, r.path)
	}
	x.forgetSibling(r.scope, r.path)
}

// secret is what a result shows of a version.
func (r *record) secret(v *fsmpb.VersionMeta) *fsmpb.Secret {
	return &fsmpb.Secret{
		Path: r.path, Scope: r.scope.String(), Version: v.GetVersion(), Digest: v.GetDigest(), RequestId: v.GetRequestId(),
		CreatedAt: v.GetCreatedAt(), Labels: v.GetLabels(), DeletedAt: r.head.GetDeletedAt(),
		ByProvisioner: r.head.GetByProvisioner(), Size: v.GetSize(),
	}
}
