package fsm

import (
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	cachedVersions = 64 << 10 // of a generation's records, each and its versions: it stays below some dozens of MiB
	cachedScopes   = 4 << 10  // of a generation
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
	return &recordCache{newGenerations[recordID](cachedVersions, weightOf), newGenerations[string, bool](cachedScopes, nil)}
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
	c.keep(r)
	return r
}

// take is look for a record that is changed: the cache forgets it until keep.
func (c *recordCache) take(t tx, in placed, path string) *record {
	id := recordID{in.text, path}
	r, ok := c.records.get(id)
	if !ok {
		return readRecord(t, in, path)
	}
	c.records.remove(id)
	r.settled = false
	return r
}

func (c *recordCache) keep(r *record) {
	r.settle()
	c.records.add(recordID{r.in.text, r.path}, r)
}

func weightOf(r *record) int { return 1 + len(r.head.GetVersions()) }

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
