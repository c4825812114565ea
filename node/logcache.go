package node

import "github.com/hashicorp/raft"

// raftLogCache is how many entries followers are sent from memory: more than raft
// sends at a time.
const raftLogCache = 128

// logCache is raft's cache of the newest entries, of copies: what the leader stores is
// a part of the future of who waits for it, and who keeps that keeps the results too,
// the values of all gets of that many entries.
type logCache struct{ *raft.LogCache }

func newLogCache(store raft.LogStore) (logCache, error) {
	cache, err := raft.NewLogCache(raftLogCache, store)
	return logCache{cache}, err
}

func (c logCache) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

func (c logCache) StoreLogs(logs []*raft.Log) error {
	copies := make([]*raft.Log, len(logs))
	for i, l := range logs {
		one := *l
		copies[i] = &one
	}
	return c.LogCache.StoreLogs(copies)
}
