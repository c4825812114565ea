package fsm

import (
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// table is the first byte of every key in the store. A released letter keeps
// its meaning for ever; DESIGN.md has the keys behind each.
type table byte

const (
	tableMeta      table = 'm' // one row: fsmpb.Meta
	tableSettings  table = 's' // one row: fsmpb.Settings
	tableMembers   table = 'n' // one row: fsmpb.Members
	tableTokens    table = 't' // one row: fsmpb.Tokens
	tableBlocked   table = 'b' // one row: fsmpb.Blocked
	tableHead      table = 'R' // record key -> fsmpb.Head
	tableValue     table = 'V' // record key + version -> fsmpb.Value
	tableSiblings  table = 'S' // opaque(agent, path) -> fsmpb.Siblings
	tableDirectory table = 'D' // opaque(scope) -> fsmpb.Directory
	tablePage      table = 'P' // directory key + page -> fsmpb.Page
	tableUsage     table = 'U' // opaque(agent or tenant) -> fsmpb.Usage
	tableRequest   table = 'Q' // opaque(caller, request id) -> fsmpb.Remembered, of stores of format 2; a transaction's lie under it, too
	tableBucket    table = 'q' // minute of the end + opaque(caller, request id) -> fsmpb.Remembered
	tableExpiry    table = 'E' // time + opaque -> fsmpb.Expiry
	tableDue       table = 'e' // time + raft index -> fsmpb.RequestDues
	tableRows      table = 'A' // first row index -> fsmpb.RowBlock
	tableIndex     table = 'J' // one row: fsmpb.Index
	tableRun       table = 'X' // tier + first row + posting -> fsmpb.Postings
	tableTile      table = 'T' // level + index -> fsmpb.Tile
	tableKeys      table = 'k' // one row: fsmpb.Keys
	tableReseal    table = 'W' // one row, the node's own: fsmpb.Reseal
	tableLog       table = 'L' // opaque(scope) -> fsmpb.ChangeLog; nothing -> fsmpb.Totals
	tableChange    table = 'C' // log key + number -> fsmpb.Change
	tablePosting   table = 'I' // of stores of format 1: dropped when they open
)

// tx is all that an operation sees of the store: rows by table and key, as they
// stand after the accesses before it. An error of the store is kept by the
// transaction, and nothing of an entry takes effect then; operations need not
// look for it.
type tx interface {
	// get reads a row into m and reports whether it exists.
	get(t table, key []byte, m proto.Message) bool
	// look is a record as it stands. It is shared with other accesses, and must not
	// be changed. Where nothing is in the scope it has no key.
	look(in placed, path string) *record
	// glance is what look shows of the record's current version, for less.
	glance(in placed, path string) *glance
	// take is a record as it stands, of this access alone; what it changes counts once
	// it is saved.
	take(in placed, path string) *record
	save(r *record)
	set(t table, key []byte, m proto.Message)
	del(t table, key []byte)
	// value is the sealed bytes of a version, and the request id of its put, where it has
	// that. They are shared, and must not be changed.
	value(record []byte, version uint64) (sealed, requestID []byte)
	// recall reads what is remembered of a request into m and reports whether anything is.
	recall(key []byte, m *fsmpb.Remembered) bool
	// remember keeps a request until its due is ended.
	remember(key []byte, m *fsmpb.Remembered, due []byte)
	// forget is for a request that is due.
	forget(d due)
	// due is what is to end by that time, the earliest first, at most so many of what
	// was queued before this entry; more of it is left.
	due(by int64, most int) (dues []due, more bool)
	// ended takes dues out of the queue, in its order.
	ended(d due)
	// opaque turns what must not be readable into a key.
	opaque(domain string, parts ...string) []byte
	// err is the first error of the store.
	err() error
}
