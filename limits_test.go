package hexrd_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

const bot, other = "/agent/acme/bot/main", "/agent/acme/other/main"

// TestDefaultLimits: the settings of a new cluster are those of the docs.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	got, err := newLimited(t).operator.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"value_max_bytes": "65536", "labels_max": "16", "batch_max_paths": "100", "versions_kept": "10",
		"agent_secrets_max": "10000", "agent_bytes_max": "268435456",
		"tenant_secrets_max": "100000", "tenant_bytes_max": "2147483648",
		"rate_per_second": "1000", "rate_burst": "2000", "in_flight_max": "256", "streams_max": "16",
		"list_page_max": "1000", "audit_rows_max": "1000", "audit_scan_max": "100000",
		"undelete_window": "24h0m0s", "request_window": "10m0s", "jwt_svid": "false", "join_without_token": "false",
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
}

// TestLimits tries every limit of the docs at its edge, on a running node: what is
// exactly at it passes, one more is refused.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*limited){
		"value": func(l *limited) {
			l.pass(bot, "PUT", "/v1/secrets/k", ofSize(64<<10))
			l.refuse(413, "VALUE_TOO_LARGE", "split it", bot, "PUT", "/v1/secrets/k", ofSize(64<<10+1))
			l.set("value_max_bytes", "1048576")
			for _, n := range []int{1 << 20, 1<<20 + 1} {
				body := object{"data": base64.StdEncoding.EncodeToString(make([]byte, n))}
				if n <= 1<<20 {
					l.pass(bot, "PUT", "/v1/secrets/k", body)
				} else {
					l.refuse(413, "VALUE_TOO_LARGE", "split it", bot, "PUT", "/v1/secrets/k", body)
				}
				_, err := l.client(bot).Put(l.t.Context(), "k", make([]byte, n), client.PutOptions{})
				l.grpc(err, n > 1<<20, codes.InvalidArgument, "VALUE_TOO_LARGE")
			}
			if _, err := l.operator.SetSetting(l.t.Context(), "value_max_bytes", "1048577"); !errors.Is(err, client.ErrInvalid) {
				l.t.Errorf("a limit beyond 1 MiB: %v", err)
			}
		},
		"labels": func(l *limited) {
			labels := func(n, key, text int) object {
				m := object{}
				for i := range n {
					m[fmt.Sprintf("%0*d", key, i)] = strings.Repeat("t", text)
				}
				return object{"value": "v", "metadata": m}
			}
			l.pass(bot, "PUT", "/v1/secrets/k", labels(16, 64, 256))
			l.refuse(400, "INVALID_ARGUMENT", "metadata", bot, "PUT", "/v1/secrets/k", labels(17, 8, 8))
			l.refuse(400, "INVALID_ARGUMENT", "metadata", bot, "PUT", "/v1/secrets/k", labels(1, 65, 8))
			l.refuse(400, "INVALID_ARGUMENT", "metadata", bot, "PUT", "/v1/secrets/k", labels(1, 8, 257))
			l.set("labels_max", "2")
			l.pass(bot, "PUT", "/v1/secrets/k", labels(2, 8, 8))
			l.refuse(400, "INVALID_ARGUMENT", "leave some out", bot, "PUT", "/v1/secrets/k", labels(3, 8, 8))
		},
		"batch": func(l *limited) {
			l.set("rate_per_second", "10000", "rate_burst", "10000") // it is not the rate that is tried
			paths := make([]string, 101)
			for i := range paths {
				if paths[i] = fmt.Sprintf("p%d", i); i < 65 {
					l.pass(bot, "PUT", "/v1/secrets/"+paths[i], ofSize(64<<10))
				}
			}
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[1:]})
			l.refuse(400, "INVALID_ARGUMENT", "100", bot, "POST", "/v1/secrets:batchGet", object{"paths": paths})
			for i, r := range l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[:65]}).Results {
				switch {
				case i < 64 && len(r.Secret.Value) != 64<<10:
					l.t.Fatalf("path %d of 4 MiB has no value: %s", i, r.Error.Reason)
				case i == 64 && r.Error.Reason != "BATCH_TOO_LARGE":
					l.t.Fatalf("the path beyond 4 MiB: %+v", r.Error)
				}
			}
			l.set("batch_max_paths", "2")
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[:2]})
			l.refuse(400, "INVALID_ARGUMENT", "several requests", bot, "POST", "/v1/secrets:batchGet", object{"paths": paths[:3]})
		},
		"list page": func(l *limited) {
			l.set("list_page_max", "3")
			for i := range 4 {
				l.pass(bot, "PUT", fmt.Sprintf("/v1/secrets/p%d", i), ofSize(1))
			}
			a := l.pass(bot, "GET", "/v1/secrets?page_size=1000", nil)
			if len(a.Paths) != 3 || a.PageToken == "" {
				l.t.Fatalf("a page has %d paths", len(a.Paths))
			}
			a = l.pass(bot, "GET", "/v1/secrets?page_token="+url.QueryEscape(a.PageToken), nil)
			if len(a.Paths) != 1 || a.PageToken != "" {
				l.t.Fatalf("the last page has %d paths", len(a.Paths))
			}
		},
		"audit query": func(l *limited) {
			misses := make([]string, 100)
			for i := range misses {
				misses[i] = "m"
			}
			for range 10 {
				l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": misses})
			}
			l.set("audit_rows_max", "3", "audit_scan_max", "1000")
			a := l.pass(bot, "GET", "/v1/audit?page_size=1000", nil)
			if len(a.Rows) != 3 || a.Cursor == "" {
				l.t.Fatalf("a page has %d rows", len(a.Rows))
			}
			l.pass(bot, "PUT", "/v1/secrets/k", ofSize(1))
			a = l.pass(bot, "GET", "/v1/audit?operation=put", nil) // looks at 1000 misses and no more
			if len(a.Rows) != 0 || a.Cursor == "" {
				l.t.Fatalf("a page beyond what is scanned has %d rows, cursor %q", len(a.Rows), a.Cursor)
			}
			a = l.pass(bot, "GET", "/v1/audit?operation=put&cursor="+url.QueryEscape(a.Cursor), nil)
			if len(a.Rows) != 1 || a.Cursor != "" {
				l.t.Fatalf("the page at the cursor has %d rows", len(a.Rows))
			}
		},
		"versions kept": func(l *limited) {
			for i := range 11 {
				l.pass(bot, "PUT", "/v1/secrets/k", object{"value": fmt.Sprint(i + 1)})
			}
			if a := l.pass(bot, "GET", "/v1/secrets/k?version=2", nil); a.Version != 2 {
				l.t.Fatalf("version %d", a.Version)
			}
			l.refuse(404, "NOT_FOUND", "version", bot, "GET", "/v1/secrets/k?version=1", nil)
		},
		"secrets of an agent": func(l *limited) {
			l.set("agent_secrets_max", "2")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1))
			l.pass(bot, "PUT", "/v1/secrets/b", ofSize(1))
			l.pass(bot, "PUT", "/v1/secrets/b", ofSize(1)) // a version is no further secret
			l.refuse(429, "QUOTA", "destroy", bot, "PUT", "/v1/secrets/c", ofSize(1))
			l.pass(other, "PUT", "/v1/secrets/c", ofSize(1))
			l.pass(bot, "DELETE", "/v1/secrets/a?destroy=true", nil)
			l.pass(bot, "PUT", "/v1/secrets/c", ofSize(1))
		},
		"bytes of an agent": func(l *limited) {
			l.set("agent_bytes_max", "1024")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1000))
			l.refuse(429, "QUOTA", "destroy", bot, "PUT", "/v1/secrets/b", ofSize(25))
			l.pass(bot, "PUT", "/v1/secrets/b", ofSize(24))
			l.refuse(429, "QUOTA", "destroy", bot, "PUT", "/v1/secrets/a", ofSize(1)) // versions count
			l.pass(other, "PUT", "/v1/secrets/b", ofSize(25))
		},
		"secrets of a tenant": func(l *limited) {
			l.set("tenant_secrets_max", "2")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1))
			l.pass(other, "PUT", "/v1/secrets/a", ofSize(1))
			l.refuse(429, "QUOTA", "tenant", bot, "PUT", "/v1/secrets/b", ofSize(1))
			l.pass("/agent/evil/bot/main", "PUT", "/v1/secrets/b", ofSize(1))
		},
		"bytes of a tenant": func(l *limited) {
			l.set("tenant_bytes_max", "1024")
			l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1000))
			l.pass(other, "PUT", "/v1/secrets/a", ofSize(24))
			l.refuse(429, "QUOTA", "tenant", other, "PUT", "/v1/secrets/b", ofSize(1))
		},
		"rate": func(l *limited) {
			l.set("rate_burst", "50", "rate_per_second", "1")
			begin := time.Now()
			n := 0
			for ; ; n++ {
				if status, _ := l.try(bot, "GET", "/v1/whoami", nil); status != http.StatusOK {
					break
				}
			}
			if most := 50 + int(time.Since(begin).Seconds()) + 1; n < 50 || n > most {
				l.t.Fatalf("%d calls passed, want 50 to %d", n, most)
			}
			l.refuse(429, "RATE_LIMITED", "wait", bot, "GET", "/v1/whoami", nil)
			l.refuse(429, "RATE_LIMITED", "wait", bot, "GET", "/v1/nothing", nil) // whatever is asked
			l.refuse(429, "RATE_LIMITED", "wait", bot, "GET", "/v1/cluster/members", nil)
			_, err := l.client(bot).WhoAmI(l.t.Context())
			l.grpc(err, true, codes.ResourceExhausted, "RATE_LIMITED")
			l.pass(other, "GET", "/v1/whoami", nil)
		},
		"rate of a batch": func(l *limited) {
			l.set("rate_burst", "50", "rate_per_second", "1")
			paths := strings.Split(strings.Repeat("p", 40), "")
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths})
			l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": paths}) // 10 were left: it has the rest in advance
			l.refuse(429, "RATE_LIMITED", "wait", bot, "POST", "/v1/secrets:batchGet", object{"paths": paths})
		},
		"rate of large values": func(l *limited) {
			l.set("rate_burst", "8", "rate_per_second", "1")
			l.pass(bot, "PUT", "/v1/secrets/k", ofSize(64<<10)) // counts for 17
			l.refuse(429, "RATE_LIMITED", "wait", bot, "PUT", "/v1/secrets/k", ofSize(64<<10))
			l.pass(other, "PUT", "/v1/secrets/k", ofSize(4000))
			l.pass(other, "PUT", "/v1/secrets/k", ofSize(4000))
		},
		"in flight": func(l *limited) {
			l.set("in_flight_max", "2")
			var finish []func() int
			for range 2 {
				finish = append(finish, l.slowPut(bot))
			}
			l.refuse(429, "TOO_MANY_IN_FLIGHT", "wait", bot, "GET", "/v1/whoami", nil)
			_, err := l.client(bot).WhoAmI(l.t.Context())
			l.grpc(err, true, codes.ResourceExhausted, "TOO_MANY_IN_FLIGHT")
			l.pass(other, "GET", "/v1/whoami", nil)
			for _, f := range finish {
				if status := f(); status != http.StatusOK {
					l.t.Errorf("the slow put: status %d", status)
				}
			}
			until(l.t, "room", func() bool {
				status, _ := l.try(bot, "GET", "/v1/whoami", nil)
				return status == http.StatusOK
			})
			two := object{"paths": []string{"a", "b"}}
			l.pass(bot, "POST", "/v1/secrets:batchGet", two)
			finish[0] = l.slowPut(bot)
			l.refuse(429, "TOO_MANY_IN_FLIGHT", "wait", bot, "POST", "/v1/secrets:batchGet", two)
			if status := finish[0](); status != http.StatusOK {
				l.t.Errorf("the slow put beside a batch: status %d", status)
			}
		},
		"streams": func(l *limited) {
			c := l.client(bot)
			var cancels []context.CancelFunc
			for range 16 {
				cancels = append(cancels, l.tail(c))
			}
			err := c.AuditTail(l.t.Context(), &hexrv1.TailRequest{}, func(*hexrv1.AuditRow) error { return nil })
			l.grpc(err, true, codes.ResourceExhausted, "TOO_MANY_STREAMS")
			l.refuse(429, "TOO_MANY_STREAMS", "close some", bot, "GET", "/v1/audit/tail", nil)
			l.tail(l.client(other))
			cancels[0]()
			until(l.t, "the stream to end", func() bool {
				ctx, cancel := context.WithCancel(l.t.Context())
				defer cancel()
				from := uint64(0)
				return c.AuditTail(ctx, &hexrv1.TailRequest{From: &from}, func(*hexrv1.AuditRow) error {
					cancel()
					return errors.New("seen")
				}).Error() == "seen"
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(newLimited(t))
		})
	}
}

// TestRefusedCallsEndTheirConnection: gRPC keeps a timer for each refused call with
// a deadline until its connection ends. So it ends, of strangers, too.
func TestRefusedCallsEndTheirConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	cfg := &tls.Config{RootCAs: w.ca.Pool(), MinVersion: tls.VersionTLS13}
	conn, err := grpc.NewClient(w.server.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for n := range 3000 {
		_, err := hexrv1.NewVaultClient(conn).Get(ctx, &hexrv1.GetRequest{Path: "k"})
		switch status.Code(err) {
		case codes.Unauthenticated:
		case codes.Unavailable:
			t.Logf("the connection ended at call %d", n)
			return
		default:
			t.Fatalf("call %d: %v", n, err)
		}
		if n > 0 && conn.GetState() != connectivity.Ready {
			return
		}
	}
	t.Error("3,000 refused calls share one connection")
}
