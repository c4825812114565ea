package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// script runs verbs, with an identity of the cluster.
type script struct {
	t   *testing.T
	dir string
}

// run wants an exit code, and returns standard output and error.
func (s script) run(as string, code int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(s.t), append([]string{"dev", "exec", "--dir", s.dir, as, "--", binary(s.t)}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("v"), &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		s.t.Fatalf("%v: exit code %d, want %d: %v %s", args, got, code, err, errs.String())
	}
	return out.String(), errs.String()
}

// TestSettingsAndBlocks: an operator's verbs against real processes. What is wrong
// is refused with words that help; what is set holds on every node.
func TestSettingsAndBlocks(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt")
	s := script{t, dir}
	const op, bot = "/hexr/operator/ann", "acme/bot"
	for _, b := range []struct{ say, args string }{
		{"hexrd settings get", "settings set colour blue"},
		{"hexrd settings get", "settings set format 2"},
		{"versions_kept is a number from 1 to 100", "settings set versions_kept 0"},
		{"versions_kept is a number from 1 to 100", "settings set versions_kept many"},
		{"value_max_bytes is a number from 1 to 1048576", "settings set value_max_bytes 1048577"},
		{"undelete_window is a duration from 1s", "settings set undelete_window 3"},
		{"jwt_svid is true or false", "settings set jwt_svid maybe"},
		{"agent/TENANT", "block acme/bot"},
		{"agent/TENANT", "block agent/acme/bot/main"},
		{"agent/TENANT", "block spiffe://elsewhere.cloud/agent/acme/bot/main"},
		{"nodes are removed", "block spiffe://hexr.cloud/hexr/node/n1"},
		{"yourself", "block spiffe://hexr.cloud/hexr/operator/ann"},
	} {
		if _, stderr := s.run(op, exitFailed, strings.Fields(b.args)...); !strings.Contains(stderr, b.say) {
			t.Errorf("hexrd %s says %q, want %q", b.args, stderr, b.say)
		}
	}
	if _, stderr := s.run(op, exitNotFound, "unblock", "agent/acme/bot"); !strings.Contains(stderr, "block list") {
		t.Errorf("unblock says %q", stderr)
	}
	s.run(op, exitUsage, "settings", "set", "versions_kept")
	s.run(bot, exitDenied, "settings", "get")
	s.run("/hexr/auditor/ben", exitDenied, "block", "agent/acme")

	s.run(op, 0, "settings", "set", "versions_kept", "3")
	var settings map[string]string
	out, _ := s.run(op, 0, "settings", "get", "-o", "json")
	if err := json.Unmarshal([]byte(out), &settings); err != nil || settings["versions_kept"] != "3" || settings["labels_max"] != "16" {
		t.Errorf("settings get: %v %s", err, out)
	}
	s.run(bot, 0, "put", "k")
	s.run("acme/other", 0, "put", "k")
	for _, subject := range []string{"spiffe://hexr.cloud/agent/acme/bot/main", "agent/acme/bot", "agent/acme"} {
		s.run(op, 0, "block", subject)
		s.run(op, 0, "block", subject) // again changes nothing
		if out, _ := s.run(op, 0, "block", "list"); out != subject+"\n" {
			t.Errorf("block list: %q", out)
		}
		for _, addr := range c.Addresses() {
			s.run(bot, exitDenied, "get", "k", "--addr", addr)
			code := 0
			if subject == "agent/acme" {
				code = exitDenied
			}
			s.run("acme/other", code, "get", "k", "--addr", addr)
		}
		s.run(op, 0, "unblock", subject)
		s.run(op, exitNotFound, "unblock", subject)
		s.run(bot, 0, "get", "k")
	}
}
