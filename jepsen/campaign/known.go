package campaign

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/check"
)

const logTail = 4096

// knownBug is one of a library that a node can't avoid, and names with advice
// when it meets it: the README's table has more. A run does as the advice says,
// and counts it.
type knownBug struct {
	name, logStore string
	says           []byte // at the end of the node's log
}

var knownBugs = []knownBug{
	{"raft-wal#31", "wal", []byte("sealed segment has no index block")},
}

// remedy follows the advice of nodes that met a known bug.
type remedy struct {
	run *run

	mu     sync.Mutex
	ctx    context.Context // of the load; nil: it has not begun
	ruin   func()          // ends the load
	met    map[string]bool // nodes
	ruined string          // the bug that took a majority at once
	wg     sync.WaitGroup
}

func (m *remedy) start(ctx context.Context, ruin func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ctx, m.ruin = ctx, ruin
}

// exited looks at the last words of a node that ended by itself.
func (m *remedy) exited(id string) {
	m.mu.Lock()
	begun := m.ctx != nil
	m.mu.Unlock()
	if !begun { // a cluster that is being made
		return
	}
	n := m.run.cluster.Node(id)
	if n == nil {
		return
	}
	for _, bug := range knownBugs {
		if bug.logStore == m.run.plan.LogStore && bytes.Contains(tail(n.LogFile()), bug.says) {
			m.meet(n, bug)
		}
	}
}

func (m *remedy) meet(n *arena.Node, bug knownBug) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.met[n.ID] {
		return
	}
	m.met[n.ID] = true
	m.run.timeline.Mark("known", bug.name, n.ID)
	gone := len(m.run.cluster.Unsettled()) // for good, and voters still
	if voters := len(m.run.cluster.Members()) + gone; gone+1 > (voters-1)/2 {
		m.ruined = fmt.Sprintf("%s took a majority: nothing was checked that needs the cluster", bug.name)
		m.ruin()
		return
	}
	n.Abandon()
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		if err := m.run.cluster.Settle(m.ctx); err != nil {
			m.run.timeline.Mark("known", bug.name, n.ID+" is not replaced yet: "+err.Error())
		}
	}()
}

func (m *remedy) hopeless() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ruined != ""
}

// wait returns once all advice was followed; the result says what was met.
func (m *remedy) wait() (check.Result, bool) {
	m.wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	res := check.Result{Name: "known bugs", Checked: len(m.met), Note: m.ruined}
	return res, m.ruined != ""
}

func tail(file string) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	buf := make([]byte, min(info.Size(), logTail))
	if _, err := f.ReadAt(buf, info.Size()-int64(len(buf))); err != nil {
		return nil
	}
	return buf
}
