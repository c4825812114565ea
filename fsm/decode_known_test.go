package fsm

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestUnknownFields: what the quick look at gets and puts rests on, and that it sees
// what the thorough one sees.
func TestUnknownFields(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 1)
	for _, m := range []proto.Message{&fsmpb.Get{}, &fsmpb.Put{}} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if f := fields.Get(i); f.Kind() == protoreflect.MessageKind && !f.IsMap() {
				t.Errorf("%s holds a message", f.FullName())
			}
		}
	}
	access := (&fsmpb.Access{}).ProtoReflect().Descriptor().Fields()
	for i := range access.Len() {
		if f := access.Get(i); f.Message() != nil && f.ContainingOneof() == nil {
			t.Errorf("%s is a message beside the operation", f.FullName())
		}
	}
	for _, a := range []*fsmpb.Access{get("k", "", 0), put("k", agentScope, "v"), del("k", agentScope)} {
		if accessHasUnknown(a) || entryHasUnknown(&fsmpb.Entry{Accesses: []*fsmpb.Access{a}}) {
			t.Errorf("%v: nothing is unknown", a.GetOp())
		}
		outer, inner := proto.Clone(a).(*fsmpb.Access), proto.Clone(a).(*fsmpb.Access)
		outer.ProtoReflect().SetUnknown(unknown)
		op := inner.ProtoReflect().WhichOneof(inner.ProtoReflect().Descriptor().Oneofs().ByName("op"))
		inner.ProtoReflect().Mutable(op).Message().SetUnknown(unknown)
		for _, bad := range []*fsmpb.Access{outer, inner} {
			if !accessHasUnknown(bad) || !hasUnknown(bad.ProtoReflect()) || !entryHasUnknown(&fsmpb.Entry{Accesses: []*fsmpb.Access{a, bad}}) {
				t.Errorf("%v: an unknown field is not seen", a.GetOp())
			}
		}
	}
	for _, e := range []*fsmpb.Entry{{Check: &fsmpb.Check{}}, {Marks: []*fsmpb.Mark{{}}}, {}} {
		m := e.ProtoReflect()
		switch {
		case e.Check != nil:
			m = e.Check.ProtoReflect()
		case len(e.Marks) > 0:
			m = e.Marks[0].ProtoReflect()
		}
		m.SetUnknown(unknown)
		if !entryHasUnknown(e) {
			t.Error("an unknown field of an entry is not seen")
		}
	}
}
