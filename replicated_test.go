package hexrd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexrdev/hexrd"
	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/client"
)

// TestConfigurationDecidesNothing: three nodes that are configured as differently
// as can be decide the same accesses, in the same order, with the same outcomes.
func TestConfigurationDecidesNothing(t *testing.T) {
	t.Parallel()
	r := newTrio(t, func(i int, c *hexrd.Config) {
		switch i {
		case 0:
			c.Snapshots = hexrd.Snapshots{Entries: 20, Trailing: 5, Interval: 100 * time.Millisecond}
		case 1:
			c.LogStore, c.Version, c.AdminSocket = "wal", "another version", c.DataDir+".sock"
			c.Logger = slog.New(slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
		case 2:
			c.Advertise = strings.Replace(c.Bind, "127.0.0.1", "localhost", 1)
			c.Snapshots = hexrd.Snapshots{Entries: 100_000, Trailing: 100_000, Interval: time.Hour}
		}
	})
	for name, value := range map[string]string{"agent_secrets_max": "9", "agent_bytes_max": "2048", "versions_kept": "3"} {
		if _, err := r.op.SetSetting(t.Context(), name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.op.Block(t.Context(), "agent/acme/blocked"); err != nil {
		t.Fatal(err)
	}
	var load sync.WaitGroup
	for i := range 3 {
		for j := range 3 {
			load.Go(func() { r.mixed(i, fmt.Sprintf("bot%d", j)) })
		}
	}
	load.Wait()
	seen := r.sameRoot()
	for _, want := range []audit.Outcome{
		audit.Granted, audit.Denied, audit.NotFound, audit.Conflict, audit.Shadowed, audit.Replayed, audit.Blocked, audit.Quota,
		audit.Mismatch, audit.Gone,
	} {
		if seen[want] == 0 {
			t.Errorf("the load has no outcome %s", want)
		}
	}
	t.Logf("outcomes: %v", seen)
}

// mixed is a load through one node with everything that can be refused.
func (r *trio) mixed(node int, agent string) {
	ctx := r.t.Context()
	c, sibling := r.at("/agent/acme/"+agent+"/main", node), r.at("/agent/acme/"+agent+"/worker", node)
	stranger, blocked := r.at("/agent/evil/"+agent+"/main", node), r.at("/agent/acme/blocked/main", node)
	try := func(_ any, err error) {
		var e *client.Error
		if err != nil && !errors.As(err, &e) || errors.Is(err, client.ErrInvalid) && e.Reason != "REQUEST_ID_REUSED" {
			r.t.Errorf("node %d: %v", node, err)
		}
	}
	stale := uint64(77)
	try(c.Put(ctx, "hidden", []byte("v"), client.PutOptions{Scope: "worker"}))
	for n := range 12 {
		path := fmt.Sprintf("p%d", n)
		try(c.Put(ctx, path, bytes.Repeat([]byte("v"), 100), client.PutOptions{}))
		try(c.Put(ctx, "same", []byte("v"), client.PutOptions{Expected: &stale}))
		try(c.Get(ctx, path))
		try(c.Get(ctx, "hidden"))
		try(c.Get(ctx, path, client.At{Scope: "spiffe://hexr.cloud/agent/acme/elsewhere/*"}))
		try(stranger.Get(ctx, path))
		try(sibling.Put(ctx, "hidden", []byte("v"), client.PutOptions{}))
		try(sibling.Destroy(ctx, path, "", 0))
	}
	try(c.Delete(ctx, "p1", ""))
	try(c.Destroy(ctx, "p2", "", 0))
	try(c.Undelete(ctx, "p2", ""))
	_, err := blocked.Get(ctx, "p1")
	try(nil, err)
	r.sameID(node, agent)
}

// sameID uses a request id three times: again, and for another request.
func (r *trio) sameID(node int, agent string) {
	web := r.web(r.mint("/agent/acme/" + agent + "-again/main")) // whose quota nobody has used up
	for _, value := range []string{"a", "a", "b"} {
		req := r.request(http.MethodPut, node, "/v1/secrets/id")
		req.Body = io.NopCloser(strings.NewReader(`{"value":"` + value + `","scope":"main"}`))
		req.Header.Set("Idempotency-Key", fmt.Sprintf("%s at %d", agent, node))
		resp, err := web.Do(req)
		if err != nil {
			r.t.Error(err)
			return
		}
		_ = resp.Body.Close()
	}
}

// sameRoot wants one root of all nodes, recomputed from the rows; it counts their
// outcomes.
func (r *trio) sameRoot() map[audit.Outcome]int {
	r.t.Helper()
	seen := map[audit.Outcome]int{}
	for node := range r.nodes {
		verifier := audit.NewVerifier()
		err := r.at("/hexr/auditor/ben", node).AuditVerify(r.t.Context(), nil, func(h *hexrv1.VerifyHeader) error {
			if len(h.GetRoots()) != len(r.nodes) {
				return fmt.Errorf("%d nodes gave a root", len(h.GetRoots()))
			}
			for _, n := range h.GetRoots() {
				verifier.Expect(n.GetNode(), n.GetSize(), [32]byte(append(n.GetRoot(), make([]byte, 32)...)))
			}
			return nil
		}, func(encoded []byte) error {
			row, err := audit.DecodeRow(encoded)
			if node == 0 {
				seen[row.Outcome]++
			}
			return errors.Join(err, verifier.Add(encoded))
		})
		if _, rootErr := verifier.Finish(); err != nil || rootErr != nil {
			r.t.Fatal(err, rootErr)
		}
	}
	return seen
}
