package fsm

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// pagePaths is how many paths a page of a scope's directory holds at most.
const pagePaths = 128

// The directory of a scope is an ordered list of pages of paths: a listing by
// prefix reads the pages that it shows, and a put changes one. Paths of records
// that are present are in it, deleted ones too.

func directoryKey(t tx, s Scope) []byte { return t.opaque("directory", s.String()) }

func pageKey(directory []byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(directory), id)
}

// pageFor is the position of the page that path belongs to.
func pageFor(pages []*fsmpb.DirectoryPage, path string) int {
	i, found := slices.BinarySearchFunc(pages, path, func(p *fsmpb.DirectoryPage, path string) int {
		return strings.Compare(p.GetFirst(), path)
	})
	if !found {
		i--
	}
	return i
}

// enlist adds a path that is not there.
func (x *access) enlist(s Scope, path string) {
	key := directoryKey(x.t, s)
	var dir fsmpb.Directory
	if !x.t.get(tableDirectory, key, &dir) {
		dir.Pages, dir.NextPage = []*fsmpb.DirectoryPage{{Id: 0}}, 1
		x.t.set(tableDirectory, key, &dir)
	}
	i := pageFor(dir.GetPages(), path)
	var page fsmpb.Page
	x.t.get(tablePage, pageKey(key, dir.Pages[i].GetId()), &page)
	at, found := slices.BinarySearch(page.GetPaths(), path)
	if found {
		return
	}
	page.Paths = slices.Insert(page.GetPaths(), at, path)
	if len(page.Paths) > pagePaths {
		x.split(key, &dir, i, &page)
	}
	x.t.set(tablePage, pageKey(key, dir.Pages[i].GetId()), &page)
}

// split moves the upper half of a page to a new one.
func (x *access) split(key []byte, dir *fsmpb.Directory, i int, page *fsmpb.Page) {
	half := len(page.Paths) / 2
	upper := &fsmpb.Page{Paths: slices.Clone(page.Paths[half:])}
	page.Paths = page.Paths[:half]
	added := &fsmpb.DirectoryPage{Id: dir.GetNextPage(), First: upper.Paths[0]}
	dir.NextPage++
	dir.Pages = slices.Insert(dir.Pages, i+1, added)
	x.t.set(tablePage, pageKey(key, added.GetId()), upper)
	x.t.set(tableDirectory, key, dir)
}

// unlist removes a path.
func (x *access) unlist(s Scope, path string) {
	key := directoryKey(x.t, s)
	var dir fsmpb.Directory
	if !x.t.get(tableDirectory, key, &dir) {
		return
	}
	i := pageFor(dir.GetPages(), path)
	id := pageKey(key, dir.Pages[i].GetId())
	var page fsmpb.Page
	x.t.get(tablePage, id, &page)
	at, found := slices.BinarySearch(page.GetPaths(), path)
	if !found {
		return
	}
	page.Paths = slices.Delete(page.GetPaths(), at, at+1)
	if len(page.Paths) > 0 {
		x.t.set(tablePage, id, &page)
		return
	}
	x.t.del(tablePage, id)
	dir.Pages = slices.Delete(dir.Pages, i, i+1)
	if len(dir.Pages) == 0 {
		x.t.del(tableDirectory, key)
		return
	}
	dir.Pages[0].First = ""
	x.t.set(tableDirectory, key, &dir)
}
