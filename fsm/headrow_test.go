package fsm

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// Whatever stands in a head, in whatever field it has or will have, its row is what
// protobuf would write.
func TestHeadRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &fsmpb.Head{}
		anyMessage(t, h.ProtoReflect())
		want, err := deterministic.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendHead([]byte("before"), h); !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Fatalf("%v is written as %x, not as %x", h, got, want)
		}
	})
	h := &fsmpb.Head{}
	later := []byte{0xf8, 0x07, 1} // field 127
	if err := proto.Unmarshal(append([]byte{0x22, 3}, append(later, later...)...), h); err != nil {
		t.Fatal(err)
	}
	if got, err := deterministic.Marshal(h); err != nil || !bytes.Equal(got, appendHead(nil, h)) {
		t.Errorf("what a later version wrote is lost: %x, %v", appendHead(nil, h), err)
	}
}

// anyMessage sets some of the fields that the message's type has.
func anyMessage(t *rapid.T, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !rapid.Bool().Draw(t, string(f.Name())) {
			continue
		}
		switch {
		case f.IsMap():
			for range rapid.IntRange(1, 3).Draw(t, "labels") {
				m.Mutable(f).Map().Set(anyValue(t, f.MapKey()).MapKey(), anyValue(t, f.MapValue()))
			}
		case f.IsList():
			for range rapid.IntRange(1, 3).Draw(t, "elements") {
				anyMessage(t, m.Mutable(f).List().AppendMutable().Message())
			}
		case f.Message() != nil:
			anyMessage(t, m.Mutable(f).Message())
		default:
			m.Set(f, anyValue(t, f))
		}
	}
}

func anyValue(t *rapid.T, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.String().Draw(t, "text"))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "number"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "number"))
	case protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "number"))
	}
	t.Fatalf("a %v is not made here yet", f.Kind())
	return protoreflect.Value{}
}
