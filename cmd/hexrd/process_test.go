package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd/internal/dev"
)

const (
	nodeUser  = 65534 // nobody
	otherUser = 65533
)

// as is another user of the machine, where the test may become one.
func as(uid uint32) *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}

// lonely is a node's process by hand, run as a user of its own.
type lonely struct {
	t           *testing.T
	dir         string // the user's own
	cmd         *exec.Cmd
	out         *syncBuffer
	data, admin string
}

// startLonely runs one node under the worst that a machine may do: umask 0, core
// dumps of any size, GOTRACEBACK=crash, and a data directory that all may read.
func startLonely(t *testing.T) *lonely {
	t.Helper()
	dir, err := os.MkdirTemp("", "hx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &lonely{t: t, dir: dir, out: &syncBuffer{}, data: filepath.Join(dir, "data"), admin: filepath.Join(dir, "data", "admin.sock")}
	program := filepath.Join(dir, "hexrd") // go test's own directory is closed to other users
	if err := errors.Join(os.Chmod(dir, 0o755), copyProgram(binary(t), program), os.Mkdir(n.data, 0o700), os.Chmod(n.data, 0o777)); err != nil {
		t.Fatal(err)
	}
	files := n.identity()
	if os.Getuid() == 0 {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chown(path, nodeUser, nodeUser))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"-c", `umask 0; ulimit -c unlimited; exec "$0" "$@"`, program, "start", "--bootstrap",
		"--data-dir", n.data, "--wrapper-key", filepath.Join(dir, "wrapper.key"), "--bind", "127.0.0.1:0", "--advertise", "127.0.0.1:9"}, files...)
	n.cmd = exec.CommandContext(t.Context(), "sh", args...)
	n.cmd.Dir, n.cmd.SysProcAttr = dir, as(nodeUser)
	n.cmd.Env = append(os.Environ(), "GOTRACEBACK=crash", "HOME="+dir)
	n.cmd.Stdout, n.cmd.Stderr = n.out, n.out
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.cmd.Process.Kill() })
	until(t, "the node to run", func() bool {
		if strings.Contains(n.out.String(), "hexrd:") {
			t.Fatal(n.out.String())
		}
		return strings.Contains(n.out.String(), "node runs")
	})
	return n
}

// identity writes the node's SVID as files.
func (n *lonely) identity() (flags []string) {
	n.t.Helper()
	td := spiffeid.RequireTrustDomainFromString("hexr.cloud")
	ca, err := dev.OpenCA(filepath.Join(n.t.TempDir(), "ca"), td)
	if err != nil {
		n.t.Fatal(err)
	}
	svid, err := ca.Mint(spiffeid.RequireFromPath(td, "/hexr/node/n1"), time.Hour, true)
	if err != nil {
		n.t.Fatal(err)
	}
	cert, key, err1 := svid.Marshal()
	bundle, err2 := ca.X509Bundle().Marshal()
	for flag, data := range map[string][]byte{"cert": cert, "key": key, "bundle": bundle} {
		file := filepath.Join(n.dir, flag+".pem")
		if err := errors.Join(err1, err2, os.WriteFile(file, data, 0o600)); err != nil {
			n.t.Fatal(err)
		}
		flags = append(flags, "--"+flag, file)
	}
	return flags
}

// read tries to read a file of /proc as a user.
func (n *lonely) read(pid int, file string, uid uint32) (string, error) {
	cmd := exec.CommandContext(n.t.Context(), "cat", fmt.Sprintf("/proc/%d/%s", pid, file))
	cmd.SysProcAttr = as(uid)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestProcessIsClosed looks at a node's process and files from outside.
func TestProcessIsClosed(t *testing.T) {
	t.Parallel()
	n := startLonely(t)
	pid := n.cmd.Process.Pid
	limits, err := n.read(pid, "limits", nodeUser)
	if err != nil || !regexp.MustCompile(`Max core file size\s+0\s+0\s`).MatchString(limits) {
		t.Errorf("core dumps are not off: %v: %s", err, limits)
	}
	open := exec.CommandContext(t.Context(), "sleep", "600") // what an ordinary process shows to its user
	open.SysProcAttr = as(nodeUser)
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Process.Kill(); _ = open.Wait() }()
	for _, file := range []string{"environ", "maps", "auxv"} {
		if _, err := n.read(open.Process.Pid, file, nodeUser); err != nil {
			t.Errorf("the test shows nothing: %s of an ordinary process: %v", file, err)
		}
		if _, err := n.read(pid, file, nodeUser); err == nil {
			t.Errorf("another process of the node's user reads /proc/%d/%s", pid, file)
		}
	}
	n.modes()
	if os.Getuid() == 0 { // only root sees it
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || bytes.Contains(environ, []byte("GOTRACEBACK")) {
			t.Errorf("GOTRACEBACK was kept: %v", err)
		}
		for uid, closed := range map[uint32]bool{nodeUser: false, otherUser: true} {
			leave := exec.CommandContext(t.Context(), filepath.Join(n.dir, "hexrd"), "leave", "--admin-socket", n.admin)
			leave.SysProcAttr = as(uid)
			out, err := leave.CombinedOutput() // the last member may not leave
			if err == nil || strings.Contains(string(out), "permission denied") != closed {
				t.Errorf("user %d at the admin socket: %v: %s", uid, err, out)
			}
		}
	}
}

// modes: nothing of the node is open to others, whatever the umask was.
func (n *lonely) modes() {
	n.t.Helper()
	found := 0
	err := filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == n.dir || strings.HasSuffix(path, ".pem") || filepath.Base(path) == "hexrd" {
			return err
		}
		found++
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // compacted away meanwhile
		}
		if perm := info.Mode().Perm(); perm&0o077 != 0 || !d.IsDir() && perm&0o111 != 0 {
			n.t.Errorf("%s has mode %v", strings.TrimPrefix(path, n.dir), info.Mode())
		}
		return nil
	})
	if err != nil || found < 10 {
		n.t.Errorf("%d files: %v", found, err)
	}
}

// TestSignalsTellNothing: what would make the runtime print words of memory gives
// the stacks alone, and no core file.
func TestSignalsTellNothing(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGABRT, syscall.SIGQUIT, syscall.SIGSEGV} {
		t.Run(sig.String(), func(t *testing.T) {
			n := startLonely(t)
			if err := n.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			err := n.cmd.Wait()
			if n.cmd.ProcessState.ExitCode() != 128+int(sig) {
				t.Errorf("it ended with %v", err)
			}
			n.crashText(n.out.String())
			cores, err := filepath.Glob(filepath.Join(n.dir, "*core*"))
			if err != nil || len(cores) > 0 {
				t.Errorf("%v, %v", cores, err)
			}
		})
	}
}

// arguments are words of memory in a stack, and registers.
var arguments = regexp.MustCompile(`\((0x[0-9a-f]+|\{0x)|\br(ax|bx|ip|sp)\s+0x`)

func (n *lonely) crashText(text string) {
	n.t.Helper()
	if !strings.Contains(text, "goroutine profile: total") || !strings.Contains(text, "hexrd.(*Server).Wait") {
		n.t.Errorf("no stacks: %s", text)
	}
	if found := arguments.FindString(text); found != "" {
		n.t.Errorf("it holds words of memory: %s", found)
	}
}

// syncBuffer is a process's output that a test looks at meanwhile.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
