package client

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestValuesRedact(t *testing.T) {
	const secret = "sk-very-secret"
	v := NewValue([]byte(secret))
	s := Secret{Path: "api", Value: v}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		_, _ = fmt.Fprintf(&out, verb+verb+verb, v, s, []any{v, &s})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v, "s", s, "p", &s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v, "s", s, "p", &s)
	for _, clear := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret))} {
		if strings.Contains(out.String(), clear) {
			t.Errorf("a value prints %q", clear)
		}
	}
	if _, err := json.Marshal(s); err == nil {
		t.Error("a secret marshals")
	}
	if v.Text() != secret || string(s.Reveal()) != secret {
		t.Error("Reveal")
	}
}

func TestConfigSaysWhatIsMissing(t *testing.T) {
	t.Setenv(AddrEnv, "")
	t.Setenv(SocketEnv, "")
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, AddrEnv},
		{Config{Addrs: []string{"node"}}, "host:port"},
		{Config{Addrs: []string{"node:1"}}, SocketEnv},
		{Config{Addrs: []string{"node:1"}, CertFile: "x"}, "go together"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	t.Setenv(AddrEnv, " a:1, b:2 ,")
	t.Setenv(SocketEnv, "unix:///s")
	if err := (Config{}).Validate(); err != nil || len(Config{}.addrs()) != 2 {
		t.Errorf("from the environment: %v", err)
	}
}

func TestInjectRefusesBadStructs(t *testing.T) {
	c := &Client{}
	type hidden struct {
		a Value `hexr:"a"` //nolint:unused // what is tested
	}
	type number struct {
		A int `hexr:"a"`
	}
	type empty struct {
		A Value `hexr:""`
	}
	type option struct {
		A Value `hexr:"a,perhaps"`
	}
	for _, target := range []any{nil, 1, struct{}{}, (*number)(nil), &hidden{}, &number{}, &empty{}, &option{}} {
		if err := c.Inject(t.Context(), target); err == nil {
			t.Errorf("%T is accepted", target)
		}
	}
	if err := c.Inject(t.Context(), &struct{ A int }{}); err != nil {
		t.Errorf("a struct without tags: %v", err)
	}
}
