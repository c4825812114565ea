package fsm

import (
	"strings"
	"testing"
)

func TestParseCaller(t *testing.T) {
	for id, class := range map[string]Class{
		mainID: ClassAgent, provID: ClassProvisioner, operID: ClassOperator, audID: ClassAuditor, nodeID: ClassNode,
		"spiffe://hexr.cloud/agent/a/b":                            0,
		"spiffe://hexr.cloud/agent/a/b/c/d":                        0,
		"spiffe://hexr.cloud/agent/a//c":                           0,
		"spiffe://hexr.cloud/agent/a/../c":                         0,
		"spiffe://hexr.cloud/agent/a/b/*":                          0,
		"spiffe://hexr.cloud/agent/a/b/c/":                         0,
		"spiffe://other.cloud/agent/a/b/c":                         0,
		"SPIFFE://hexr.cloud/agent/a/b/c":                          0,
		"spiffe://hexr.cloud":                                      0,
		"spiffe://hexr.cloud/hexr/node/UPPER":                      0,
		"spiffe://hexr.cloud/hexr/node/-n":                         0,
		"spiffe://hexr.cloud/hexr/operator/a/b":                    0,
		"spiffe://hexr.cloud/hexr/root/a":                          0,
		"spiffe://hexr.cloud/agent/a/b/" + strings.Repeat("c", 64): 0,
		"spiffe://hexr.cloud/agent/a/b/c?x=1":                      0,
		"spiffe://hexr.cloud.evil.com/agent/a/b/c":                 0,
		"spiffe://hexr.cloud@evil.com/agent/a/b/c":                 0,
	} {
		c, err := ParseCaller(id, td)
		if c.Class != class || (err == nil) != (class != 0) {
			t.Errorf("%s: %v, %v", id, c.Class, err)
		}
	}
}

func TestParsePath(t *testing.T) {
	for path, good := range map[string]bool{
		"a": true, "api-keys/openai": true, "OPENAI_API_KEY": true, "a/.b/..c": true, strings.Repeat("a", 512): true,
		"": false, "/a": false, "a/": false, "a//b": false, ".": false, "a/../b": false, "a/./b": false, "a b": false,
		"ä": false, "a:b": false, "a\x00": false, strings.Repeat("a", 513): false,
	} {
		if _, err := ParsePath(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestParseScope(t *testing.T) {
	agent, err := ParseCaller(researID, td)
	if err != nil {
		t.Fatal(err)
	}
	prov, err := ParseCaller(provID, td)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who         Caller
		given, want string
	}{
		{agent, "", agentScope},
		{agent, "researcher", researScope},
		{agent, agentScope, agentScope},
		{agent, tenantScope, tenantScope},
		{agent, "a/b", ""},
		{agent, "*", ""},
		{agent, "spiffe://hexr.cloud/agent/*", ""},
		{agent, "spiffe://hexr.cloud/agent/*/bot/main", ""},
		{agent, "spiffe://other.cloud/agent/acme/*", ""},
		{agent, "spiffe://hexr.cloud/hexr/operator/ann", ""},
		{prov, "", ""},
		{prov, "researcher", ""},
		{prov, tenantScope, tenantScope},
	} {
		s, err := ParseScope(c.who, c.given)
		if (err == nil) != (c.want != "") || err == nil && s.String() != c.want {
			t.Errorf("%s gives %q: %v, %v", c.who.Class, c.given, s, err)
		}
	}
}
