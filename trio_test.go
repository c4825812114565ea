package hexrd_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/identity"
	"github.com/hexrdev/hexrd/internal/dev"
)

// trio is three nodes in one process, each with a configuration of its own, over
// real sockets and disks.
type trio struct {
	*world
	nodes []*hexrd.Server
	cfgs  []hexrd.Config
	op    *client.Client
}

// newTrio starts the nodes; change may alter each one's configuration.
func newTrio(t *testing.T, change func(i int, c *hexrd.Config)) *trio {
	t.Helper()
	r := &trio{world: newWorld(t)}
	t.Cleanup(func() {
		for i := range r.nodes {
			r.stop(i)
		}
	})
	for i := range 3 {
		id, addr := fmt.Sprintf("n%d", i+1), freeAddress(t)
		c := hexrd.Config{
			DataDir: filepath.Join(r.dir, id), WrapperKey: filepath.Join(r.dir, id+".key"), Bind: addr,
			Identity: identity.Config{Socket: r.socket("/hexr/node/"+id, time.Hour, true)},
		}
		if i == 0 {
			c.Bootstrap = true
		} else {
			token, err := r.op.CreateToken(t.Context(), id, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			c.Join, c.Token = []string{r.cfgs[0].Bind}, token.GetToken()
		}
		if change != nil {
			change(i, &c)
		}
		r.cfgs, r.nodes = append(r.cfgs, c), append(r.nodes, nil)
		if err := r.run(i); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			r.op = r.at("/hexr/operator/ann", 0)
		}
		until(t, id+" to be healthy", func() bool { return r.healthy(i) })
	}
	return r
}

func (r *trio) run(i int) (err error) {
	r.nodes[i], err = hexrd.Open(r.t.Context(), r.cfgs[i])
	return err
}

func (r *trio) stop(i int) {
	if r.nodes[i] != nil {
		_ = r.nodes[i].Close(context.WithoutCancel(r.t.Context()))
		r.nodes[i] = nil
	}
}

func (r *trio) healthy(i int) bool {
	resp, err := r.web(nil).Do(r.request(http.MethodGet, i, "/health"))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (r *trio) request(method string, i int, path string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+r.cfgs[i].Bind+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

// at is a client of some of the nodes; none: of all.
func (r *trio) at(path string, nodes ...int) *client.Client {
	r.t.Helper()
	var addrs []string
	for i, c := range r.cfgs {
		if len(nodes) == 0 || slices.Contains(nodes, i) {
			addrs = append(addrs, c.Bind)
		}
	}
	c, err := client.Dial(r.t.Context(), client.Config{Addrs: addrs, Socket: r.socket(path, time.Hour, false), Timeout: 40 * time.Second, Retries: 200})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// leader is the number of the node that leads.
func (r *trio) leader() int {
	r.t.Helper()
	at := -1
	until(r.t, "a leader", func() bool {
		m, err := r.op.Members(r.t.Context())
		if err != nil {
			return false
		}
		for i, n := range r.nodes {
			if n != nil && n.NodeID() == m.GetLeader() {
				at = i
			}
		}
		return at >= 0
	})
	return at
}

// ports of nodes that are started again where they were: tests run at the same time.
var ports = dev.NewPorts()

func freeAddress(t testing.TB) string {
	t.Helper()
	addr, err := ports.Free(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
