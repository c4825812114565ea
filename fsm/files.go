package fsm

import (
	"bufio"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/hexrdev/hexrd/internal/durable"
)

// tableBuffer is what of a table is written at once. Pebble writes a block of 4 KiB at a
// time, which costs the kernel four times as much for each byte.
const tableBuffer = 64 << 10

// files is the file system of the store's database: tables are written in larger
// pieces, and removed so that the raft log's syncs don't wait for it.
type files struct{ vfs.FS }

func (f files) Remove(name string) error { return durable.Remove(name) }
func (f files) Unwrap() vfs.FS           { return f.FS }

func (f files) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	if err != nil || filepath.Ext(name) != ".sst" {
		return file, err
	}
	return &tableFile{file, bufio.NewWriterSize(file, tableBuffer)}, nil
}

// tableFile is a table that is being written. Nobody reads it before it is closed.
type tableFile struct {
	vfs.File
	buffer *bufio.Writer
}

func (t *tableFile) Write(p []byte) (int, error) { return t.buffer.Write(p) }

func (t *tableFile) Sync() error     { return t.flushed(t.File.Sync) }
func (t *tableFile) SyncData() error { return t.flushed(t.File.SyncData) }

func (t *tableFile) SyncTo(length int64) (full bool, err error) {
	err = t.flushed(func() error {
		full, err = t.File.SyncTo(length)
		return err
	})
	return full, err
}

func (t *tableFile) Close() error {
	err := t.buffer.Flush()
	if closeErr := t.File.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (t *tableFile) flushed(fn func() error) error {
	if err := t.buffer.Flush(); err != nil {
		return err
	}
	return fn()
}
