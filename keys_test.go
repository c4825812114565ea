package hexrd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexrdev/hexrd"
	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/identity"
)

// fleet is a cluster of servers in one process, with real sockets and disks.
type fleet struct {
	*world
	servers map[string]*hexrd.Server
	addrs   map[string]string
	sockets map[string]string
	op      *client.Client
	change  func(*hexrd.Config) // of every node, before it starts
}

func newFleet(t *testing.T, change func(*hexrd.Config), ids ...string) *fleet {
	t.Helper()
	f := &fleet{
		world: newWorld(t), servers: map[string]*hexrd.Server{}, addrs: map[string]string{}, sockets: map[string]string{}, change: change,
	}
	t.Cleanup(func() {
		for id := range f.servers {
			f.stop(id)
		}
	})
	for i, id := range ids {
		f.addrs[id] = freeAddress(f.t)
		if i == 0 {
			f.start(id, func(c *hexrd.Config) { c.Bootstrap = true })
			f.op = f.dial("/hexr/operator/ann", f.addrs[id])
			continue
		}
		f.join(id)
	}
	all := make([]string, 0, len(ids))
	for _, id := range ids {
		all = append(all, f.addrs[id])
	}
	f.op = f.dial("/hexr/operator/ann", all...)
	f.until("all to vote", func() bool {
		m, err := f.op.Members(t.Context())
		return err == nil && int(m.GetVoters()) == len(ids)
	})
	return f
}

func (f *fleet) node(id string) hexrd.Config {
	if f.sockets[id] == "" {
		f.sockets[id] = f.socket("/hexr/node/"+id, time.Hour, true)
	}
	c := hexrd.Config{
		DataDir: filepath.Join(f.dir, id), WrapperKey: filepath.Join(f.dir, id+".key"), Bind: f.addrs[id],
		Identity: identity.Config{Socket: f.sockets[id]},
	}
	if f.change != nil {
		f.change(&c)
	}
	return c
}

func (f *fleet) start(id string, change func(*hexrd.Config)) {
	f.t.Helper()
	c := f.node(id)
	if change != nil {
		change(&c)
	}
	s, err := hexrd.Open(f.t.Context(), c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.servers[id] = s
}

func (f *fleet) join(id string) {
	f.t.Helper()
	if f.addrs[id] == "" {
		f.addrs[id] = freeAddress(f.t)
	}
	token, err := f.op.CreateToken(f.t.Context(), id, time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	f.start(id, func(c *hexrd.Config) { c.Join, c.Token = f.others(id), token.GetToken() })
}

func (f *fleet) others(id string) []string {
	var out []string
	for other := range f.servers {
		if other != id {
			out = append(out, f.addrs[other])
		}
	}
	return out
}

func (f *fleet) stop(id string) {
	f.t.Helper()
	if err := f.servers[id].Close(context.WithoutCancel(f.t.Context())); err != nil {
		f.t.Errorf("%s: %v", id, err)
	}
	delete(f.servers, id)
}

func (f *fleet) dial(path string, addrs ...string) *client.Client {
	f.t.Helper()
	c, err := client.Dial(f.t.Context(), client.Config{
		Addrs: addrs, Socket: f.socket(path, time.Hour, false), Timeout: 40 * time.Second, Retries: 200,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// until waits for a condition, for at most 60 seconds.
func (f *fleet) until(what string, ok func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			keys, err := f.op.KeysStatus(f.t.Context())
			f.t.Fatalf("waited in vain for %s; keys: %v, %v", what, keys, err)
		}
	}
}

// key is how the cluster sees a key now.
func (f *fleet) key(id string) *hexrv1.Key {
	f.t.Helper()
	keys, err := f.op.KeysStatus(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	i := slices.IndexFunc(keys, func(k *hexrv1.Key) bool { return k.GetId() == id })
	if i < 0 {
		f.t.Fatalf("no key %s in %v", id, keys)
	}
	return keys[i]
}

func (f *fleet) active(kind string) *hexrv1.Key {
	f.t.Helper()
	keys, err := f.op.KeysStatus(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, k := range keys {
		if k.GetKind() == kind && k.GetState() == "active" {
			return k
		}
	}
	f.t.Fatalf("no active %s key in %v", kind, keys)
	return nil
}

func (f *fleet) rotate(kind string) *hexrv1.Key {
	f.t.Helper()
	keys, err := f.op.RotateKeys(f.t.Context(), kind)
	if err != nil || len(keys) != 1 {
		f.t.Fatal(keys, err)
	}
	return keys[0]
}

func (f *fleet) granted(operation string) []*hexrv1.AuditRow {
	f.t.Helper()
	var rows []*hexrv1.AuditRow
	for r, err := range f.op.AuditQuery(f.t.Context(), &hexrv1.QueryRequest{Operation: operation, Outcome: "granted", PageSize: 1000}) {
		if err != nil {
			f.t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

// TestRotationOfValueKeys: the new key is on all members before it seals, every
// version moves under it, what it opens stays the same, and the old one retires.
func TestRotationOfValueKeys(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2", "n3")
	bot := f.dial("/agent/acme/bot/main", f.others("")...)
	const secrets = 40
	for i := range secrets {
		if _, err := bot.Put(t.Context(), fmt.Sprintf("k%d", i), []byte(fmt.Sprintf("v%d", i)), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	old := f.active("value")
	if old.GetVersions() != secrets {
		t.Errorf("%d versions are under the first key", old.GetVersions())
	}
	f.until("all members to hold the first key", func() bool { return len(f.key(old.GetId()).GetHeldBy()) == 3 })
	k := f.rotate("value")
	f.until("the new key to be active", func() bool { return f.key(k.GetId()).GetState() == "active" })
	f.until("the old key to retire", func() bool { return f.key(old.GetId()).GetState() == "retired" })
	now := f.key(k.GetId())
	if now.GetVersions() != secrets || !slices.Equal(now.GetHeldBy(), []string{"n1", "n2", "n3"}) {
		t.Errorf("after the rotation: %v", now)
	}
	for id := range f.servers {
		one := f.dial("/agent/acme/bot/main", f.addrs[id])
		for i := range secrets {
			s, err := one.Get(t.Context(), fmt.Sprintf("k%d", i))
			if err != nil || s.Text() != fmt.Sprintf("v%d", i) || s.Version != 1 {
				t.Fatalf("get through %s: %v", id, err)
			}
		}
	}
	if _, err := bot.Put(t.Context(), "after", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	f.until("a put under the new key", func() bool { return f.key(k.GetId()).GetVersions() == secrets+1 })

	// The audit: one add, a report and a release for each member that did not make
	// it, one activation.
	released := map[string]int{}
	for _, r := range f.granted("key.release") {
		if strings.HasSuffix(r.GetDetail(), "value "+k.GetId()) {
			released[r.GetDetail()]++
		}
	}
	if len(released) != 2 {
		t.Errorf("releases of the key: %v", released)
	}
	for detail, n := range released {
		if n != 1 {
			t.Errorf("%d releases of %q", n, detail)
		}
	}
	if n := len(f.granted("key.activate")); n != 1 {
		t.Errorf("%d activations", n)
	}
	if r := f.granted("key.add"); len(r) != 1 || r[0].GetCaller() != "spiffe://hexr.cloud/hexr/operator/ann" {
		t.Errorf("rows of the rotation: %v", r)
	}
	done := uint64(0)
	for _, r := range f.granted("key.rewrap") {
		done += r.GetVersion()
	}
	if done != secrets {
		t.Errorf("%d versions were rewrapped, by the audit", done)
	}
}

// TestRotationOfStorageKeys: rows are sealed anew on every node; the old key
// retires once the log and the snapshots have gone on, too; what was sealed with
// it opens after a restart.
func TestRotationOfStorageKeys(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(c *hexrd.Config) {
		c.Snapshots.Entries, c.Snapshots.Trailing, c.Snapshots.Interval = 10, 3, 50*time.Millisecond
	}, "n1", "n2", "n3")
	bot := f.dial("/agent/acme/bot/main", f.others("")...)
	put := func(i int) {
		t.Helper()
		if _, err := bot.Put(t.Context(), fmt.Sprintf("k%d", i%50), []byte(fmt.Sprint(i)), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		put(i)
	}
	old := f.active("storage")
	k := f.rotate("storage")
	f.until("the new key to be active", func() bool { return f.key(k.GetId()).GetState() == "active" })
	i := 50
	f.until("the old key to retire", func() bool {
		put(i)
		i++
		return f.key(old.GetId()).GetState() == "retired"
	})
	for _, id := range []string{"n1", "n2", "n3"} {
		f.stop(id)
		f.start(id, nil)
	}
	for j := i - 50; j < i; j++ {
		if s, err := bot.Get(t.Context(), fmt.Sprintf("k%d", j%50)); err != nil || s.Text() != fmt.Sprint(j) {
			t.Fatalf("get after the rotation: %v", err)
		}
	}
}

// TestRotationWaitsForAMember: a rotation stays pending while a member is away,
// says for whom it waits, and goes on by itself when it is back or removed.
func TestRotationWaitsForAMember(t *testing.T) {
	t.Parallel()
	f := newFleet(t, nil, "n1", "n2", "n3")
	f.stop("n3")
	k := f.rotate("value")
	f.until("the two others to hold the key", func() bool { return len(f.key(k.GetId()).GetHeldBy()) == 2 })
	if got := f.key(k.GetId()); got.GetState() != "pending" || !slices.Equal(got.GetWaitingFor(), []string{"n3"}) {
		t.Errorf("while n3 is away: %v", got)
	}
	if _, err := f.op.RotateKeys(t.Context(), "value"); err == nil {
		t.Error("a second rotation of the kind began")
	}
	f.start("n3", nil)
	f.until("the key to be active", func() bool { return f.key(k.GetId()).GetState() == "active" })

	// With a removal in between, the removed node's key is not the one that comes.
	f.stop("n3")
	second := f.rotate("value")
	f.until("the two others to hold the key", func() bool { return len(f.key(second.GetId()).GetHeldBy()) == 2 })
	if err := f.op.RemoveMember(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	f.until("another key to be active", func() bool {
		now := f.active("value")
		return now.GetId() != k.GetId() && now.GetId() != second.GetId()
	})
	if got := f.key(second.GetId()); got.GetState() != "abandoned" {
		t.Errorf("the key of before the removal: %v", got)
	}
}

func parseHex(s string, id *uint32) (int, error) { return fmt.Sscanf(s, "%08x", id) }

func (f *fleet) keyringOf(id string) string { return filepath.Join(f.dir, id, "keyring") }

func (f *fleet) read(file string) []byte {
	f.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		f.t.Fatal(err)
	}
	return data
}

func (f *fleet) write(file string, data []byte) {
	f.t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}
