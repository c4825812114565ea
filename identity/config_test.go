package identity

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"pgregory.net/rapid"
)

func TestTheEnvironmentNamesTheSocket(t *testing.T) {
	ca := newTestCA(t)
	svid := ca.leaf([]string{agent}, nil)
	api := serveAgent(t, offer{ca: ca, svids: []*x509svid.SVID{svid}})
	t.Setenv(workloadapi.SocketEnv, "unix://"+api.socket)
	src, err := Open(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	if !holds(src, svid) {
		t.Error("another SVID")
	}
}

// TestWhatIsWrongIsSaid: each message names what to change.
func TestWhatIsWrongIsSaid(t *testing.T) {
	t.Setenv(workloadapi.SocketEnv, "")
	files := Config{CertFile: "c", KeyFile: "k", BundleFile: "b"}
	with := func(change func(*Config)) Config {
		c := files
		change(&c)
		return c
	}
	for want, c := range map[string]Config{
		"SPIFFE_ENDPOINT_SOCKET":  {},
		"address":                 {Socket: "/run/agent.sock"},
		"longer than 107":         {Socket: "unix:///" + strings.Repeat("a", 107)},
		"negative":                with(func(c *Config) { c.Timeout = -1 }),
		"must not":                with(func(c *Config) { c.PollInterval = -time.Second }),
		"certificate file":        with(func(c *Config) { c.CertFile = "" }),
		"key file":                with(func(c *Config) { c.KeyFile = "" }),
		"bundle file":             with(func(c *Config) { c.BundleFile = "" }),
		"choose one":              with(func(c *Config) { c.Socket = "unix:///s" }),
		"certificate file is mis": {JWTBundleFile: "j"},
		"not of the trust domain": with(func(c *Config) {
			c.ID, c.TrustDomain = spiffeid.RequireFromString(agent), spiffeid.RequireTrustDomainFromString("evil.cloud")
		}),
	} {
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		tellsNobody(t, err)
		if _, opened := Open(t.Context(), c); opened == nil {
			t.Errorf("what is not valid opens (%s)", want)
		}
	}
	for _, c := range []Config{
		files, {Socket: "unix:///s"}, {Socket: "tcp://127.0.0.1:8000"}, {Socket: "unix:///" + strings.Repeat("a", 106)},
	} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestNodeIDsAreDNSLabels(t *testing.T) {
	label := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`[a-z0-9-]{0,66}`), rapid.StringMatching(`[a-zA-Z0-9._/-]{0,8}`), rapid.String()).Draw(t, "id")
		if got := ValidNodeID(s); got != label.MatchString(s) {
			t.Fatalf("%q: %t", s, got)
		}
		id, err := spiffeid.FromPath(testDomain, "/hexr/node/"+s)
		if err != nil {
			return
		}
		name, err := NodeID(id)
		if ValidNodeID(s) != (err == nil) || err == nil && name != s {
			t.Fatalf("%q: %q, %v", s, name, err)
		}
	})
}

func TestOnlyNodesOfTheTrustDomain(t *testing.T) {
	for id, want := range map[string]error{
		node1:                               nil,
		"spiffe://hexr.cloud/hexr/node/n2":  ErrWrongNode,
		"spiffe://evil.cloud/hexr/node/n1":  ErrNotNode,
		"spiffe://hexr.cloud/hexr/node":     ErrNotNode,
		"spiffe://hexr.cloud/hexr/nodes/n1": ErrNotNode,
		"spiffe://hexr.cloud/hexr/Node/n1":  ErrNotNode,
		"spiffe://hexr.cloud":               ErrNotNode,
		agent:                               ErrNotNode,
		"":                                  ErrNotNode,
	} {
		parsed, _ := spiffeid.FromString(id)
		err := AuthorizeExactly(testDomain, "n1")(parsed)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
		if err := AuthorizeNode(testDomain)(parsed); (err == nil) == errors.Is(want, ErrNotNode) {
			t.Errorf("%q as any node: %v", id, err)
		}
		tellsNobody(t, err)
	}
	if err := AuthorizeNode(spiffeid.TrustDomain{})(spiffeid.ID{}); !errors.Is(err, ErrNotNode) {
		t.Errorf("nothing at all: %v", err)
	}
}
