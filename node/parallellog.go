package node

import (
	"math"
	"sync"

	"github.com/hashicorp/raft"
)

// So much of a leader's log may be on its way to its disk; what comes then waits.
const (
	aheadEntries = 64
	aheadBytes   = 16 << 20
)

// parallelLog has a leader's disk write entries while the others are sent them (Ongaro,
// Consensus: Bridging Theory and Practice, 10.2.1). Raft begins to send only when
// StoreLogs has returned, and an entry would wait for two syncs in a row.
//
// Raft counts this node's disk from then on, so that its commit index may be ahead of
// the disk. Nothing may come of that: the state machine waits for the disk (wait), and
// what the others are told is cut at it (durable, in transport). So an entry takes
// effect, here and elsewhere, once it is on this disk and on those that make a majority
// with it, as ever; a leader that is killed before has told nobody.
//
// Only commands of a leader are ahead. Every other entry, a configuration above all, and
// whatever a node does that leads no more, waits until its disk has all that came
// before: a follower's word is about its disk.
type parallelLog struct {
	raft.LogStore
	leads func() bool
	run   func(func()) // in a goroutine of its own, which end waits for

	mu      sync.Mutex
	changed sync.Cond // ahead became shorter, or the disk failed
	ahead   []*raft.Log
	size    int // bytes of their data
	writing bool
	failed  error
}

// newParallelLog takes who says whether this node leads: raft, whose main loop alone
// ends a leader's time, and stores and reads the log as what comes after it.
func newParallelLog(store raft.LogStore, leads func() bool, run func(func())) *parallelLog {
	p := &parallelLog{LogStore: store, leads: leads, run: run}
	p.changed.L = &p.mu
	return p
}

// IsMonotonic passes the wrapped store's answer through.
func (p *parallelLog) IsMonotonic() bool { return isMonotonic(p.LogStore) }

func (p *parallelLog) StoreLog(l *raft.Log) error { return p.StoreLogs([]*raft.Log{l}) }

// StoreLogs returns before the entries are on disk where a leader stores commands.
func (p *parallelLog) StoreLogs(logs []*raft.Log) error {
	if !areCommands(logs) || !p.leads() {
		if err := p.wait(math.MaxUint64); err != nil {
			return err
		}
		return p.LogStore.StoreLogs(logs)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.failed == nil && (len(p.ahead) >= aheadEntries || p.size >= aheadBytes) {
		p.changed.Wait()
	}
	if p.failed != nil {
		return p.failed
	}
	p.ahead, p.size = append(p.ahead, logs...), p.size+sizeOfData(logs)
	if !p.writing {
		p.writing = true
		p.run(p.write)
	}
	return nil
}

func areCommands(logs []*raft.Log) bool {
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			return false
		}
	}
	return true
}

func sizeOfData(logs []*raft.Log) (n int) {
	for _, l := range logs {
		n += len(l.Data)
	}
	return n
}

// write stores what is ahead, all that has gathered at once, until nothing is.
func (p *parallelLog) write() {
	for {
		logs := p.next()
		if len(logs) == 0 {
			return
		}
		p.stored(len(logs), p.LogStore.StoreLogs(logs))
	}
}

func (p *parallelLog) next() []*raft.Log {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil || len(p.ahead) == 0 {
		p.writing = false
		p.changed.Broadcast()
		return nil
	}
	return p.ahead[:len(p.ahead):len(p.ahead)]
}

func (p *parallelLog) stored(n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed = err; err == nil {
		p.size -= sizeOfData(p.ahead[:n])
		clear(p.ahead[:n]) // they are parts of futures, with the results
		p.ahead = p.ahead[n:]
	}
	p.changed.Broadcast()
}

// wait returns once no entry up to an index is ahead of the disk, or the disk's error:
// it will never have them.
func (p *parallelLog) wait(index uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ahead) > 0 && p.ahead[0].Index <= index {
		if p.failed != nil {
			return p.failed
		}
		p.changed.Wait()
	}
	return nil
}

// end returns once nothing is written any more.
func (p *parallelLog) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.writing {
		p.changed.Wait()
	}
}

// durable cuts an index at what the disk has.
func (p *parallelLog) durable(index uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ahead) > 0 {
		return min(index, p.ahead[0].Index-1)
	}
	return index
}

// GetLog gives a leader, which sends it, an entry that is ahead. Who follows waits for its
// disk: it tells its leader that it has the entry. Where the disk failed nobody is told
// anything any more, and raft would panic at an error.
func (p *parallelLog) GetLog(index uint64, l *raft.Log) error {
	if !p.leads() {
		_ = p.wait(index)
	}
	if p.isAhead(index, l) {
		return nil
	}
	return p.LogStore.GetLog(index, l)
}

func (p *parallelLog) isAhead(index uint64, l *raft.Log) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ahead) == 0 || index < p.ahead[0].Index || index > p.ahead[len(p.ahead)-1].Index {
		return false
	}
	*l = *p.ahead[index-p.ahead[0].Index]
	return true
}

// LastIndex counts what is ahead.
func (p *parallelLog) LastIndex() (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.ahead); n > 0 {
		return p.ahead[n-1].Index, nil
	}
	return p.LogStore.LastIndex()
}

func (p *parallelLog) DeleteRange(first, last uint64) error {
	if err := p.wait(last); err != nil {
		return err
	}
	return p.LogStore.DeleteRange(first, last)
}
