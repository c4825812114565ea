package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const domainRecord = "record"

// record is a path in a scope, with its head as it stands.
type record struct {
	key  []byte
	in   placed
	path string
	head *fsmpb.Head // nil: never put
	owed usage       // what its scope is charged when it is saved
}

// record is one to be changed, and then saved; look is for those that are read alone.
func (x *access) record(s Scope, path string) *record { return x.t.take(place(s), path) }

func recordKey(t tx, in placed, path string) []byte { return t.opaque(domainRecord, in.text, path) }

func readRecord(t tx, in placed, path string) *record {
	r := &record{key: recordKey(t, in, path), in: in, path: path}
	var h fsmpb.Head
	if t.get(tableHead, r.key, &h) {
		r.head = &h
	}
	return r
}

// recordOf is the record of a head's row; nil where there is none.
func (x *access) recordOf(key []byte) *record {
	var h fsmpb.Head
	if !x.t.get(tableHead, key, &h) {
		return nil
	}
	s, err := parseFullScope(h.GetScope(), x.st.trustDomain)
	if err != nil {
		return nil
	}
	return &record{key: key, in: placed{s, h.GetScope()}, path: h.GetPath(), head: &h}
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

// version is the meta of a version, 0 the current one; nil where it is not kept.
func (r *record) version(n uint64) *fsmpb.VersionMeta {
	if n == 0 {
		n = r.current()
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

// current is the number of the version that a get reads: the latest one, unless a
// rotation made that and it is pending or was given up.
func (r *record) current() uint64 {
	if n := r.head.GetCurrent(); n != 0 {
		return n
	}
	return r.head.GetVersion()
}

// setCurrent makes a version the one that a get reads, from now on, in place of old.
func (x *access) setCurrent(r *record, old, v *fsmpb.VersionMeta) {
	r.head.Current, r.head.CurrentSince = v.GetVersion(), x.st.time
	if v.GetVersion() == r.head.GetVersion() {
		r.head.Current = 0
	}
	if len(v.GetDigest()) == 0 {
		sealed, id := x.t.value(r.key, v.GetVersion())
		v.Digest, v.RequestId = identify(v, sealed, id)
	}
	setApart(old)
	x.arm(r)
}

// identify gives the digest and the request id of a version, of its value: what format 3
// left has the id in the head.
func identify(v *fsmpb.VersionMeta, sealed, requestID []byte) (digest, id []byte) {
	sum := sha256.Sum256(sealed)
	if len(requestID) == 0 {
		requestID = v.GetRequestId()
	}
	return sum[:], requestID
}

// setApart leaves it to a version's value to say its digest and request id, where that
// does: every put writes the head, with all versions.
func setApart(v *fsmpb.VersionMeta) {
	if v.GetApart() {
		v.Digest, v.RequestId = nil, nil
	}
}

// ended: the time of a version's grace is over.
func (x *access) ended(v *fsmpb.VersionMeta) bool {
	return v.GetExpiresAt() != 0 && v.GetExpiresAt() <= x.st.time
}

// prune drops the oldest versions that are more than the limit, but never the
// current one, a pending one, or the one that the last rotation replaced, while its
// grace lasts.
func (x *access) prune(r *record) {
	previous := uint64(0)
	if r.head.GetGeneration() != 0 { // it was rotated once: else a put need not look at all versions
		for _, v := range r.head.GetVersions() {
			if v.GetExpiresAt() != 0 && !x.ended(v) {
				previous = v.GetVersion()
			}
		}
	}
	for i := 0; i < len(r.head.Versions) && uint64(len(r.head.Versions)) > x.limits.GetVersionsKept(); {
		v := r.head.Versions[i]
		if n := v.GetVersion(); n == r.current() || n == r.head.GetRotation().GetPending() || n == previous {
			i++
			continue
		}
		x.dropVersion(r, v)
		r.head.Versions = slices.Delete(r.head.Versions, i, i+1)
	}
}

func valueKey(record []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(record), version)
}

// save is the last of what an access does to a record.
func (x *access) save(r *record) {
	if r.owed != (usage{}) {
		x.charge(r.in.Scope, r.owed)
		r.owed = usage{}
	}
	x.t.save(r)
}

// addVersion gives the record its next version; its bytes are charged.
func (x *access) addVersion(r *record, sealed []byte, size uint64, labels map[string]string) *fsmpb.VersionMeta {
	wrapped, _ := seal.ValueKeyID(sealed)
	r.head.Version++
	one := &struct { // one piece of memory: a put goes through those of all versions
		meta   fsmpb.VersionMeta
		digest [sha256.Size]byte
		id     [16]byte
	}{digest: sha256.Sum256(sealed)}
	v := &one.meta
	v.Version, v.CreatedAt, v.Size, v.Labels, v.ValueKey = r.head.Version, x.st.time, size, labels, wrapped
	v.Digest, v.RequestId, v.Apart = one.digest[:], append(one.id[:0], x.a.GetRequestId()...), true
	r.head.Versions = append(r.head.Versions, v)
	x.st.use(wrapped, 1)
	x.t.set(tableValue, valueKey(r.key, v.Version), &fsmpb.Value{Sealed: sealed, RequestId: v.RequestId})
	r.owed.bytes += int64(size)
	return v
}

// dropVersion makes a version unreadable: its value row goes, its bytes are given
// back.
func (x *access) dropVersion(r *record, v *fsmpb.VersionMeta) {
	if v.GetDestroyed() {
		return
	}
	x.t.del(tableValue, valueKey(r.key, v.GetVersion()))
	v.Destroyed, v.Pending = true, false
	x.st.use(v.GetValueKey(), -1)
	r.owed.bytes -= int64(v.GetSize())
}

// purge destroys all versions. The head stays, so that version numbers never
// start again.
func (x *access) purge(r *record) {
	x.empty(r)
	x.save(r)
}

// empty is purge of a record that is changed further, and saved after that.
func (x *access) empty(r *record) {
	was := r.present()
	for _, v := range r.head.GetVersions() {
		x.dropVersion(r, v)
	}
	x.disarm(r)
	r.head.Versions, r.head.DeletedAt, r.head.ByProvisioner = nil, 0, false
	r.head.Current, r.head.Rotation, r.head.Period = 0, nil, 0
	if was {
		r.owed.secrets--
		x.unlist(r.in.Scope, r.path)
	}
	x.forgetSibling(r.in.Scope, r.path)
}
