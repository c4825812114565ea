package fsm

import (
	"bytes"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// What was written to a table before a sync outlives a crash, in whatever pieces it
// came; and all of it is there once the table is closed.
func TestTableFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := vfs.NewCrashableMem()
		file, err := files{disk}.Create("1.sst", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		root, err := disk.OpenDir("")
		if err != nil || root.Sync() != nil {
			t.Fatal(err)
		}
		var written []byte
		for range rapid.IntRange(1, 8).Draw(t, "writes") {
			piece := bytes.Repeat([]byte{byte(len(written))}, rapid.SampledFrom([]int{1, 4101, tableBuffer, 3*tableBuffer + 1}).Draw(t, "size"))
			written = append(written, piece...)
			if _, err := file.Write(piece); err != nil {
				t.Fatal(err)
			}
			sync := rapid.SampledFrom([]func() error{nil, file.Sync, file.SyncData}).Draw(t, "sync")
			if sync == nil {
				continue
			}
			if err := sync(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(contentOf(t, disk.CrashClone(vfs.CrashCloneCfg{})), written) {
				t.Fatalf("after a crash the table is not what was synced, %d bytes", len(written))
			}
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contentOf(t, disk), written) {
			t.Fatalf("the closed table is not what was written, %d bytes", len(written))
		}
	})
}

func contentOf(t *rapid.T, disk vfs.FS) []byte {
	file, err := disk.Open("1.sst")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
