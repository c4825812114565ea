package fsm

import (
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	cachedRecords  = 16 << 10 // of a generation
	cachedScopes   = 4 << 10
	cachedVersions = 4 // a record with more is read anew: the cache stays below some dozens of MiB
)

// recordCache holds records as the next access finds them, so that a get neither
// hashes nor decodes; and of scopes, whether anything is in them: mostly nothing is
// in the one of a process. Only Apply uses it. An entry that fails leaves it wrong,
// and the store stops then.
type recordCache struct {
	records *generations[recordID, *record]
	empty   *generations[string, bool] // by the text of the scope
}

type recordID struct{ scope, path string }

func newRecordCache() *recordCache {
	return &recordCache{newGenerations[recordID, *record](cachedRecords), newGenerations[string, bool](cachedScopes)}
}

func (c *recordCache) look(t tx, in placed, path string) *record {
	if c.nothingIn(t, in) {
		return &record{in: in, path: path}
	}
	id := recordID{in.text, path}
	if r, ok := c.records.get(id); ok {
		return r
	}
	r := readRecord(t, in, path)
	if len(r.head.GetVersions()) <= cachedVersions {
		c.records.add(id, r)
	}
	return r
}

// nothingIn: the scope has no directory.
func (c *recordCache) nothingIn(t tx, in placed) bool {
	empty, ok := c.empty.get(in.text)
	if !ok {
		empty = !t.get(tableDirectory, directoryKey(t, in.Scope), &fsmpb.Directory{})
		c.empty.add(in.text, empty)
	}
	return empty
}

// changed forgets what a row that is written, or deleted, says otherwise.
func (c *recordCache) changed(t table, m proto.Message) {
	switch t {
	case tableHead:
		h, _ := m.(*fsmpb.Head)
		c.records.remove(recordID{h.GetScope(), h.GetPath()})
	case tableDirectory:
		c.empty.clear()
	}
}
