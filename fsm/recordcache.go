package fsm

import (
	"encoding/binary"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	cachedVersions = 16 << 10 // of a generation's records, each and its versions: some MiB
	cachedScopes   = 4 << 10  // of a generation
)

// recordCache holds records as the next access finds them, so that a get neither
// hashes nor decodes; a brief of many more; and of scopes, whether anything is in
// them: mostly nothing is in the one of a process. Only Apply uses it. An entry that
// fails leaves it wrong, and the store stops then.
type recordCache struct {
	records *generations[recordID, *cached]
	briefs  *briefs
	empty   *generations[string, bool] // by the text of the scope
}

type recordID struct{ scope, path string }

// cached is what was asked for of a record: itself, a glance at it, or both.
type cached struct {
	record *record
	glance *glance
}

func newRecordCache(c *copies) *recordCache {
	return &recordCache{newGenerations[recordID](cachedVersions, weightOf), newBriefs(c), newGenerations[string, bool](cachedScopes, nil)}
}

func (c *recordCache) look(t tx, in placed, path string) *record {
	if c.nothingIn(t, in) {
		return &record{in: in, path: path}
	}
	if known, ok := c.records.get(recordID{in.text, path}); ok && known.record != nil {
		return known.record
	}
	r := readRecord(t, in, path)
	c.keep(r)
	return r
}

// glance is look(...).at(0). again: whoever looks does so once more, which counts then.
func (c *recordCache) glance(t tx, in placed, path string, again bool) *glance {
	if c.nothingIn(t, in) {
		return &glance{}
	}
	id := recordID{in.text, path}
	known, ok := c.records.get(id)
	if !ok {
		key := recordKey(t, in, path)
		if g, ok := c.briefs.look(key, in, path); ok {
			if !again {
				c.records.offer(binary.BigEndian.Uint64(key), id, &cached{glance: g})
			}
			return g
		}
		known = c.keep(readRecord(t, in, path))
	}
	if known.glance == nil {
		known.glance = known.record.at(0)
	}
	return known.glance
}

// take is look for a record that is changed: the cache forgets it until keep.
func (c *recordCache) take(t tx, in placed, path string) *record {
	id := recordID{in.text, path}
	known, ok := c.records.get(id)
	if !ok || known.record == nil {
		return readRecord(t, in, path)
	}
	c.records.remove(id)
	return known.record
}

func (c *recordCache) keep(r *record) *cached {
	known := &cached{record: r}
	c.records.add(recordID{r.in.text, r.path}, known)
	c.briefs.keep(r)
	return known
}

func weightOf(c *cached) int {
	if c.record == nil {
		return 1
	}
	return 1 + len(c.record.head.GetVersions())
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

// changed forgets what a row that is written, or deleted, says otherwise. Heads are
// written by save alone, which keeps the record.
func (c *recordCache) changed(t table) {
	if t == tableDirectory {
		c.empty.clear()
	}
}
