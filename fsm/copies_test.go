package fsm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestCopies: what is found is what was copied there with that digest; what was copied
// is found until its file is another's; and there are no more files than twice what is
// current would fill, and two.
func TestCopies(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		c := newCopies(dir, slog.New(slog.DiscardHandler))
		if err := c.open(); err != nil {
			rt.Fatal(err)
		}
		defer c.close()
		c.number = uint32(rapid.SampledFrom([]int{0, copyFileNumber - 2}).Draw(rt, "number"))
		type copied struct {
			place       copyPlace
			row, digest []byte
		}
		var known []copied
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "op") {
			case 0:
				c.flush()
			case 1: // the file is nearly full
				if c.flush(); c.last != nil {
					c.last.used = max(c.last.used, copyFileUnits-rapid.IntRange(0, 3).Draw(rt, "free"))
				}
			case 2:
				if len(known) > 0 {
					j := rapid.IntRange(0, len(known)-1).Draw(rt, "left")
					c.left(known[j].place)
					known = append(known[:j], known[j+1:]...)
				}
			case 3:
				if rapid.IntRange(0, 9).Draw(rt, "restored") == 0 {
					c.forget()
					known = nil
				}
			default:
				row := bytes.Repeat([]byte{byte(i)}, rapid.SampledFrom([]int{0, 40, 44, 45, 1000, copyLargest}).Draw(rt, "size"))
				digest := sha256.Sum256(fmt.Append(row, i))
				if p := c.add(digest[:], row); (p == copyPlace{}) != (len(row) == copyLargest) {
					rt.Fatalf("%d bytes lie at %v", len(row), p)
				} else if p != (copyPlace{}) {
					known = append(known, copied{p, row, digest[:]})
				}
			}
			current := 0
			for _, k := range known {
				row, kept := c.read(k.place, k.digest), c.files[k.place.file()] != nil
				if kept {
					current += int(k.place.units)
				}
				if kept != (row != nil) || row != nil && !bytes.Equal(row, k.row) {
					rt.Fatalf("%d bytes at %v are read as %d, kept %v", len(k.row), k.place, len(row), kept)
				}
				if c.read(k.place, known[0].digest) != nil && !bytes.Equal(k.digest, known[0].digest) {
					rt.Fatal("a copy opens with another's digest")
				}
			}
			counted := 0
			for _, f := range c.files {
				counted += f.current
			}
			if counted != current {
				rt.Fatalf("%d units are counted as current, %d are", counted, current)
			}
			if n := len(c.files); n > 2+2*current/copyFileUnits+1 || int64(n+len(c.spare)) != c.taken.Load() {
				rt.Fatalf("%d files, %d without copies, of %d, for %d units", n, len(c.spare), c.taken.Load(), current)
			}
		}
	})
}

// full lets the next copy go to the next file.
func (c *copies) full() {
	c.flush()
	c.last.used = copyFileUnits
}

// The file that is written anew is the one with the fewest current copies, under a number that no
// other has.
func TestCopiesMakeRoom(t *testing.T) {
	c := newCopies(t.TempDir(), slog.New(slog.DiscardHandler))
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	defer c.close()
	digest, row := make([]byte, 32), make([]byte, 1000)
	kept := c.add(digest, row)
	c.full()
	left := c.add(digest, row)
	c.left(left)
	c.full()
	c.number = copyFileNumber // the next is the first again, which is taken
	next := c.add(digest, row)
	if kept.file() != 1 || left.file() != 2 || next.file() != 2 {
		t.Fatalf("copies are in files %d, %d and %d", kept.file(), left.file(), next.file())
	}
	if c.read(kept, digest) == nil || c.read(left, digest) != nil && left != next || c.read(next, digest) == nil {
		t.Error("what is current is gone, or what is gone is read")
	}
	if n := c.taken.Load(); n != 2 {
		t.Errorf("%d files", n)
	}
}

// What a file has lost, or was altered, is not there.
func TestDamagedCopies(t *testing.T) {
	c := newCopies(t.TempDir(), slog.New(slog.DiscardHandler))
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	defer c.close()
	digest := make([]byte, 32)
	p := c.add(digest, make([]byte, 1000))
	c.flush()
	for name, damage := range map[string]func() error{
		"a long one": func() error { _, err := c.last.file.WriteAt(bytes.Repeat([]byte{0xff}, 8), 0); return err },
		"no one":     func() error { _, err := c.last.file.WriteAt(make([]byte, 1088), 0); return err },
		"an end":     func() error { return c.last.file.Truncate(100) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if row := c.read(p, digest); row != nil {
			t.Errorf("%s: %x", name, row)
		}
	}
}

// copying is a cluster that copies values from the first one on.
func copying(t *testing.T) *bench {
	b := newCluster(t)
	b.store.copies.from = 0
	return b
}

// cold forgets what is in memory of values.
func (b *bench) cold() {
	b.store.cache.rows.clear()
	b.store.cache.records.records.clear()
}

// released gets secret k, and reports whether a copy was read.
func (b *bench) released(want string) (copied bool) {
	b.t.Helper()
	b.cold()
	copies, store := b.store.ValueReads()
	s := b.one(mainID, get("k", agentScope, 0), ok).GetSecret()
	if digest := sha256.Sum256(s.GetSealed()); string(s.GetSealed()) != "sealed "+want || !bytes.Equal(digest[:], s.GetDigest()) {
		b.t.Fatalf("it is %q", s.GetSealed())
	}
	c, o := b.store.ValueReads()
	if c-copies+o-store != 1 {
		b.t.Fatalf("%d copies and %d rows were read", c-copies, o-store)
	}
	return c > copies
}

func TestGetsReadCopies(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("k", agentScope, "small"), ok)
	if copied := b.released("small"); copied || b.released("small") {
		t.Error("a small store's value is copied")
	}
	b = copying(t)
	b.one(mainID, put("k", agentScope, "first"), ok)
	if !b.released("first") {
		t.Error("what was put is not read from a copy")
	}
	b.do(b.access(mainID, put("k", agentScope, "second")), b.access(mainID, put("k", agentScope, "third")))
	if !b.released("third") {
		t.Error("what was put last is not read from a copy")
	}
	if s := b.one(mainID, get("k", agentScope, 2), ok).GetSecret(); string(s.GetSealed()) != "sealed second" {
		t.Errorf("version 2 is %q", s.GetSealed())
	}
	b.one(mainID, destroy("k", agentScope, 3), ok)
	b.one(mainID, get("k", agentScope, 0), missing)
	b.one(mainID, put("k", agentScope, "fourth"), ok)
	b.one(mainID, del("k", agentScope), ok)
	b.one(mainID, undel("k", agentScope), ok)
	for i, copied := range []bool{false, true} { // the first reading makes the copy
		if b.released("fourth") != copied {
			t.Errorf("after the undelete, reading %d: a copy %v", i, !copied)
		}
	}
	files, err := filepath.Glob(filepath.Join(b.store.cfg.Dir, copiesDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v", files, err)
	}
	if data, err := os.ReadFile(files[0]); err != nil || len(data) == 0 || bytes.Contains(data, []byte("sealed")) {
		t.Errorf("%d bytes, %v: a copy can be read", len(data), err)
	}
}

// A store that opens or is restored has no copies, and makes them as it is read, in
// the files that there are.
func TestCopiesOfAStoreThatOpens(t *testing.T) {
	b := copying(t)
	b.one(mainID, put("k", agentScope, "v"), ok)
	again := func(what string) {
		b.store.copies.from = 0
		for i, copied := range []bool{false, true} {
			if b.released("v") != copied {
				t.Errorf("%s, reading %d: a copy %v", what, i, !copied)
			}
		}
		if n := b.store.CopiesSize(); n != copyFileSize {
			t.Errorf("%s: copies take %d bytes", what, n)
		}
	}
	b.reopen()
	again("opened")
	check := filepath.Join(t.TempDir(), "check")
	if _, err := b.store.Checkpoint(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Restore(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	if len(b.store.copies.files) != 0 {
		t.Error("copies of the replaced store are kept")
	}
	again("restored")
}

// Without copies a get costs more, and answers.
func TestStoreWithoutCopies(t *testing.T) {
	inTheWay := func(b *bench) { // a file where the directory was
		dir := filepath.Join(b.store.cfg.Dir, copiesDir)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, lose := range map[string]func(b *bench){
		"a file is gone": func(b *bench) {
			if err := b.store.copies.last.file.Close(); err != nil {
				t.Fatal(err)
			}
			b.one(mainID, put("other", agentScope, "v"), ok)
		},
		"there is no room": func(b *bench) {
			inTheWay(b)
			b.store.copies.last.used = copyFileUnits
			b.one(mainID, put("other", agentScope, "v"), ok)
		},
		"none are to be kept": func(b *bench) {
			if err := b.store.CopyValues(false); err != nil {
				t.Fatal(err)
			}
		},
		"it does not open": func(b *bench) {
			if err := b.store.Close(); err != nil {
				t.Fatal(err)
			}
			inTheWay(b)
			b.open(b.store.cfg.Dir)
			b.store.copies.from = 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := copying(t)
			b.one(mainID, put("k", agentScope, "v"), ok)
			if !b.released("v") {
				t.Fatal("no copy was read")
			}
			lose(b)
			for range 2 {
				if b.released("v") {
					t.Error("a copy was read")
				}
			}
			if n := b.store.CopiesSize(); n != 0 {
				t.Errorf("copies take %d bytes", n)
			}
			if _, err := os.Stat(filepath.Join(b.store.cfg.Dir, copiesDir)); err == nil {
				t.Error("the files are left")
			}
			_ = b.store.CopyValues(false)
			if err := b.store.CopyValues(true); err != nil {
				t.Fatal(err)
			}
			for i, copied := range []bool{false, true} {
				if b.released("v") != copied {
					t.Errorf("reading %d once they may be kept: a copy %v", i, !copied)
				}
			}
		})
	}
}

// A copy is of one sealed value: a rewrap leaves the version, and changes that.
func TestCopyOfARewrap(t *testing.T) {
	b := copying(t)
	b.one(mainID, put("k", agentScope, "v"), ok)
	key := b.keys.Opaque(domainRecord, agentScope, "k")
	briefs := b.store.cache.records.briefs
	if briefs.copied(valueKey(key[:], 1)) == nil {
		t.Fatal("there is no copy")
	}
	briefs.keep(&record{key: key[:], head: &fsmpb.Head{Version: 1, Versions: []*fsmpb.VersionMeta{
		{Version: 1, Digest: bytes.Repeat([]byte{7}, 32), RequestId: make([]byte, 16)},
	}}})
	if briefs.copied(valueKey(key[:], 1)) != nil {
		t.Error("a value that was changed is read from the copy of what it was")
	}
}
