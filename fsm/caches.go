package fsm

import (
	"encoding/binary"
	"errors"

	"github.com/hexrdev/hexrd/seal"
)

const (
	cachedBytes = 8 << 20 // of a generation's rows
	cachedSize  = 2 << 10 // larger rows are not cached
)

// rowCache holds opened rows as they stand in the database; nil for rows that
// do not exist. Only Apply uses it.
type rowCache = generations[string, []byte]

// caches outlive a transaction.
type caches struct {
	rows    *rowCache
	records *recordCache
	opaques *opaqueCache

	postedCallers, postedPaths *postedKeys

	sealer *seal.RowSealer // of the last batch
	// These are of the database that is open.
	requests *requests
	due      dueFrom
}

func newCaches(c *copies) *caches {
	return &caches{
		rows: newGenerations[string](cachedBytes, sizeOfRow), records: newRecordCache(c), opaques: newOpaqueCache(),
		postedCallers: newPostedKeys(postedCaller), postedPaths: newPostedKeys(postedPath), requests: newRequests(),
	}
}

// load reads, before an entry, some more of what a store that opened holds.
func (c *caches) load(r reader, accesses int) error {
	return errors.Join(c.requests.filter.load(r, c.requests.swept), c.records.briefs.load(r, accesses))
}

// sizeOfRow counts about what a cached row takes beside its bytes, too.
func sizeOfRow(row []byte) int { return 128 + len(row) }

// cacheable leaves out rows that Apply writes and does not read again, and heads, whose
// records are cached.
func cacheable(t table) bool {
	switch t {
	case tableHead, tableRows, tableRun, tableIndex, tableTile, tableExpiry, tableValue, tableMeta, tableChange:
		return false
	}
	return true
}

// read takes in a row that was read, where it is worth its place. Nobody asks for a
// head's again, and mostly not for a value of a large store.
func (c *caches) read(full, row []byte) {
	if len(row) > cachedSize {
		return
	}
	switch table(full[0]) {
	case tableHead:
	case tableValue:
		c.rows.offer(binary.BigEndian.Uint64(full[1:]), string(full), row)
	default:
		c.rows.add(string(full), row)
	}
}
