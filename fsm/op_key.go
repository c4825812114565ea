package fsm

import (
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	maxKeys       = 2048 // that a cluster ever had
	maxKeyReports = 16
)

// KeyKind is a kind of package seal as it stands in the log.
func KeyKind(kind seal.KeyKind) fsmpb.Key_Kind {
	switch kind {
	case seal.ValueKey:
		return fsmpb.Key_KIND_VALUE
	case seal.StorageKey:
		return fsmpb.Key_KIND_STORAGE
	}
	return fsmpb.Key_KIND_UNSPECIFIED
}

// SealKind is the inverse; empty for what is no kind.
func SealKind(kind fsmpb.Key_Kind) seal.KeyKind {
	switch kind {
	case fsmpb.Key_KIND_VALUE:
		return seal.ValueKey
	case fsmpb.Key_KIND_STORAGE:
		return seal.StorageKey
	}
	return ""
}

// KeyReports is what a node says of the keys that seal in its keyring.
func KeyReports(keys *seal.Keyring) []*fsmpb.KeyReport {
	var out []*fsmpb.KeyReport
	for _, k := range keys.Keys() {
		if fingerprint, ok := keys.Fingerprint(k.Kind, k.ID); ok && k.Active {
			out = append(out, &fsmpb.KeyReport{Kind: KeyKind(k.Kind), KeyId: k.ID, Fingerprint: fingerprint[:]})
		}
	}
	return out
}

func keyName(kind fsmpb.Key_Kind, id uint32) string {
	return fmt.Sprintf("%s %08x", SealKind(kind), id)
}

// key is nil where there is none.
func (st *state) key(kind fsmpb.Key_Kind, id uint32) *fsmpb.Key {
	for _, k := range st.keys.GetKeys() {
		if k.GetKind() == kind && k.GetId() == id {
			return k
		}
	}
	return nil
}

func (st *state) keyIn(kind fsmpb.Key_Kind, state fsmpb.Key_State) *fsmpb.Key {
	for _, k := range st.keys.GetKeys() {
		if k.GetKind() == kind && k.GetState() == state {
			return k
		}
	}
	return nil
}

func (st *state) addKey(k *fsmpb.Key) {
	st.keys, st.dirtyKeys = &fsmpb.Keys{Keys: append(slices.Clone(st.keys.GetKeys()), k)}, true
}

// changeKey puts a changed copy in the key's place: readers hold the old one.
func (st *state) changeKey(k *fsmpb.Key, change func(*fsmpb.Key)) {
	keys := slices.Clone(st.keys.GetKeys())
	i := slices.Index(keys, k)
	keys[i] = proto.Clone(k).(*fsmpb.Key)
	change(keys[i])
	st.keys, st.dirtyKeys = &fsmpb.Keys{Keys: keys}, true
}

// held: every member that was not removed is in the list.
func (st *state) held(by []string) bool {
	for _, m := range st.members.GetMembers() {
		if !m.GetRemoved() && !slices.Contains(by, m.GetId()) {
			return false
		}
	}
	return true
}

func withID(ids []string, id string) []string {
	i, found := slices.BinarySearch(ids, id)
	if found {
		return ids
	}
	return slices.Insert(slices.Clone(ids), i, id)
}

func withoutID(ids []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(o string) bool { return o == id })
}

// use counts versions under a value key, and retires a replaced key that has none
// left. A write that was on its way for long can bring one back.
func (st *state) use(id uint32, n int64) {
	if id == 0 {
		return
	}
	uses := slices.Clone(st.uses)
	i, found := slices.BinarySearchFunc(uses, id, func(u *fsmpb.KeyUses, id uint32) int { return int(int64(u.GetKeyId()) - int64(id)) })
	if !found {
		uses = slices.Insert(uses, i, &fsmpb.KeyUses{KeyId: id})
	}
	was := uses[i].GetVersions()
	left := add(was, n)
	uses[i] = &fsmpb.KeyUses{KeyId: id, Versions: left}
	if left == 0 {
		uses = slices.Delete(uses, i, i+1)
	}
	st.uses = uses
	if (was == 0) == (left == 0) {
		return
	}
	if k := st.key(fsmpb.Key_KIND_VALUE, id); k != nil {
		st.settle(k, left == 0)
	}
}

func (st *state) usesOf(id uint32) uint64 {
	for _, u := range st.uses {
		if u.GetKeyId() == id {
			return u.GetVersions()
		}
	}
	return 0
}

// settle moves a key that seals no more between replaced and retired.
func (st *state) settle(k *fsmpb.Key, unused bool) {
	switch {
	case unused && k.GetState() == fsmpb.Key_STATE_REPLACED:
		st.changeKey(k, func(k *fsmpb.Key) { k.State, k.RetiredAt = fsmpb.Key_STATE_RETIRED, st.time })
	case !unused && k.GetState() == fsmpb.Key_STATE_RETIRED:
		st.changeKey(k, func(k *fsmpb.Key) { k.State, k.RetiredAt = fsmpb.Key_STATE_REPLACED, 0 })
	}
}

// forgetHolder is what a removal means for keys. The removed node may know a
// pending key: the rotation starts over with another.
func (x *access) forgetHolder(node string) {
	if len(x.st.keys.GetKeys()) == 0 {
		return
	}
	keys := slices.Clone(x.st.keys.GetKeys())
	for i, k := range keys {
		keys[i] = proto.Clone(k).(*fsmpb.Key)
		keys[i].Holders, keys[i].UnusedBy = withoutID(k.GetHolders(), node), withoutID(k.GetUnusedBy(), node)
		if k.GetState() == fsmpb.Key_STATE_PENDING {
			keys[i].State = fsmpb.Key_STATE_ABANDONED
			keys = append(keys, &fsmpb.Key{
				Kind: k.GetKind(), Id: x.freshKeyID(k.GetKind()), State: fsmpb.Key_STATE_PENDING, CreatedAt: x.st.time, RequestId: k.GetRequestId(),
			})
		}
	}
	x.st.keys, x.st.dirtyKeys = &fsmpb.Keys{Keys: keys}, true
	for _, k := range keys {
		if k.GetKind() == fsmpb.Key_KIND_STORAGE && k.GetState() == fsmpb.Key_STATE_REPLACED {
			x.st.settle(k, x.st.held(k.GetUnusedBy()))
		}
	}
}

// freshKeyID comes from the access's salt, which is random and the same on all
// nodes.
func (x *access) freshKeyID(kind fsmpb.Key_Kind) uint32 {
	id := binary.BigEndian.Uint32(x.a.GetSalt()) ^ uint32(kind)
	for id == 0 || x.st.key(kind, id) != nil {
		id++
	}
	return id
}

func (x *access) keySet(keys ...*fsmpb.Key) *fsmpb.Result {
	res := granted()
	res.Value = &fsmpb.Result_KeySet{KeySet: &fsmpb.KeySet{Keys: keys, Uses: x.st.uses}}
	return res
}

func validateKeyOp(a *fsmpb.Access) error {
	switch op := a.GetOp().(type) {
	case *fsmpb.Access_KeyRelease:
		if op.KeyRelease.GetKind() != fsmpb.Key_KIND_UNSPECIFIED || op.KeyRelease.GetKeyId() != 0 {
			return validKey(op.KeyRelease.GetKind(), op.KeyRelease.GetKeyId())
		}
	case *fsmpb.Access_KeyAdd:
		return validKey(op.KeyAdd.GetKind(), op.KeyAdd.GetKeyId())
	case *fsmpb.Access_KeyDurable:
		return validReports(op.KeyDurable.GetKeys())
	case *fsmpb.Access_KeyActivate:
		return validKey(op.KeyActivate.GetKind(), op.KeyActivate.GetKeyId())
	case *fsmpb.Access_KeyRewrap:
		return validRewrap(op.KeyRewrap)
	case *fsmpb.Access_KeyUse:
		return validKey(fsmpb.Key_KIND_STORAGE, op.KeyUse.GetKeyId())
	}
	return nil
}

func validKey(kind fsmpb.Key_Kind, id uint32) error {
	if SealKind(kind) == "" || id == 0 {
		return refuse("key")
	}
	return nil
}

func validReports(reports []*fsmpb.KeyReport) error {
	if len(reports) == 0 || len(reports) > maxKeyReports {
		return refuse("number of keys")
	}
	for _, r := range reports {
		if validKey(r.GetKind(), r.GetKeyId()) != nil || len(r.GetFingerprint()) != digestSize {
			return refuse("key")
		}
	}
	return nil
}
