package fsm

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// headRoom is about what a version takes in a head's row: the current one twice that.
const headRoom = 40

// appendHead encodes a head as protobuf does, without reflection: a put writes it with
// all versions that are kept, and it was most of what a put encoded.
func appendHead(b []byte, h *fsmpb.Head) []byte {
	b = slices.Grow(b, 4*headRoom+len(h.GetPath())+len(h.GetScope())+headRoom*len(h.GetVersions()))
	b = appendText(b, 1, h.GetPath())
	b = appendText(b, 2, h.GetScope())
	b = appendNumber(b, 3, h.GetVersion())
	one := make([]byte, 0, headRoom)
	for _, v := range h.GetVersions() {
		one = appendVersion(one[:0], v)
		b = appendField(b, 4, one)
	}
	b = appendNumber(b, 5, uint64(h.GetDeletedAt()))
	b = appendTruth(b, 6, h.GetByProvisioner())
	b = appendNumber(b, 7, uint64(h.GetCreatedAt()))
	b = appendNumber(b, 20, h.GetCurrent())
	b = appendNumber(b, 21, uint64(h.GetCurrentSince()))
	if r := h.GetRotation(); r != nil {
		b = appendField(b, 22, appendRotation(one[:0], r))
	}
	b = appendNumber(b, 23, h.GetGeneration())
	b = appendNumber(b, 24, uint64(h.GetPeriod()))
	b = appendNumber(b, 25, uint64(h.GetDueAt()))
	b = appendTruth(b, 26, h.GetOverdue())
	return append(b, h.ProtoReflect().GetUnknown()...)
}

func appendVersion(b []byte, v *fsmpb.VersionMeta) []byte {
	b = appendNumber(b, 1, v.GetVersion())
	b = appendNumber(b, 2, uint64(v.GetCreatedAt()))
	b = appendNumber(b, 3, v.GetSize())
	b = appendBytes(b, 4, v.GetDigest())
	b = appendBytes(b, 5, v.GetRequestId())
	b = appendTruth(b, 6, v.GetDestroyed())
	if len(v.GetLabels()) > 0 {
		b = appendLabels(b, v.GetLabels())
	}
	if key := v.GetValueKey(); key != 0 {
		b = protowire.AppendFixed32(protowire.AppendTag(b, 11, protowire.Fixed32Type), key)
	}
	b = appendTruth(b, 12, v.GetApart())
	b = appendTruth(b, 20, v.GetPending())
	b = appendNumber(b, 21, uint64(v.GetExpiresAt()))
	return append(b, v.ProtoReflect().GetUnknown()...)
}

func appendLabels(b []byte, labels map[string]string) []byte {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		label := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
		label = protowire.AppendString(protowire.AppendTag(label, 2, protowire.BytesType), labels[name])
		b = appendField(b, 7, label)
	}
	return b
}

func appendRotation(b []byte, r *fsmpb.Rotation) []byte {
	b = appendText(b, 1, r.GetHolder())
	b = appendNumber(b, 2, r.GetGeneration())
	b = appendNumber(b, 3, uint64(r.GetLeaseUntil()))
	b = appendNumber(b, 4, r.GetPending())
	b = appendNumber(b, 5, r.GetBase())
	b = appendTruth(b, 6, r.GetByProvisioner())
	return append(b, r.ProtoReflect().GetUnknown()...)
}
