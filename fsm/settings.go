package fsm

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	entryFormat = 1

	hour = int64(time.Hour)
	kib  = 1 << 10
	mib  = 1 << 20
)

// setting is the default and the bounds of a field of fsmpb.Settings.
type setting struct {
	name              protoreflect.Name
	value, least, max int64
	duration          bool
}

var settingTable = []setting{
	{name: "value_max_bytes", value: 64 * kib, least: 1, max: mib},
	{name: "labels_max", value: 16, least: 1, max: 16},
	{name: "batch_max_paths", value: 100, least: 1, max: 100},
	{name: "versions_kept", value: 10, least: 1, max: 100},
	{name: "agent_secrets_max", value: 10_000, least: 1, max: 1_000_000},
	{name: "agent_bytes_max", value: 256 * mib, least: kib, max: 1 << 40},
	{name: "tenant_secrets_max", value: 100_000, least: 1, max: 10_000_000},
	{name: "tenant_bytes_max", value: 2 << 30, least: kib, max: 1 << 42},
	{name: "undelete_window", value: 24 * hour, least: int64(time.Second), max: 90 * 24 * hour, duration: true},
	{name: "request_window", value: 10 * int64(time.Minute), least: int64(10 * time.Second), max: hour, duration: true},
	{name: "rate_per_second", value: 1000, least: 1, max: 1_000_000},
	{name: "rate_burst", value: 2000, least: 1, max: 1_000_000},
	{name: "in_flight_max", value: 256, least: 1, max: 65536},
	{name: "streams_max", value: 16, least: 1, max: 1024},
	{name: "list_page_max", value: 1000, least: 1, max: 1000},
	{name: "audit_rows_max", value: 1000, least: 1, max: 1000},
	{name: "audit_scan_max", value: 100_000, least: 1000, max: 100_000},
	{name: "rewrap_per_second", value: 1000, least: 1, max: 100_000},
	{name: "changes_kept", value: 10_000, least: 16, max: 1_000_000},
	{name: "format", value: entryFormat, least: entryFormat, max: entryFormat},
}

// Effective returns the settings with defaults in place of what is not set. It
// does not change its argument.
func Effective(s *fsmpb.Settings) *fsmpb.Settings {
	out := proto.Clone(s).(*fsmpb.Settings)
	m := out.ProtoReflect()
	fields := m.Descriptor().Fields()
	for _, d := range settingTable {
		if f := fields.ByName(d.name); !m.Has(f) {
			m.Set(f, numeric(f, d.value))
		}
	}
	return out
}

func numeric(f protoreflect.FieldDescriptor, n int64) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	default:
		return protoreflect.ValueOfUint64(uint64(n))
	}
}

var errSetting = errors.New("refused")

// withSetting returns the settings with one changed.
func withSetting(s *fsmpb.Settings, name, value string) (*fsmpb.Settings, error) {
	out := proto.Clone(s).(*fsmpb.Settings)
	m := out.ProtoReflect()
	f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if f == nil || name == "format" {
		return nil, fmt.Errorf("%w: unknown name: `hexrd settings get` lists them", errSetting)
	}
	if f.Kind() == protoreflect.BoolKind {
		b, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%w: %s is true or false", errSetting, f.Name())
		}
		m.Set(f, protoreflect.ValueOfBool(b))
		return out, nil
	}
	for _, d := range settingTable {
		if d.name != f.Name() {
			continue
		}
		n, err := d.parse(value)
		if err != nil {
			return nil, err
		}
		m.Set(f, numeric(f, n))
		return out, nil
	}
	return nil, errSetting
}

func (d setting) parse(value string) (int64, error) {
	if d.duration {
		n, err := time.ParseDuration(value)
		if err != nil || int64(n) < d.least || int64(n) > d.max {
			return 0, fmt.Errorf("%w: %s is a duration from %s to %s, such as 30m", errSetting, d.name, time.Duration(d.least), time.Duration(d.max))
		}
		return int64(n), nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < d.least || n > d.max {
		return 0, fmt.Errorf("%w: %s is a number from %d to %d", errSetting, d.name, d.least, d.max)
	}
	return n, nil
}

// CheckSetting says what is wrong with a change before it is proposed.
func CheckSetting(name, value string) error {
	_, err := withSetting(&fsmpb.Settings{}, name, value)
	return err
}

// SettingsMap shows all settings, by name.
func SettingsMap(s *fsmpb.Settings) map[string]string {
	m := Effective(s).ProtoReflect()
	out := map[string]string{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		out[string(f.Name())] = m.Get(f).String()
	}
	for _, d := range settingTable {
		if d.duration {
			out[string(d.name)] = time.Duration(m.Get(fields.ByName(d.name)).Int()).String()
		}
	}
	return out
}
