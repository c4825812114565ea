package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// The changes of each scope are numbered, and the newest of them kept: a watch
// reads those of its own scopes, from a place on, and knows whether some are gone.

func logKey(t tx, s Scope) []byte { return t.opaque("changes", s.String()) }

func changeKey(log []byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(log), number)
}

// trimAtMost bounds what one change pays for a limit that was lowered.
const trimAtMost = 512

// note adds a change of the record to its scope's.
func (x *access) note(r *record, kind fsmpb.Change_Kind, version uint64) {
	x.st.changes++
	at := &fsmpb.Position{Index: x.st.index, Number: x.st.changes}
	key := logKey(x.t, r.in.Scope)
	var log fsmpb.ChangeLog
	x.t.get(tableLog, key, &log)
	x.t.set(tableChange, changeKey(key, log.GetNext()), &fsmpb.Change{
		Position: at, Time: x.st.time, Kind: kind, Path: r.path, Scope: r.in.text, Version: version,
	})
	log.Next++
	log.Last = at
	if kept := x.limits.GetChangesKept(); log.GetNext()-log.GetFirst() > kept+min(kept/4, 256) {
		x.trim(key, &log, min(log.GetNext()-kept, log.GetFirst()+trimAtMost))
	}
	x.t.set(tableLog, key, &log)
}

// trim drops the changes before a number: many at a time, since of these only the
// newest one need be read.
func (x *access) trim(key []byte, log *fsmpb.ChangeLog, before uint64) {
	var last fsmpb.Change
	x.t.get(tableChange, changeKey(key, before-1), &last)
	log.Trimmed = last.GetPosition()
	for ; log.GetFirst() < before; log.First++ {
		x.t.del(tableChange, changeKey(key, log.GetFirst()))
	}
}
