package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// until waits for a condition, for at most a minute.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func memberOf(t *testing.T, c *client.Client, id string) *hexrv1.Member {
	t.Helper()
	resp, err := c.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range resp.GetMembers() {
		if m.GetId() == id {
			return m
		}
	}
	return nil
}

// TestMembership takes a cluster through what an operator does to it.
func TestMembership(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt")
	ctx := t.Context()
	op := dialAs(t, c, "/hexr/operator/ann", c.Addresses()...)
	agent := dialAs(t, c, "acme/bot", c.Addresses()...)
	if _, err := agent.Put(ctx, "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	get := func(when string) {
		t.Helper()
		if s, err := agent.Get(ctx, "k"); err != nil || s.Text() != "v" {
			t.Fatalf("get %s: %v", when, err)
		}
	}

	before, err := op.Members(ctx)
	if err != nil || before.GetFailuresBorne() != 1 || before.GetVoters() != 3 {
		t.Fatalf("%v, %v", before, err)
	}
	leader, err := op.TransferLeadership(ctx, "")
	if err != nil || leader == before.GetLeader() {
		t.Fatalf("leadership went to %q: %v", leader, err)
	}
	get("after a transfer")
	if leader, err = op.TransferLeadership(ctx, "n1"); err != nil && leader != "n1" {
		t.Fatalf("leadership went to %q: %v", leader, err)
	}

	// SIGTERM: leadership moves on first, so nobody waits for an election.
	if _, err := c.Signal(ctx, "leader", "TERM"); err != nil {
		t.Fatal(err)
	}
	get("after SIGTERM of the leader")
	if _, err := c.StartNode(ctx, "n1"); err != nil {
		t.Fatal(err)
	}

	// A fourth node, and one goes.
	if _, err := c.AddNode(ctx); err != nil {
		t.Fatal(err)
	}
	if err := op.RemoveMember(ctx, "n2"); err != nil {
		t.Fatal(err)
	}
	until(t, "n2 to be gone", func() bool { return memberOf(t, op, "n2") == nil })
	get("after a removal")
	if _, err := op.CreateToken(ctx, "n2", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := op.RemoveMember(ctx, "n9"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("removal of nobody: %v", err)
	}

	// Leave, on the node's own machine.
	if out, err := exec.CommandContext(ctx, binary(t), "leave", "--admin-socket", filepath.Join(dir, "n3-admin.sock")).CombinedOutput(); err != nil {
		t.Fatalf("leave: %v: %s", err, out)
	}
	until(t, "n3 to be gone", func() bool { return memberOf(t, op, "n3") == nil })
	until(t, "the processes of n2 and n3 to end", func() bool {
		gone := 0
		for _, n := range c.Nodes(ctx) {
			if (n.ID == "n2" || n.ID == "n3") && n.State == "exited" {
				gone++
			}
		}
		return gone == 2
	})
	get("after a leave")

	auditor := dialAs(t, c, "/hexr/auditor/ben", c.Addresses()...)
	rows := map[string]int{}
	for r, err := range auditor.AuditQuery(ctx, &hexrv1.QueryRequest{PageSize: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		rows[r.GetOperation()+" "+r.GetOutcome()]++
	}
	for _, want := range []string{
		"cluster.bootstrap granted", "token.create granted", "member.join granted", "key.release granted", "member.promote granted",
		"member.transfer granted", "member.remove granted", "member.leave granted",
	} {
		if rows[want] == 0 {
			t.Errorf("no row of %s: %v", want, rows)
		}
	}
}

// node runs a node's program by hand, as on a machine of its own.
func node(t *testing.T, ctx context.Context, w *dev.WorkloadServer, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(ctx, binary(t), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "SPIFFE_ENDPOINT_SOCKET="+w.Address())
	return cmd, &out
}

// TestAddressChange starts a member's directory at another address: it keeps its
// ID, announces the address, and votes on.
func TestAddressChange(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt")
	op := dialAs(t, c, "/hexr/operator/ann", c.Addresses()...)
	leader, err := op.TransferLeadership(t.Context(), "n2")
	if err != nil || leader != "n2" {
		t.Fatal(leader, err)
	}
	if _, err := c.Signal(t.Context(), "n1", "KILL"); err != nil {
		t.Fatal(err)
	}
	w, err := c.Serve(t.Context(), "/hexr/node/n1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	addr := freeAddress(t)
	own := filepath.Join(dir, "nodes", "n1")
	cmd, out := node(t, t.Context(), w, "start", "--data-dir", filepath.Join(own, "data"), "--wrapper-key", filepath.Join(own, "wrapper.key"),
		"--bind", addr, "--admin-socket", filepath.Join(dir, "moved.sock"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}()
	until(t, "n1 at its new address", func() bool {
		m := memberOf(t, op, "n1")
		return m.GetAddress() == addr && m.GetState() == "follower" && m.GetSuffrage() == "voter"
	})
	moved := dialAs(t, c, "acme/bot", addr)
	if _, err := moved.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Signal(t.Context(), "n3", "KILL"); err != nil {
		t.Fatal(err)
	}
	if _, err := moved.Get(t.Context(), "k"); err != nil { // its vote counts
		t.Fatal(err)
	}
	if _, err := c.StartNode(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
}

// TestJoinIsRefused tries to join without what it takes.
func TestJoinIsRefused(t *testing.T) {
	t.Parallel()
	c, _ := startCluster(t, "bolt")
	op := dialAs(t, c, "/hexr/operator/ann", c.Addresses()...)
	token := func(id string) string {
		tok, err := op.CreateToken(t.Context(), id, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return tok.GetToken()
	}
	revoked, err := op.CreateToken(t.Context(), "n8", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.RevokeToken(t.Context(), revoked.GetId()); err != nil {
		t.Fatal(err)
	}
	for _, j := range []struct{ name, as, token string }{
		{"no token", "/hexr/node/n8", ""},
		{"a token that is none", "/hexr/node/n8", "hexr-join-what"},
		{"another node's token", "/hexr/node/n8", token("n7")},
		{"a revoked token", "/hexr/node/n8", revoked.GetToken()},
		{"a member's ID at another address", "/hexr/node/n2", token("n2")},
		{"an agent", "acme/bot", token("n8")},
	} {
		t.Run(j.name, func(t *testing.T) {
			w, err := c.Serve(t.Context(), j.as)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = w.Close() }()
			dir := t.TempDir()
			file := filepath.Join(dir, "token")
			if err := os.WriteFile(file, []byte(j.token), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd, out := node(t, ctx, w, append([]string{"join", "--token-file", file, "--data-dir", filepath.Join(dir, "d"),
				"--wrapper-key", filepath.Join(dir, "k"), "--bind", "127.0.0.1:0", "--advertise", "127.0.0.1:9"}, c.Addresses()...)...)
			if err := cmd.Run(); err == nil || ctx.Err() != nil {
				t.Fatalf("it was not refused: %v: %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(dir, "d", "keyring")); err == nil {
				t.Error("it has the keyring")
			}
		})
	}
	if n := memberOf(t, op, "n8"); n != nil {
		t.Errorf("%v is a member", n)
	}
}

func TestConfigurationFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(yaml string, env ...string) string {
		t.Helper()
		file := filepath.Join(dir, "hexrd.yaml")
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), binary(t), "start", "--config", file)
		cmd.Env = append(append(os.Environ(), "SPIFFE_ENDPOINT_SOCKET=unix:///nowhere"), env...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatal("it started")
		}
		return string(out)
	}
	for _, c := range []struct{ yaml, env, want string }{
		{"data_dri: /x\n", "", `unknown key "data_dri"`},
		{"data-dir: /x\n", "", `unknown key "data-dir"`},
		{"data_dir: [a]\n", "", `"data_dir" is not a single value`},
		{"log_store: tape\n", "", `"tape" is unknown`},
		{"log_store: tape\n", "HEXRD_LOG_STORE=disk", `"disk" is unknown`}, // the environment comes before the file
		{"bootstrap: maybe\n", "", `"bootstrap"`},
		{"a: 1\n---\nb: 2\n", "", "more than one document"},
		{"log_level: loud\n", "", "use debug, info, warn or error"},
	} {
		if out := run(c.yaml, c.env); !strings.Contains(out, c.want) {
			t.Errorf("%q with %q: %s", c.yaml, c.env, out)
		}
	}
}

// TestCommandLine runs verbs as a script would, and reads their JSON.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt")
	run := func(as, stdin string, code int, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary(t), append([]string{"dev", "exec", "--dir", dir, as, "--", binary(t)}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("%v: exit code %d, want %d: %v %s", args, got, code, err, stderr.String())
		}
		return stdout.String()
	}
	_ = c
	const bot, op = "acme/bot", "/hexr/operator/ann"
	run(bot, "sk-1", 0, "put", "api/openai", "--label", "team=a")
	if got := run(bot, "", 0, "get", "api/openai"); got != "sk-1" {
		t.Errorf("get prints %q", got)
	}
	run(bot, "", 2, "put", "api/openai", "sk-1")
	run(bot, "", 3, "get", "nothing")
	run(bot, "", 4, "get", "x", "--scope", "other")
	run(bot, "x", 5, "put", "api/openai", "--expected-version", "9")
	run(bot, "", 2, "get", "a", "--output", "xml")
	run("/hexr/provisioner/acme/ci", "theirs", 0, "put", "shared", "--tenant", "acme")
	run("/hexr/provisioner/acme/ci", "", 4, "get", "shared", "--scope", "spiffe://hexr.cloud/agent/acme/*")
	env := filepath.Join(dir, "x.env")
	if err := os.WriteFile(env, []byte("A_KEY=1\nB_KEY='two'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(bot, "", 0, "import", env, "--prefix", "env/")
	got := run(bot, "", 0, "exec", "--env", "OPENAI=api/openai", "--env", "B=env/B_KEY", "--", "sh", "-c", "echo $OPENAI $B")
	if got != "sk-1 two\n" {
		t.Errorf("exec prints %q", got)
	}
	var paths []string
	for line := range strings.Lines(run(bot, "", 0, "list", "-o", "json")) {
		var s struct {
			Path    string
			Version uint64
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, s.Path)
	}
	if strings.Join(paths, " ") != "api/openai env/A_KEY env/B_KEY shared" {
		t.Errorf("list: %v", paths)
	}
	run(bot, "", 0, "delete", "env/A_KEY")
	run(bot, "", 0, "undelete", "env/A_KEY")
	run(bot, "", 0, "destroy", "env/A_KEY", "--all")
	run(bot, "", 2, "destroy", "env/B_KEY")
	run(op, "", 0, "audit", "verify")
	fields := []string{
		"index", "time", "node", "caller", "svid", "operation", "path", "scope", "outcome", "version", "request_id", "leaf_hash",
	}
	var row map[string]any
	first, _, _ := strings.Cut(run(op, "", 0, "audit", "query", "--path", "api/openai", "--outcome", "granted", "-o", "json"), "\n")
	if err := json.Unmarshal([]byte(first), &row); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		if _, ok := row[f]; !ok {
			t.Errorf("an audit row has no %s", f)
		}
	}
	run(op, "", 0, "settings", "set", "versions_kept", "3")
	run(op, "", 0, "block", "agent/acme/bot")
	run(bot, "", 4, "get", "api/openai")
	run(op, "", 0, "unblock", "agent/acme/bot")
	run(bot, "", 0, "get", "api/openai")
}
