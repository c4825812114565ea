package node

import (
	"github.com/hashicorp/raft-wal/types"
)

// walSegments opens the segments of a raft-wal. Version 0.4.0 seals a segment
// whose end was truncated without writing its index, and can't read it when it is
// opened again (hashicorp/raft-wal#31): such a segment is read through, as the one
// that is written to is. Its entries were synced before; what is behind the last
// one that counts is never asked for.
type walSegments struct{ types.SegmentFiler }

func (s walSegments) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart == 0 {
		return s.RecoverTail(info)
	}
	return s.SegmentFiler.Open(info)
}
