// Command etcd starts three members of etcd on this machine, and measures them on
// order: it is a process of `hexrd bench etcd`.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hexrdev/hexrd/internal/bench"
)

const (
	keys        = 1024
	valueSize   = 1024
	connections = 64 // identities of the load on hexrd: as many connections to each member
	dialTimeout = 5 * time.Second
	readyWithin = 30 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench-etcd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var f files
	dir := flag.String("dir", "", "directory of the members")
	program := flag.String("etcd", "etcd", "the etcd program")
	flag.StringVar(&f.cert, "cert", "", "certificate of members and clients, as PEM")
	flag.StringVar(&f.key, "key", "", "its private key")
	flag.StringVar(&f.bundle, "bundle", "", "the authorities")
	flag.Parse()
	members, err := startMembers(ctx, *program, *dir, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, members.stop()) }()
	l := &load{members: members}
	if l.tls, err = clientTLS(f); err != nil {
		return err
	}
	if err := l.prepare(ctx); err != nil {
		return err
	}
	return bench.Obey(ctx, os.Stdin, os.Stdout, "etcd", l.measure)
}

// clientTLS verifies members by their SPIFFE ID, as clients of hexrd do.
func clientTLS(f files) (*tls.Config, error) {
	svid, err := x509svid.Load(f.cert, f.key)
	if err != nil {
		return nil, err
	}
	bundle, err := x509bundle.Load(svid.ID.TrustDomain(), f.bundle)
	if err != nil {
		return nil, err
	}
	cfg := tlsconfig.MTLSClientConfig(svid, bundle, tlsconfig.AuthorizeMemberOf(svid.ID.TrustDomain()))
	cfg.MinVersion = tls.VersionTLS13
	return cfg, nil
}

// load is gets and puts through the Go client of etcd.
type load struct {
	members *members
	tls     *tls.Config
}

func (l *load) dial(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + endpoint}, TLS: l.tls.Clone(), DialTimeout: dialTimeout, Logger: zap.NewNop(),
	})
}

func key(n int) string { return fmt.Sprintf("bench/%07d", n) }

func value() string {
	b := make([]byte, valueSize)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return string(b)
}

// prepare writes the keys; it waits for a leader.
func (l *load) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	c, err := l.dial(l.members.clients[0])
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for n := 0; n < keys; {
		_, err := c.Put(ctx, key(n), value())
		switch {
		case err == nil:
			n++
		case ctx.Err() != nil:
			return fmt.Errorf("write keys: %w", err)
		}
	}
	return nil
}

// endpoints that an order is for.
func (l *load) endpoints(ctx context.Context, target string) ([]string, error) {
	if target == bench.All {
		return l.members.clients, nil
	}
	leader, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	if target == bench.Follower {
		leader = (leader + 1) % len(l.members.clients)
	}
	return l.members.clients[leader : leader+1], nil
}

func (l *load) leader(ctx context.Context) (int, error) {
	for i, endpoint := range l.members.clients {
		c, err := l.dial(endpoint)
		if err != nil {
			return 0, err
		}
		s, err := c.Status(ctx, "https://"+endpoint)
		_ = c.Close()
		if err == nil && s.Leader == s.Header.MemberId {
			return i, nil
		}
	}
	return 0, errors.New("no member leads")
}

// measure obeys an order: linearizable reads, which are etcd's default.
func (l *load) measure(ctx context.Context, o bench.Order) (bench.Rate, error) {
	endpoints, err := l.endpoints(ctx, o.Target)
	if err != nil {
		return bench.Rate{}, err
	}
	type pair struct{ connection, endpoint int }
	made := map[pair]*clientv3.Client{}
	defer func() {
		for _, c := range made {
			_ = c.Close()
		}
	}()
	clients := make([]*clientv3.Client, o.Workers)
	for w := range clients {
		p := pair{w % connections, w % len(endpoints)}
		if made[p] == nil {
			if made[p], err = l.dial(endpoints[p.endpoint]); err != nil {
				return bench.Rate{}, err
			}
		}
		clients[w] = made[p]
	}
	v := value()
	drive := bench.Load{Workers: o.Workers, Duration: o.Duration, WarmUp: o.WarmUp}
	return drive.Drive(ctx, func(ctx context.Context, w int) error {
		k := key(rand.IntN(keys))
		if o.Workload == bench.Put {
			_, err := clients[w].Put(ctx, k, v)
			return err
		}
		got, err := clients[w].Get(ctx, k)
		if err == nil && len(got.Kvs) != 1 {
			return errors.New("the key is gone")
		}
		return err
	})
}
