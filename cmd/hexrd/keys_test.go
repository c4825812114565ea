package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// load is agents that write and read until it is stopped.
type load struct {
	writers []*writer
	stop    func() (acked uint64) // only then are the writers' counts at rest
}

func startLoad(t *testing.T, c *dev.Cluster, agents int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{}
	var wg sync.WaitGroup
	for i := range agents {
		id := fmt.Sprintf("acme/agent-%d", i)
		w := &writer{id: id, cl: dialAs(t, c, id, c.Addresses()...), acked: map[string]uint64{}, gets: map[string]int{}}
		l.writers = append(l.writers, w)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ctx.Err() == nil; i++ {
				if err := w.step(t.Context(), i); err != nil && t.Context().Err() == nil {
					t.Errorf("%s, operation %d: %v", w.id, i, err)
					return
				}
			}
		}()
	}
	l.stop = func() (n uint64) {
		cancel()
		wg.Wait()
		for _, w := range l.writers {
			for _, v := range w.acked {
				n += v
			}
		}
		return n
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func keysOf(t *testing.T, op *client.Client) map[string]*hexrv1.Key {
	t.Helper()
	keys, err := op.KeysStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*hexrv1.Key{}
	for _, k := range keys {
		out[k.GetId()] = k
	}
	return out
}

func releasesTo(t *testing.T, op *client.Client, node, key string) int {
	t.Helper()
	n := 0
	for r, err := range op.AuditQuery(t.Context(), &hexrv1.QueryRequest{Operation: "key.release", Outcome: "granted", PageSize: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.GetDetail(), node+" ") && strings.HasSuffix(r.GetDetail(), key) {
			n++
		}
	}
	return n
}

// TestRotationWithAFollowerAway rotates both kinds under load while a follower is
// down. It comes back by the log, and gets the keys from a member; or by a
// snapshot, and they come with it.
func TestRotationWithAFollowerAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		args     []string
		releases int
	}{
		{"by log", nil, 1},
		{"by snapshot", []string{"--snapshot-entries", "20", "--trailing-entries", "3", "--snapshot-interval", "100ms"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) { rotateWithFollowerAway(t, c.releases, c.args...) })
	}
}

func rotateWithFollowerAway(t *testing.T, releases int, args ...string) {
	c, dir := startCluster(t, "bolt", args...)
	op := dialAs(t, c, "/hexr/operator/ann", c.Addresses()...)
	if _, err := op.TransferLeadership(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, c, 4)
	if _, err := c.Signal(t.Context(), "n3", "KILL"); err != nil {
		t.Fatal(err)
	}
	keys := rotateByHand(t, dir)
	before, err := op.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the two others to hold both keys, and a hundred entries to pass", func() bool {
		now := keysOf(t, op)
		st, err := op.Status(t.Context())
		return err == nil && st.GetApplied() > before.GetApplied()+100 &&
			len(now[keys[0].GetId()].GetHeldBy()) == 2 && len(now[keys[1].GetId()].GetHeldBy()) == 2
	})
	for _, k := range keys {
		if now := keysOf(t, op)[k.GetId()]; now.GetState() != "pending" || !slices.Equal(now.GetWaitingFor(), []string{"n3"}) {
			t.Errorf("while n3 is down: %v", now)
		}
	}
	out, _ := program(t, dir, operator, 0, "keys", "status")
	if strings.Count(out, "waits for n3: ") != 2 || strings.Count(out, "pending") != 2 {
		t.Errorf("keys status prints %s", out)
	}
	if _, errs := program(t, dir, operator, 5, "keys", "rotate", "value"); !strings.Contains(errs, "hexrd keys status") {
		t.Errorf("a second rotation: %s", errs)
	}
	if _, err := c.StartNode(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, "both keys to be active, and all versions under the new one", func() bool {
		now := keysOf(t, op)
		old := uint64(0)
		for id, k := range now {
			if k.GetKind() == "value" && id != keys[0].GetId() {
				old += k.GetVersions()
			}
		}
		return now[keys[0].GetId()].GetState() == "active" && now[keys[1].GetId()].GetState() == "active" && old == 0
	})
	took := time.Since(began)
	t.Logf("done %s after n3 is back; %d puts", took.Round(time.Millisecond), l.stop())
	for _, k := range keys {
		if n := releasesTo(t, op, "n3", k.GetId()); n != releases {
			t.Errorf("%d releases of a %s key to n3, want %d", n, k.GetKind(), releases)
		}
	}
	checkValues(t, c, l, "n3")
	checkAudit(t, c, l.writers)
	checkNothingReadable(t, dir)
}

const operator = "/hexr/operator/ann"

// rotateByHand begins a rotation of both kinds on the command line, after some
// that are refused.
func rotateByHand(t *testing.T, dir string) []*hexrv1.Key {
	t.Helper()
	program(t, dir, operator, 2, "keys", "rotate")
	program(t, dir, operator, 2, "keys", "rotate", "all")
	program(t, dir, "/hexr/auditor/ben", 4, "keys", "status")
	program(t, dir, "acme/bot", 4, "keys", "rotate", "value")
	out, _ := program(t, dir, operator, 0, "keys", "rotate", "both", "-o", "json")
	var keys []*hexrv1.Key
	for line := range strings.Lines(out) {
		var k struct{ Kind, ID, State string }
		if err := json.Unmarshal([]byte(line), &k); err != nil || k.State != "pending" {
			t.Fatalf("rotate prints %s: %v", out, err)
		}
		keys = append(keys, &hexrv1.Key{Kind: k.Kind, Id: k.ID})
	}
	if len(keys) != 2 || keys[0].GetKind() != "value" || keys[1].GetKind() != "storage" {
		t.Fatalf("rotate prints %s", out)
	}
	return keys
}

// checkValues reads every agent's latest versions through one node.
func checkValues(t *testing.T, c *dev.Cluster, l *load, node string) {
	t.Helper()
	addr := ""
	for _, n := range c.Nodes(t.Context()) {
		if n.ID == node {
			addr = n.Address
		}
	}
	for _, w := range l.writers {
		cl := dialAs(t, c, w.id, addr)
		for path, version := range w.acked {
			s, err := cl.Get(t.Context(), path)
			if err != nil || s.Version != version || !strings.HasPrefix(s.Text(), "value-"+path) {
				t.Errorf("%s: %s through %s: version %d, acknowledged %d: %v", w.id, path, node, s.Version, version, err)
			}
			w.gets[path]++
		}
	}
}

// TestRotationsAmongKills rotates both kinds, again and again, while nodes are
// killed and started: in the middle of rotations, of rewraps, of sealing anew.
func TestRotationsAmongKills(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt", "--snapshot-entries", "50", "--trailing-entries", "20", "--snapshot-interval", "200ms")
	op := dialAs(t, c, "/hexr/operator/ann", c.Addresses()...)
	if _, err := op.SetSetting(t.Context(), "rewrap_per_second", "20"); err != nil { // so that kills meet them
		t.Fatal(err)
	}
	l := startLoad(t, c, 4)
	rotations := count(t, 3)
	finished := make(chan struct{})
	last := map[string]string{}
	go func() {
		defer close(finished)
		for range rotations {
			keys, err := op.RotateKeys(t.Context(), "both")
			if err != nil {
				t.Errorf("rotate: %v", err)
				return
			}
			for _, k := range keys {
				last[k.GetKind()] = k.GetId()
			}
			for active := 0; active < 2; {
				now, err := op.KeysStatus(t.Context())
				if err != nil {
					t.Errorf("status: %v", err)
					return
				}
				active = 0
				for _, k := range now {
					if k.GetState() == "active" && k.GetId() == last[k.GetKind()] {
						active++
					}
				}
			}
		}
	}()
	kills := killAll(t, c, finished)
	if _, err := op.SetSetting(t.Context(), "rewrap_per_second", "100000"); err != nil {
		t.Fatal(err)
	}
	until(t, "all older value keys to retire", func() bool {
		for id, k := range keysOf(t, op) {
			if k.GetKind() == "value" && id != last["value"] && k.GetState() != "retired" {
				return false
			}
		}
		return true
	})
	until(t, "all older storage keys to retire", func() bool { // the load makes the log go on
		for id, k := range keysOf(t, op) {
			if k.GetKind() == "storage" && id != last["storage"] && k.GetState() != "retired" {
				return false
			}
		}
		return true
	})
	t.Logf("%d rotations, %d kills, %d puts", rotations, kills, l.stop())
	for _, n := range []string{"n1", "n2", "n3"} {
		checkValues(t, c, l, n)
	}
	checkAudit(t, c, l.writers)
	checkNothingReadable(t, dir)
}

// program runs the command line as an identity of a dev cluster.
func program(t *testing.T, dir, as string, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), append([]string{"dev", "exec", "--dir", dir, as, "--", binary(t)}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v: exit code %d, want %d: %v %s", args, got, code, err, errs.String())
	}
	return out.String(), errs.String()
}

// TestCheckpoints: what was signed by a majority and is kept proves that nothing
// before it changed; what was tampered with, is foreign, or is signed by too few
// is refused, and says why.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt")
	const op, aud = operator, "/hexr/auditor/ben"
	other := t.TempDir()
	foreign, err := dev.Start(t.Context(), dev.Config{Dir: other, Nodes: 1, Program: binary(t), Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = foreign.Close() })
	bot := dialAs(t, c, "acme/bot", c.Addresses()...)
	if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(dir, "seen")
	keep := func(text string) {
		t.Helper()
		if err := os.WriteFile(seen, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signed, _ := program(t, dir, aud, 0, "audit", "checkpoint")
	keep(signed)
	out, _ := program(t, dir, op, 0, "audit", "verify", "--checkpoint", seen)
	if !strings.Contains(out, "of 3 members") || !strings.Contains(out, "is their beginning") {
		t.Errorf("verify prints %q", out)
	}
	program(t, dir, "acme/bot", 4, "audit", "checkpoint")

	body, signatures, _ := strings.Cut(signed, "\n\n")
	lines, sigs := strings.Split(body, "\n"), strings.SplitAfter(signatures, "\n")
	note := func(body []string, sigs ...string) string {
		return strings.Join(body, "\n") + "\n\n" + strings.Join(sigs, "")
	}
	with := func(i int, line string) []string {
		changed := slices.Clone(lines)
		changed[i] = line
		return changed
	}
	theirs, _ := program(t, other, aud, 0, "audit", "checkpoint")
	for name, bad := range map[string]struct{ text, says string }{
		"another root":      {note(with(2, strings.Repeat("A", 43)+"="), sigs...), "tampered with"},
		"another size":      {note(with(1, "1"), sigs...), "tampered with"},
		"another index":     {note(with(3, "raft-index 1"), sigs...), "tampered with"},
		"one signature":     {note(lines, sigs[0]), "1 of the 2 members' signatures"},
		"one of them twice": {note(lines, sigs[0], sigs[0]), "1 of the 2 members' signatures"},
		"no signature":      {body + "\n", "not signed"},
		"another cluster":   {theirs, "another cluster"},
		"their signature":   {note(lines, theirs[strings.Index(theirs, "\n\n")+2:]), "no member signed it"},
		"nothing":           {"", "not signed"},
		"noise":             {"\x00\n\n\x00", "checkpoint"},
	} {
		keep(bad.text)
		if _, errs := program(t, dir, op, 1, "audit", "verify", "--checkpoint", seen); !strings.Contains(errs, bad.says) {
			t.Errorf("%s: %s", name, errs)
		}
	}

	// Members come and go: who was one then counts.
	keep(signed)
	if _, err := c.AddNode(t.Context()); err != nil {
		t.Fatal(err)
	}
	program(t, dir, op, 0, "members", "remove", "n2")
	out, _ = program(t, dir, op, 0, "audit", "verify", "--checkpoint", seen, "--allow-missing")
	if !strings.Contains(out, "of 3 members") {
		t.Errorf("after changes of members: %q", out)
	}
	again, _ := program(t, dir, aud, 0, "audit", "checkpoint")
	keep(again)
	if out, _ = program(t, dir, op, 0, "audit", "verify", "--checkpoint", seen, "--allow-missing"); !strings.Contains(out, "n4") {
		t.Errorf("a checkpoint of the new members: %q", out)
	}
}
