package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFate(t *testing.T) {
	always, never := func() float64 { return 0 }, func() float64 { return 0.999 }
	for name, c := range map[string]struct {
		rule   Rule
		random func() float64
		want   []time.Duration
	}{
		"pass":      {Rule{Delay: 1}, always, []time.Duration{1}},
		"drop":      {Rule{Drop: true}, never, nil},
		"lost":      {Rule{Loss: 0.5}, always, nil},
		"not lost":  {Rule{Loss: 0.5}, never, []time.Duration{0}},
		"duplicate": {Rule{Duplicate: 0.1}, always, []time.Duration{0, 0}},
		"jitter":    {Rule{Delay: 10, Jitter: 1000}, never, []time.Duration{1009}},
	} {
		if got := c.rule.fate(c.random); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}

func open(t *testing.T) *Network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	n, err := Open(1)
	if err != nil {
		t.Skip("this machine makes no namespaces: ", err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// within runs f in a namespace.
func within(t *testing.T, namespace *os.File, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// greeter answers in a namespace with its name.
func greeter(t *testing.T, n *Network, name string) (netip.Addr, *os.File) {
	t.Helper()
	addr, namespace, err := n.Add(name)
	if err != nil {
		t.Fatal(err)
	}
	within(t, namespace, func() error {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr.String()+":7000")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, strings.Repeat(name, 50_000))
				_ = c.Close()
			}
		}()
		return nil
	})
	return addr, namespace
}

func greeting(ctx context.Context, addr netip.Addr, limit time.Duration) (int, error) {
	c, err := (&net.Dialer{Timeout: limit}).DialContext(ctx, "tcp", addr.String()+":7000")
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(limit))
	data, err := io.ReadAll(c)
	return len(data), err
}

// TestRouter: nodes reach each other, and what a rule says happens, in its
// direction alone.
func TestRouter(t *testing.T) {
	n := open(t)
	a, _ := greeter(t, n, "a")
	_, spaceB := greeter(t, n, "b")
	if got, err := greeting(t.Context(), a, 5*time.Second); err != nil || got != 50_000 {
		t.Fatalf("from outside: %d, %v", got, err)
	}
	fromB := func() (got int, err error) {
		within(t, spaceB, func() error {
			got, err = greeting(t.Context(), a, 700*time.Millisecond)
			return nil
		})
		return got, err
	}
	if got, err := fromB(); err != nil || got != 50_000 {
		t.Fatalf("from another node: %d, %v", got, err)
	}
	n.Set("a", "b", Rule{Drop: true})
	if _, err := fromB(); err == nil {
		t.Error("a one-way cut lets answers pass")
	}
	if _, err := greeting(t.Context(), a, 5*time.Second); err != nil {
		t.Errorf("a cut between nodes keeps others out: %v", err)
	}
	if n.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	n.Heal()
	n.Set("b", "a", Rule{Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond, Duplicate: 0.2, Loss: 0.01})
	begun := time.Now()
	if got, err := fromB(); err != nil || got != 50_000 || time.Since(begun) < 50*time.Millisecond {
		t.Errorf("delayed: %d, %v, after %s", got, err, time.Since(begun))
	}
}

// TestCloseLeavesNothing: devices of the outside go with the network.
func TestCloseLeavesNothing(t *testing.T) {
	n := open(t)
	if _, _, err := n.Add("a"); err != nil {
		t.Fatal(err)
	}
	ours := func() bool {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if strings.HasPrefix(a.String(), n.address(outsideHost).String()+"/") {
				return true
			}
		}
		return false
	}
	if !ours() {
		t.Fatal("the outside has no address")
	}
	second, err := Open(2) // closed here: the cleanup closes the first one
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	n.prefix = second.prefix
	if ours() {
		t.Error("a closed network leaves its device")
	}
}
