package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexrdev/hexrd/api"
	"github.com/hexrdev/hexrd/internal/dev"
)

// TestSchemaFuzzer lets schemathesis make requests from the OpenAPI description,
// good and bad, and holds the answers of three nodes against it: no 5xx, nothing
// that is not described, and no node ends or panics. `make fuzz-http` installs
// it; HEXRD_EXAMPLES says how many requests an operation gets.
func TestSchemaFuzzer(t *testing.T) {
	t.Parallel()
	program := os.Getenv("HEXRD_SCHEMATHESIS")
	if program == "" {
		t.Skip("needs schemathesis: `make fuzz-http`")
	}
	examples := os.Getenv("HEXRD_EXAMPLES")
	if examples == "" {
		examples = "10"
	}
	c, dir := startCluster(t, "wal")
	p := openPKI(t, filepath.Join(dir, "ca"))
	schema := filepath.Join(t.TempDir(), "openapi.yaml")
	if err := os.WriteFile(schema, api.OpenAPI(), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"/agent/acme/bot/main", "/hexr/operator/ann", "/hexr/provisioner/acme/ci"} {
		t.Run(id[1:], func(t *testing.T) {
			cert := writePair(t, p.leaf(id, nil))
			args := []string{
				"run", schema, "--url", "https://" + c.Addresses()[i], "--request-cert", cert, "--tls-verify", c.BundleFile(),
				"--max-examples", examples, "--workers", "1", "--generation-database", ":memory:", "--no-color", "--request-timeout", "20",
				"--exclude-operation-id", "auditTail", "--exclude-operation-id", "watch", // they do not end
				"--exclude-checks", "positive_data_acceptance", // grammars are not in the description
			}
			var out []byte
			var err error
			for range 3 {
				before := elections(t, c)
				cmd := exec.CommandContext(t.Context(), program, args...)
				cmd.Dir = t.TempDir()
				if out, err = cmd.CombinedOutput(); err == nil || elections(t, c) == before {
					break
				}
			}
			text := string(out)
			if err != nil {
				t.Errorf("%v\n%s", err, text)
			} else {
				t.Log(text[max(0, strings.LastIndex(text, "SUMMARY")):])
			}
		})
	}
	for _, n := range c.Nodes(t.Context()) {
		log, err := os.ReadFile(n.LogFile)
		if err != nil || n.State != "running" || bytes.Contains(log, []byte("panicked")) {
			t.Errorf("%s is %s, or panicked: %v", n.ID, n.State, err)
		}
	}
}

// elections counts those that were not asked for: a machine that is busy with other
// tests may lose a leader, and 503 is the right answer then.
func elections(t *testing.T, c *dev.Cluster) (n int) {
	t.Helper()
	for _, info := range c.Nodes(t.Context()) {
		log, err := os.ReadFile(info.LogFile)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(log, []byte("heartbeat timeout reached, starting election"))
	}
	return n
}

// writePair writes a certificate and its key into one PEM file.
func writePair(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	file := filepath.Join(t.TempDir(), "svid.pem")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
