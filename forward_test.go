package hexrd_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/client"
)

// TestForwardsAreCounted: a follower's metrics say how its leader answers.
func TestForwardsAreCounted(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(c *hexrd.Config) { c.AdminSocket = c.DataDir + ".sock" }, "n1", "n2")
	bot := f.dial("/agent/acme/bot/main", f.addrs["n2"])
	if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if text := adminMetrics(t, f.node("n2").AdminSocket); !strings.Contains(text, `hexrd_forward_seconds_count{answer="OK"}`) {
		t.Error("no forward is counted")
	}
}

// adminMetrics are what a node says on its admin socket.
func adminMetrics(t *testing.T, socket string) string {
	t.Helper()
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer web.CloseIdleConnections()
	resp, err := web.Get("http://node/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
