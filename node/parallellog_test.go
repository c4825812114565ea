package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// behind is a parallel log over a gated disk, of a node that leads as long as told.
func behind(t *testing.T) (p *parallelLog, disk *gatedDisk, leads *atomic.Bool) {
	t.Helper()
	disk, leads = &gatedDisk{LogStore: copied{raft.NewInmemStore()}}, &atomic.Bool{}
	leads.Store(true)
	p = newParallelLog(disk, leads.Load, func(run func()) { go run() })
	t.Cleanup(func() {
		disk.open()
		p.end()
	})
	return p, disk, leads
}

func command(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: fmt.Append(nil, index)}
}

// waits says that do does not return before the disk is open, and then does.
func waits(t *testing.T, what string, disk *gatedDisk, do func() error) {
	t.Helper()
	var opened atomic.Bool
	done := make(chan error, 1)
	go func() {
		err := do()
		if err == nil && !opened.Load() {
			err = errors.New("it did not wait for the disk")
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("%s: %v", what, err)
	case <-time.After(20 * time.Millisecond): // for a mistake to show
	}
	opened.Store(true)
	disk.open()
	if err := <-done; err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestALeaderIsAheadOfItsDisk(t *testing.T) {
	p, disk, leads := behind(t)
	if err := p.StoreLogs([]*raft.Log{{Index: 1, Term: 1, Type: raft.LogNoop}}); err != nil {
		t.Fatal(err)
	}
	disk.shut()
	for i := uint64(2); i <= 4; i++ {
		if err := p.StoreLog(command(i)); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := p.LastIndex(); err != nil || last != 4 {
		t.Errorf("the log ends at %d, %v", last, err)
	}
	for i := uint64(1); i <= 4; i++ {
		var l raft.Log
		if err := p.GetLog(i, &l); err != nil || l.Index != i {
			t.Errorf("entry %d: %+v, %v", i, l, err)
		}
	}
	for given, want := range map[uint64]uint64{0: 0, 1: 1, 2: 1, 4: 1} {
		if got := p.durable(given); got != want {
			t.Errorf("%d is durable up to %d, not %d", given, got, want)
		}
	}
	if err := p.wait(1); err != nil {
		t.Error(err)
	}
	waits(t, "what is applied", disk, func() error { return p.wait(4) })
	if got := p.durable(4); got != 4 {
		t.Errorf("after the write %d is durable", got)
	}
	if got := slices.Concat(disk.writes...); len(disk.writes) > 3 || !slices.Equal(got, []uint64{1, 2, 3, 4}) {
		t.Errorf("what gathers while the disk writes is not written at once, in order: %v", disk.writes)
	}
	for name, do := range map[string]func() error{
		"a configuration": func() error {
			return p.StoreLog(&raft.Log{Index: 6, Term: 1, Type: raft.LogConfiguration})
		},
		"an entry of who follows": func() error {
			leads.Store(false)
			defer leads.Store(true)
			return p.StoreLog(command(6))
		},
		"who follows and looks": func() error {
			leads.Store(false)
			defer leads.Store(true)
			return p.GetLog(5, &raft.Log{})
		},
		"what goes": func() error { return p.DeleteRange(5, 5) },
		"the end":   func() error { p.end(); return nil },
	} {
		disk.shut()
		if err := p.StoreLog(command(5)); err != nil {
			t.Fatal(err)
		}
		waits(t, name, disk, do)
		if err := p.DeleteRange(5, 6); err != nil {
			t.Fatal(err)
		}
	}
}

func TestALeaderIsNotFarAhead(t *testing.T) {
	for name, l := range map[string]func(i uint64) *raft.Log{
		"entries": command,
		"bytes": func(i uint64) *raft.Log {
			return &raft.Log{Index: i, Type: raft.LogCommand, Data: make([]byte, aheadBytes/2)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, disk, _ := behind(t)
			disk.shut()
			next := uint64(1)
			for ; len(p.ahead) < aheadEntries && p.size < aheadBytes; next++ {
				if err := p.StoreLog(l(next)); err != nil {
					t.Fatal(err)
				}
			}
			waits(t, "what is too much", disk, func() error { return p.StoreLog(l(next)) })
		})
	}
}

func TestADiskThatFailsBehindALeader(t *testing.T) {
	p, disk, leads := behind(t)
	disk.shut()
	if err := p.StoreLog(command(1)); err != nil {
		t.Fatal(err)
	}
	disk.powerCut()
	disk.open()
	if err := p.wait(1); !errors.Is(err, errPower) {
		t.Errorf("what is applied: %v", err)
	}
	if err := p.StoreLog(command(2)); !errors.Is(err, errPower) {
		t.Errorf("the next entry: %v", err)
	}
	leads.Store(false)
	if err := p.StoreLog(command(1)); !errors.Is(err, errPower) {
		t.Errorf("an entry of another leader: %v", err)
	}
	if got := p.durable(1); got != 0 {
		t.Errorf("%d is durable", got)
	}
	p.end()
}

func TestParallelLogKeepsNoFutures(t *testing.T) {
	type future struct {
		log    raft.Log
		result []byte
	}
	p, _, _ := behind(t)
	f := &future{*command(1), make([]byte, 1<<20)}
	kept := weak.Make(f)
	if err := p.StoreLog(&f.log); err != nil {
		t.Fatal(err)
	}
	f = nil
	if err := p.wait(1); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if kept.Value() != nil {
		t.Error("the result of an entry stays in memory")
	}
}

// What others are told of is on this node's disk.
func TestCommitsAreToldOnceTheyAreDurable(t *testing.T) {
	p, disk, _ := behind(t)
	trans, peer := transport{NetworkTransport: loopbackTransport(t), log: p}, loopbackTransport(t)
	told := make(chan uint64)
	go func() {
		for rpc := range peer.Consumer() {
			a, _ := rpc.Command.(*raft.AppendEntriesRequest)
			rpc.Respond(&raft.AppendEntriesResponse{}, nil)
			told <- a.LeaderCommitIndex
		}
	}()
	pipe, err := trans.AppendEntriesPipeline("n2", peer.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pipe.Close() }()
	request := func() *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("x")}, Term: 3, PrevLogEntry: 1, LeaderCommitIndex: 2,
		}
	}
	if err := errors.Join(p.StoreLog(command(1)), p.wait(1)); err != nil {
		t.Fatal(err)
	}
	disk.shut()
	if err := p.StoreLog(command(2)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{1, 2} {
		sent := make(chan error, 1)
		go func() { sent <- trans.AppendEntries("n2", peer.LocalAddr(), request(), &raft.AppendEntriesResponse{}) }()
		if got := <-told; got != want {
			t.Errorf("a call told of %d, not %d", got, want)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if _, err := pipe.AppendEntries(request(), &raft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
		if got := <-told; got != want {
			t.Errorf("a pipeline told of %d, not %d", got, want)
		}
		<-pipe.Consumer()
		disk.open()
		if err := p.wait(2); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerCutOfALeaderThatIsAhead: raft counts an entry as committed that the leader
// sent to one follower and has not on its own disk. The leader's power goes, the
// follower is away, and the other two begin a history without that entry: it must not
// have taken effect anywhere.
func TestPowerCutOfALeaderThatIsAhead(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		g, disks := gatedGroup(t, store)
		leader := g.leader()
		var followers []string
		for _, id := range []string{"n1", "n2", "n3"} {
			if id != leader.cfg.ID {
				followers = append(followers, id)
			}
		}
		g.must(g.put(leader, "before"))
		g.until("all to have it", func() bool {
			at := leader.Store().AppliedIndex()
			return g.node(followers[0]).Store().AppliedIndex() == at && g.node(followers[1]).Store().AppliedIndex() == at
		})
		applied := leader.Store().AppliedIndex()
		g.stop(followers[1])
		disks[leader.cfg.ID].shut()
		answer := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, _, err := leader.Do(ctx, []*fsmpb.Access{{
				Caller: agentID, Svid: fsmpb.SVIDKind_SVID_KIND_X509, Expires: time.Now().Add(time.Hour).UnixNano(),
				Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "before"}},
			}})
			answer <- err
		}()
		r := leader.raft.Load()
		g.until("raft to count it as committed", func() bool { return r.CommitIndex() > applied && r.Stats()["fsm_pending"] == "0" })
		ahead := r.CommitIndex()
		stays := g.node(followers[0])
		told := stays.raft.Load().LastContact()
		g.until("the follower to hear of it", func() bool {
			last, err := stays.logs.LastIndex()
			return err == nil && last == ahead && stays.raft.Load().LastContact().Sub(told) > 5*stays.cfg.Timers.Commit
		})
		for _, n := range []*Node{leader, stays} {
			if got := n.Store().AppliedIndex(); got != applied {
				t.Errorf("%s has applied %d, which one disk alone has", n.cfg.ID, got)
			}
		}
		disks[leader.cfg.ID].powerCut()
		disks[leader.cfg.ID].open()
		if err := <-answer; !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("the caller was told %v", err)
		}
		g.stop(leader.cfg.ID)
		g.stop(followers[0])
		for _, id := range []string{leader.cfg.ID, followers[1]} {
			g.start(id, false, false)
		}
		for _, path := range []string{"after", "that"} {
			g.must(g.put(g.leader(), path))
		}
		g.start(followers[0], false, false)
		g.agree()
	})
}
