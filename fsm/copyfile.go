package fsm

import (
	"encoding/binary"
	"os"

	"github.com/hexrdev/hexrd/seal"
)

const (
	copyUnit       = 64       // bytes: a copy begins at a multiple
	copyFileSize   = 64 << 20 // bytes
	copyFileUnits  = copyFileSize / copyUnit
	copyFileNumber = 1<<32/copyFileUnits - 1 // the last; 0 is none
	copyHead       = 4                       // bytes: how long is what follows
	copyBuffer     = 1 << 20                 // bytes that are kept from entry to entry
)

// copyFile is one of the files of copies, with the key of what is in it now.
type copyFile struct {
	file    *os.File
	key     *seal.Ephemeral
	used    int    // units
	current int    // of them: some brief has their place
	buf     []byte // the last of what is used, not written yet
}

func newCopyFile(file *os.File) (*copyFile, error) {
	key, err := seal.NewEphemeral()
	return &copyFile{file: file, key: key}, err
}

// copyUnits is how much a copy of the row takes.
func copyUnits(row []byte) int {
	return (copyHead + len(row) + seal.EphemeralOverhead + copyUnit - 1) / copyUnit
}

// add appends a copy, and returns its first unit.
func (f *copyFile) add(digest, row []byte) (unit uint32) {
	units := copyUnits(row)
	unit = uint32(f.used)
	end := len(f.buf) + units*copyUnit
	f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(len(row)+seal.EphemeralOverhead))
	f.buf = f.key.Seal(f.buf, uint64(unit), digest, row)
	f.buf = append(f.buf, make([]byte, end-len(f.buf))...)
	f.used += units
	f.current += units
	return unit
}

// read returns the row that was copied there with that digest; nil: another, or it can't
// be read.
func (f *copyFile) read(unit uint32, units uint16, digest []byte) []byte {
	b := make([]byte, int(units)*copyUnit)
	at, written := int64(unit)*copyUnit, int64(f.used)*copyUnit-int64(len(f.buf))
	if at >= written {
		copy(b, f.buf[min(at-written, int64(len(f.buf))):])
	} else if _, err := f.file.ReadAt(b, at); err != nil {
		return nil
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n > int64(len(b)-copyHead) {
		return nil
	}
	row, err := f.key.Open(b[copyHead:][:n], uint64(unit), digest)
	if err != nil {
		return nil
	}
	return row
}

func (f *copyFile) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, err := f.file.WriteAt(f.buf, int64(f.used)*copyUnit-int64(len(f.buf)))
	if f.buf = f.buf[:0]; cap(f.buf) > copyBuffer {
		f.buf = nil
	}
	return err
}
