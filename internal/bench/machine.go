package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd/client"
)

// machine is what runs beside the cluster to compare with: three echo servers and
// three bare raft servers, each a process of its own.
type machine struct {
	echoes []*child
	rafts  []*child
	dir    string
}

const servers = 3

func startMachine(ctx context.Context, program, dir, logStore string, id client.Config) (_ *machine, err error) {
	m := &machine{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	files := []string{"--cert", id.CertFile, "--key", id.KeyFile, "--bundle", id.BundleFile}
	peers := make([]string, servers)
	for i := range peers {
		addr, err := freeAddress(ctx)
		if err != nil {
			return nil, err
		}
		peers[i] = fmt.Sprintf("r%d=%s", i+1, addr)
	}
	for i := range servers {
		c, err := startChild(ctx, program, append([]string{"bench", "serve-echo"}, files...)...)
		if err != nil {
			return m, err
		}
		m.echoes = append(m.echoes, c)
		c, err = startChild(ctx, program, append([]string{
			"bench", "serve-raft", "--id", fmt.Sprintf("r%d", i+1), "--peers", strings.Join(peers, ","),
			"--dir", filepath.Join(dir, fmt.Sprintf("raft-%d", i+1)), "--log-store", logStore,
		}, files...)...)
		if err != nil {
			return m, err
		}
		m.rafts = append(m.rafts, c)
	}
	return m, nil
}

func (m *machine) close() error {
	var errs []error
	for _, c := range append(m.echoes, m.rafts...) {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// echo is the rate of the echo servers under the load of a configuration.
func (m *machine) echo(ctx context.Context, c Config) (Rate, error) {
	var addrs []string
	for _, e := range m.echoes {
		addrs = append(addrs, e.ready)
	}
	return echo(ctx, c, addrs)
}

// raft is the rate of bare appends.
func (m *machine) raft(ctx context.Context, o Order) (Rate, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	for {
		for _, c := range m.rafts {
			rate, err := c.ask(o)
			if err == nil {
				return rate, nil
			}
			if err.Error() != errNotLeader.Error() { // it came through a pipe
				return Rate{}, fmt.Errorf("bare raft: %w", err)
			}
		}
		select {
		case <-time.After(leaderPoll):
		case <-ctx.Done():
			return Rate{}, errors.New("bare raft: no server leads")
		}
	}
}

const (
	syncBlock  = 4096
	syncBlocks = 256
)

// syncs is how often the disk makes a block durable in a second.
func (m *machine) syncs(ctx context.Context, d time.Duration) (float64, error) {
	f, err := os.CreateTemp(m.dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	block := payload(syncBlock)
	begin, n := time.Now(), 0
	for ; time.Since(begin) < d && ctx.Err() == nil; n++ {
		if _, err := f.WriteAt(block, int64(n%syncBlocks)*syncBlock); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, fmt.Errorf("sync: %w", err)
		}
	}
	return float64(n) / time.Since(begin).Seconds(), ctx.Err()
}

// freeAddress is a loopback port that nobody listens on now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// Machine says what the figures were measured on.
func Machine() string {
	model := "unknown processor"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores (%s), %s", runtime.NumCPU(), model, runtime.Version())
}
