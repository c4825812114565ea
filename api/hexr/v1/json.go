package hexrv1

import (
	"encoding/base64"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ToJSON turns a message of this API into what encoding/json prints as the
// HTTP/JSON side and the command line show it: names as in the proto, numbers as
// numbers, times in RFC 3339, durations such as 90d, bytes as base64, enums in
// lower case; unset messages are left out.
func ToJSON(m proto.Message) any { return messageJSON(m.ProtoReflect()) }

func messageJSON(m protoreflect.Message) any {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return v.AsTime().Format(time.RFC3339Nano)
	case *durationpb.Duration:
		return FormatDuration(v.AsDuration())
	}
	out := map[string]any{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		out[string(f.Name())] = fieldJSON(f, m.Get(f))
	}
	return out
}

func fieldJSON(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case f.IsMap():
		out := map[string]any{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			out[k.String()] = scalarJSON(f.MapValue(), v)
			return true
		})
		return out
	case f.IsList():
		out := make([]any, 0, v.List().Len())
		for i := range v.List().Len() {
			out = append(out, scalarJSON(f, v.List().Get(i)))
		}
		return out
	}
	return scalarJSON(f, v)
}

func scalarJSON(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return messageJSON(v.Message())
	case protoreflect.EnumKind:
		if value := f.Enum().Values().ByNumber(v.Enum()); value != nil {
			return strings.ToLower(string(value.Name()))
		}
	case protoreflect.BytesKind:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	}
	return v.Interface()
}
