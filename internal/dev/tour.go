package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const tourTimeout = 90 * time.Second

// tour shows what hexrd does by running its commands, and checks every answer.
type tour struct {
	cluster *Cluster
	out     io.Writer
	dir     string
}

// Tour runs a cluster of its own in a temporary directory and shows the main
// job on it. It returns an error at the first step that differs.
func Tour(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tourTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "hexrd-tour-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	_, _ = fmt.Fprintln(out, "A three-node cluster, three processes on loopback:")
	cluster, err := Start(ctx, Config{Dir: dir, Progress: out})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	t := &tour{cluster, out, dir}
	for _, part := range []func(context.Context) error{t.secrets, t.failure, t.growth, t.audit} {
		if err := part(ctx); err != nil {
			return fmt.Errorf("the tour ended early: %w", err)
		}
	}
	_, _ = fmt.Fprintln(out, "\nThat was all: `hexrd dev` keeps such a cluster running for you.")
	return nil
}

// step is a command line with what it must answer.
type step struct {
	say   string
	as    string // identity; empty: a dev verb
	stdin string
	args  []string
	code  int
	want  string // in its output
}

func (t *tour) run(ctx context.Context, s step) (string, error) {
	args := append([]string{"dev"}, s.args...)
	shown := "hexrd dev " + strings.Join(s.args, " ")
	if s.as != "" {
		args = append([]string{"dev", "exec", "--dir", t.dir, s.as, "--", t.cluster.program}, s.args...)
		shown = "hexrd dev exec " + s.as + " -- hexrd " + strings.Join(s.args, " ")
	} else {
		args = append(args, "--dir", t.dir)
	}
	if s.stdin != "" {
		shown = fmt.Sprintf("printf %%s %q | %s", s.stdin, shown)
	}
	_, _ = fmt.Fprintf(t.out, "\n%s\n  $ %s\n", s.say, shown)
	cmd := exec.CommandContext(ctx, t.cluster.program, args...)
	cmd.Stdin = strings.NewReader(s.stdin)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	text := strings.TrimRight(output.String(), "\n")
	for _, line := range strings.Split(text, "\n") {
		_, _ = fmt.Fprintf(t.out, "    %s\n", line)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return text, err
	}
	if code := cmd.ProcessState.ExitCode(); code != s.code {
		return text, fmt.Errorf("exit code %d, not %d", code, s.code)
	}
	if !strings.Contains(text, s.want) {
		return text, fmt.Errorf("the answer does not hold %q", s.want)
	}
	return text, nil
}

func (t *tour) all(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if _, err := t.run(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

const (
	tourAgent    = "acme/my-agent"
	tourResearch = "acme/my-agent/researcher"
	tourWriter   = "acme/my-agent/writer"
	tourValue    = "sk-demo-1234"
)

func (t *tour) secrets(ctx context.Context) error {
	addrs := t.cluster.Addresses()
	return t.all(ctx,
		step{say: "An agent puts a secret through one node ...", as: tourAgent, stdin: tourValue,
			args: []string{"put", "api-keys/openai", "--addr", addrs[0]}, want: "version 1"},
		step{say: "... and another process of the agent gets it through another node.", as: tourResearch,
			args: []string{"get", "api-keys/openai", "--addr", addrs[1]}, want: tourValue},
		step{say: "The researcher keeps a secret for itself alone ...", as: tourResearch, stdin: "for my eyes",
			args: []string{"put", "notes", "--scope", "researcher", "--addr", addrs[2]}, want: "version 1"},
		step{say: "... and its sibling, the writer, is denied.", as: tourWriter,
			args: []string{"get", "notes", "--addr", addrs[0]}, code: 4, want: "DENIED"},
	)
}

func (t *tour) failure(ctx context.Context) error {
	leader := t.cluster.leader(ctx)
	return t.all(ctx,
		step{say: "The leader is killed with SIGKILL ...", args: []string{"kill", "leader"}, want: "exited"},
		step{say: "... and the get still answers, from another node.", as: tourAgent,
			args: []string{"get", "api-keys/openai"}, want: tourValue},
		step{say: "So does a put.", as: tourAgent, stdin: "sk-demo-5678",
			args: []string{"put", "api-keys/openai"}, want: "version 2"},
		step{say: "The node comes back, and catches up.", args: []string{"start", leader}, want: "running"},
		step{say: "It answers with what was written while it was away.", as: tourAgent,
			args: []string{"get", "api-keys/openai", "--addr", t.address(leader)}, want: "sk-demo-5678"},
	)
}

func (t *tour) address(id string) string {
	for _, n := range t.cluster.describeAll() {
		if n.ID == id {
			return n.Address
		}
	}
	return ""
}

func (t *tour) growth(ctx context.Context) error {
	_, _ = fmt.Fprintf(t.out, "\nA fourth node joins, with a token that an operator made for it.\n"+
		"  $ hexrd dev exec /hexr/operator/dev -- hexrd token create n4 > join-token\n"+
		"  $ hexrd join --token-file join-token %s\n", strings.Join(t.cluster.Addresses(), " "))
	n, err := t.cluster.AddNode(ctx)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(t.out, "    %s is a member at %s\n", n.ID, n.Address)
	return t.all(ctx,
		step{say: "Four members now: one may fail.", as: "/hexr/operator/ann", args: []string{"members"}, want: "1 more failures can be borne"},
		step{say: "The new node answers too.", as: tourAgent,
			args: []string{"get", "api-keys/openai", "--addr", n.Address}, want: "sk-demo-5678"},
	)
}

func (t *tour) audit(ctx context.Context) error {
	rows, err := t.run(ctx, step{say: "Every access of this tour has its row in the audit.", as: "/hexr/auditor/ben",
		args: []string{"audit", "query"}, want: "denied"})
	if err != nil {
		return err
	}
	for _, op := range []string{"cluster.bootstrap", "token.create", "member.join", "key.release", "put", "get"} {
		if !strings.Contains(rows, op) {
			return fmt.Errorf("the audit has no row of %s", op)
		}
	}
	if strings.Contains(rows, tourValue) {
		return errors.New("the audit holds a value")
	}
	if err := t.all(ctx, step{say: "The hash tree over all rows is recomputed, and all four nodes hold its root.", as: "/hexr/auditor/ben",
		args: []string{"audit", "verify"}, want: "4 nodes agree"}); err != nil {
		return err
	}
	return t.nothingReadable()
}

// nothingReadable looks for what was written in every file of every node.
func (t *tour) nothingReadable() error {
	secrets := []string{tourValue, "sk-demo-5678", "for my eyes", "api-keys/openai", "agent/acme/my-agent"}
	_, _ = fmt.Fprintf(t.out, "\nNo value, no path and no agent stands readable in any file or log of the nodes.\n  $ grep -ra ... nodes/\n")
	files := 0
	err := filepath.WalkDir(filepath.Join(t.dir, "nodes"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) { // compacted away meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		files++
		for _, s := range secrets {
			if bytes.Contains(data, []byte(s)) {
				return fmt.Errorf("%s stands in clear in %s", s, path)
			}
		}
		return nil
	})
	_, _ = fmt.Fprintf(t.out, "    nothing in %d files\n", files)
	return err
}
