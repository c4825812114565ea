package lazyfs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
	"github.com/hexrdev/hexrd/jepsen/lazyfs"
)

// setting is a number from the environment.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// logStores are those that a test runs on: in a short run one, by the seed.
func logStores(seed int) []string {
	both := []string{"bolt", "wal"}
	if testing.Short() {
		return both[seed%2:][:1]
	}
	return both
}

// rig is a cluster of hexrd processes, each with its data on a disk of its own.
type rig struct {
	t       *testing.T
	dir     string
	c       *dev.Cluster
	program string
	disks   map[string]*lazyfs.Disk
	chance  *rand.Rand
}

var nodes = []string{"n1", "n2", "n3"}

func buildHexrd(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hexrd")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/hexrdev/hexrd/cmd/hexrd").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func startRig(t *testing.T, store string, seed uint64, args ...string) *rig {
	t.Helper()
	if err := lazyfs.Available(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	r := &rig{t: t, dir: dir, program: buildHexrd(t), disks: map[string]*lazyfs.Disk{}, chance: rand.New(rand.NewPCG(seed, 0))}
	for i, id := range nodes {
		at := filepath.Join(dir, "nodes", id, "data")
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := lazyfs.Mount(t.Context(), lazyfs.Config{Dir: at, Backing: filepath.Join(dir, "disks", id), Seed: seed + uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		r.disks[id] = d
	}
	c, err := dev.Start(t.Context(), dev.Config{Dir: dir, LogStore: store, Program: r.program, NodeArgs: args})
	if err != nil {
		r.logs()
		t.Fatal(err)
	}
	r.c = c
	t.Cleanup(func() {
		if t.Failed() {
			r.logs()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) logs() {
	for _, id := range nodes {
		data, _ := os.ReadFile(filepath.Join(r.dir, "nodes", id, "node.log"))
		r.t.Logf("%s:\n%s", id, data[max(0, len(data)-6000):])
	}
}

func (r *rig) dial(id string) *client.Client {
	r.t.Helper()
	w, err := r.c.Serve(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	cl, err := client.Dial(r.t.Context(), client.Config{Addrs: r.c.Addresses(), Socket: w.Address(), Timeout: time.Minute, Retries: 500})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cl.Close(); _ = w.Close() })
	return cl
}

// fate is what becomes of a disk when its node is killed.
type fate string

const (
	killed = fate("killed") // the kernel has it all
	lost   = fate("lost")
	torn   = fate("torn")
)

// powerCut kills nodes, has their disks forget and be well again, and starts them.
func (r *rig) powerCut(ids []string, f fate) error {
	for _, id := range ids {
		if _, err := r.c.Signal(r.t.Context(), id, "KILL"); err != nil && r.running(id) { // else it ended by itself
			return err
		}
	}
	for _, id := range ids {
		if err := r.disks[id].Set(lazyfs.Faults{}); err != nil {
			return err
		}
		if f == killed {
			continue
		}
		if _, err := r.disks[id].Cut(f == torn); err != nil {
			return err
		}
	}
	return r.start(ids)
}

func (r *rig) running(id string) bool {
	for _, n := range r.c.Nodes(r.t.Context()) {
		if n.ID == id {
			return n.State == "running"
		}
	}
	return false
}

// start starts nodes at once: a majority waits for one another.
func (r *rig) start(ids []string) error {
	results := make(chan error, len(ids))
	for _, id := range ids {
		go func() {
			_, err := r.c.StartNode(r.t.Context(), id)
			results <- err
		}()
	}
	var errs []error
	for range ids {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// victims are one node, a majority, or all.
func (r *rig) victims() []string {
	ids := append([]string(nil), nodes...)
	r.chance.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:1+r.chance.IntN(3)]
}

// slowLeader has the disk of whoever leads be slow: its entries are with the others
// before they are there.
func (r *rig) slowLeader() (string, error) {
	for _, n := range r.c.Nodes(r.t.Context()) {
		if n.Role == "leader" {
			return n.ID, r.disks[n.ID].Set(lazyfs.Faults{Delay: 20 * time.Millisecond})
		}
	}
	return "", nil
}

// check reads everything that was acknowledged, and its rows.
func (r *rig) check(l *load) {
	r.t.Helper()
	l.stop()
	l.wg.Wait()
	auditor := r.dial("/hexr/auditor/test")
	for _, w := range l.workers {
		for path := range w.acked {
			if err := w.read(r.t.Context(), path); err != nil {
				r.t.Errorf("%s: %v", w.id, err)
			}
		}
		rows := map[string]int{}
		query := &hexrv1.QueryRequest{Caller: "spiffe://" + r.c.TrustDomain() + "/agent/" + w.id + "/main", Outcome: "granted", PageSize: 1000}
		for row, err := range auditor.AuditQuery(r.t.Context(), query) {
			if err != nil {
				r.t.Fatal(err)
			}
			if row.GetOperation() == "put" {
				rows[fmt.Sprint(row.GetPath(), row.GetVersion())]++
			}
		}
		for path, acked := range w.acked {
			for v := uint64(1); v <= acked; v++ {
				if n := rows[fmt.Sprint(path, v)]; n != 1 {
					r.t.Errorf("%s: version %d of %s has %d granted rows", w.id, v, path, n)
				}
			}
		}
	}
	r.verify()
}

// verify recomputes the audit's tree, and compares the roots of all nodes, once
// who was started last has caught up.
func (r *rig) verify() {
	r.t.Helper()
	w, err := r.c.Serve(r.t.Context(), "/hexr/auditor/verifier")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	until(r.t, "all nodes to have the same root", func() bool {
		cmd := exec.CommandContext(r.t.Context(), r.program, "audit", "verify")
		cmd.Env = append(os.Environ(), client.SocketEnv+"="+w.Address(), client.AddrEnv+"="+strings.Join(r.c.Addresses(), ","))
		out, err := cmd.CombinedOutput()
		r.t.Logf("%s", out)
		return err == nil
	})
}

// TestPowerCutsLoseNothing: hexrd processes lose their power, one, a majority or
// all of them, or a leader whose disk is slower than the others', and their disks
// forget what was not synced, or tear it. Nothing acknowledged is lost, and each comes
// back by a plain start.
// HEXRD_ROUNDS and HEXRD_SEED make more of it.
func TestPowerCutsLoseNothing(t *testing.T) {
	t.Parallel()
	rounds, seed := setting(t, "HEXRD_ROUNDS", 6), setting(t, "HEXRD_SEED", int(time.Now().UnixNano()%1e9))
	for _, store := range logStores(seed) {
		t.Run(store, func(t *testing.T) {
			t.Logf("HEXRD_SEED=%d", seed)
			r := startRig(t, store, uint64(seed), "--snapshot-entries", "100", "--trailing-entries", "20", "--snapshot-interval", "1s")
			l := r.load(6)
			cuts := map[string]int{}
			for i := range rounds {
				ids, f := r.victims(), []fate{killed, lost, lost, torn, torn}[r.chance.IntN(5)]
				slow := ""
				if i%2 == 1 {
					var err error
					if slow, err = r.slowLeader(); err != nil {
						t.Fatalf("round %d: %v", i, err)
					}
				}
				if err := l.progress(int64(r.chance.IntN(120))); err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				if slow != "" && !slices.Contains(ids, slow) {
					ids[0] = slow
				}
				if err := r.powerCut(ids, f); err != nil {
					t.Fatalf("round %d, %v %s: %v", i, ids, f, err)
				}
				cuts[fmt.Sprintf("%d nodes %s, slow: %t", len(ids), f, slow != "")]++
			}
			r.check(l)
			t.Logf("%d operations; power cuts: %v", l.done.Load(), cuts)
		})
	}
}

// TestSickDisks: the disk of a node fails, now and then or for good, is full, told
// or not, or slow. The others go on; with the disk well again a plain start is all
// that the node needs, also when the power went with it.
func TestSickDisks(t *testing.T) {
	t.Parallel()
	rounds, seed := setting(t, "HEXRD_ROUNDS", 1), setting(t, "HEXRD_SEED", int(time.Now().UnixNano()%1e9))
	ills := map[string]lazyfs.Faults{
		"syncs fail": {SyncErrors: 1}, "some syncs fail": {SyncErrors: 0.2},
		"some writes fail": {WriteErrors: 0.2}, "some reads fail": {ReadErrors: 0.5},
		"full": {Full: true}, "over its quota": {Full: true, Room: 100_000, Hidden: true},
		"slow": {Delay: 30 * time.Millisecond},
	}
	for _, store := range logStores(seed) {
		t.Run(store, func(t *testing.T) {
			t.Logf("HEXRD_SEED=%d", seed)
			r := startRig(t, store, uint64(seed), "--snapshot-entries", "100", "--trailing-entries", "20", "--snapshot-interval", "1s")
			l := r.load(4)
			for i := range rounds {
				for ill, faults := range ills {
					id, f := nodes[r.chance.IntN(3)], []fate{killed, lost, torn}[r.chance.IntN(3)]
					fail := func(err error) {
						if err != nil {
							t.Fatalf("round %d, the disk of %s: %s, then %s: %v", i, id, ill, f, err)
						}
					}
					fail(r.disks[id].Set(faults))
					fail(l.progress(60))
					fail(r.disks[id].Set(lazyfs.Faults{}))
					fail(r.powerCut([]string{id}, f))
					fail(l.progress(10))
				}
			}
			r.check(l)
			t.Logf("%d operations", l.done.Load())
		})
	}
}
