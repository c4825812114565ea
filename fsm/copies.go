package fsm

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/internal/fault"
)

const (
	copiesDir     = "copies"        // in a store's directory
	copiesFrom    = 2 * cachedBytes // bytes of current values: fewer are in memory
	copyFilesMost = 64              // 4 GiB
	copyLargest   = 64 << 10        // bytes of a copy: beside more, what the database takes to find it is little
)

// copies are files with the current values of a large store, beside the database: to
// read one there is one read, at a place that the record's brief knows, where the
// database looks through the levels of its tables. They are a cache: what is not found in
// them is read from the database, nothing in them is synced, and each file is sealed
// with a key that only this process has, in memory. So they hold nothing for who has
// the disk, whatever was destroyed or whichever key has retired.
//
// Files are written from their beginning to their end; which one is written next, and
// loses what it has, is the one with the fewest copies that are still current. Only
// Apply uses them.
type copies struct {
	dir  string
	log  *slog.Logger
	from int64 // bytes that are current, before any is copied
	off  bool  // none are kept

	files  map[uint32]*copyFile // with copies, by number
	spare  []*os.File           // without
	last   *copyFile            // that is being written
	number uint32               // of last

	taken        atomic.Int64  // files
	reads, other atomic.Uint64 // values that were read from them, and from the database
}

func newCopies(dir string, log *slog.Logger) *copies {
	return &copies{dir: dir, log: log, from: fault.CopiesFrom(copiesFrom), off: true, files: map[uint32]*copyFile{}}
}

// open takes over the files of a process before, as room.
func (c *copies) open() error {
	if err := durable.MakeDir(c.dir); err != nil {
		return fmt.Errorf("open copies: %w", err)
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("open copies: %w", err)
	}
	for _, e := range entries[:min(len(entries), copyFilesMost)] {
		f, err := os.OpenFile(filepath.Join(c.dir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			c.close()
			return fmt.Errorf("open copies: %w", err)
		}
		c.spare = append(c.spare, f)
		c.taken.Add(1)
	}
	c.off = false
	return nil
}

// forget is for a database that takes another's place.
func (c *copies) forget() {
	for _, f := range c.files {
		c.spare = append(c.spare, f.file)
	}
	clear(c.files)
	c.last = nil
}

// close leaves the files to the process that comes.
func (c *copies) close() {
	c.forget()
	for _, f := range c.spare {
		_ = f.Close() // nobody will read it
	}
	c.spare, c.off = nil, true
	c.taken.Store(0)
}

// copyPlace is where a copy lies; zero: nowhere.
type copyPlace struct {
	at    uint32 // number of the file, unit within it
	units uint16
}

func (p copyPlace) file() uint32 { return p.at / copyFileUnits }
func (p copyPlace) unit() uint32 { return p.at % copyFileUnits }

// add copies a row, which opens with that digest alone. It is read from memory until
// flush.
func (c *copies) add(digest, row []byte) copyPlace {
	units := copyUnits(row)
	if c.off || units*copyUnit > copyLargest {
		return copyPlace{}
	}
	if c.last == nil || c.last.used+units > copyFileUnits {
		if err := c.turn(); err != nil {
			c.fail()
			return copyPlace{}
		}
	}
	return copyPlace{c.number*copyFileUnits + c.last.add(digest, row), uint16(units)}
}

// left says that nobody will ask for what lies there any more.
func (c *copies) left(p copyPlace) {
	if f := c.files[p.file()]; f != nil {
		f.current -= int(p.units)
	}
}

// read returns the row that was copied with that digest; nil where it is gone.
func (c *copies) read(p copyPlace, digest []byte) []byte {
	f := c.files[p.file()]
	if f == nil {
		return nil
	}
	return f.read(p.unit(), p.units, digest)
}

// flush writes what was added. What can't be written is no loss, but nothing is copied
// after it.
func (c *copies) flush() {
	if c.last != nil && c.last.flush() != nil {
		c.fail()
	}
}

func (c *copies) fail() {
	c.log.Warn("values are not copied beside the store any more, and gets read them from the store itself, which takes longer: look at the disk")
	c.close()
	_ = durable.RemoveAll(c.dir)
}

// turn begins the next file.
func (c *copies) turn() error {
	if c.last != nil {
		if err := c.last.flush(); err != nil {
			return err
		}
	}
	file, err := c.room()
	if err != nil {
		return err
	}
	next, err := newCopyFile(file)
	if err != nil {
		c.spare = append(c.spare, file)
		return err
	}
	for again := true; again; again = c.files[c.number] != nil {
		c.number = c.number%copyFileNumber + 1
	}
	c.files[c.number], c.last = next, next
	return nil
}

// room is a file to be written: the one with the fewest copies that are current, where
// there are twice as many files as all of those would fill, and two; else one without
// copies.
func (c *copies) room() (*os.File, error) {
	current, least := 0, uint32(0)
	for n, f := range c.files {
		current += f.current
		if fewest := c.files[least]; fewest == nil || f.current < fewest.current || f.current == fewest.current && n < least {
			least = n
		}
	}
	if n := len(c.files); n > 0 && (n == copyFilesMost || n > 1+2*current/copyFileUnits) {
		file := c.files[least].file
		delete(c.files, least)
		return file, nil
	}
	if n := len(c.spare); n > 0 {
		file := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return file, nil
	}
	name := filepath.Join(c.dir, fmt.Sprintf("%02d", c.taken.Load()))
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		c.taken.Add(1)
	}
	return file, err
}

// CopyValues says whether the current values of a large store may be copied to files
// beside it, up to 4 GiB: gets read them from there for less. They may until it is said
// that they may not; then the files that there are go. For one caller at a time.
func (s *Store) CopyValues(may bool) error {
	if s.uncopied.Swap(!may) == !may {
		return nil
	}
	if err := s.switchCopies(may); err != nil || may {
		return err
	}
	return durable.RemoveAll(s.copies.dir)
}

func (s *Store) switchCopies(on bool) error {
	s.apply.Lock()
	defer s.apply.Unlock()
	s.copies.close()
	if s.db == nil || !on {
		return nil
	}
	return s.copies.open()
}

// ValueReads counts the values that were read from copies, and from the store itself.
func (s *Store) ValueReads() (copies, store uint64) {
	return s.copies.reads.Load(), s.copies.other.Load()
}

// CopiesSize is about what the copies of values take on the disk, in bytes.
func (s *Store) CopiesSize() int64 { return s.copies.taken.Load() * copyFileSize }
