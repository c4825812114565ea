package node

import (
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

var errPower = errors.New("the power is gone")

// gatedDisk is a log whose writes of commands wait while it is shut.
type gatedDisk struct {
	raft.LogStore

	mu     sync.Mutex
	gate   chan struct{} // nil: open
	cut    bool
	writes [][]uint64
}

func (d *gatedDisk) IsMonotonic() bool { return isMonotonic(d.LogStore) }

func (d *gatedDisk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *gatedDisk) StoreLogs(logs []*raft.Log) error {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil && areCommands(logs) {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		return errPower
	}
	var indexes []uint64
	for _, l := range logs {
		indexes = append(indexes, l.Index)
	}
	d.writes = append(d.writes, indexes)
	return d.LogStore.StoreLogs(logs)
}

// shut has writes of commands wait until open.
func (d *gatedDisk) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
}

func (d *gatedDisk) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate != nil {
		close(d.gate)
		d.gate = nil
	}
}

func (d *gatedDisk) powerCut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = true
}

// gatedGroup is a group of voters, each with a disk that can be shut.
func gatedGroup(t *testing.T, store string) (*group, map[string]*gatedDisk) {
	t.Helper()
	g, disks := newGroup(t, store), map[string]*gatedDisk{}
	g.disk = func(id string, logs raft.LogStore) raft.LogStore {
		disks[id] = &gatedDisk{LogStore: logs}
		return disks[id]
	}
	g.voters()
	return g, disks
}
