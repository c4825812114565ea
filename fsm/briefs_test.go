package fsm

import (
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// What is remembered is what was kept last; a full set forgets others, never more. The
// copies of values that nobody remembers are not current.
func TestBriefs(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		c := newCopies(dir, nil)
		if err := c.open(); err != nil {
			t.Fatal(err)
		}
		defer c.close()
		c.from = 0
		b, model := newBriefs(c), map[uint16]uint64{}
		for i := range uint64(rapid.IntRange(1, 200).Draw(t, "steps")) {
			n := rapid.Uint16Range(0, 2*briefSetMost).Draw(t, "record") // all of one set
			key := make([]byte, 32)
			binary.BigEndian.PutUint16(key[8:], n)
			digest := [32]byte{byte(rapid.IntRange(0, 1).Draw(t, "digest"))}
			r := &record{key: key, head: &fsmpb.Head{Version: i + 1, Versions: []*fsmpb.VersionMeta{
				{Version: i + 1, Size: i % 7, Digest: digest[:], RequestId: make([]byte, 16)},
			}}}
			switch rapid.SampledFrom([]string{"keep", "keep", "unusual", "remove"}).Draw(t, "op") {
			case "keep":
				b.keep(r)
				model[n] = i + 1
				if rapid.Bool().Draw(t, "copied") {
					b.copy(valueKey(key, i+1), []byte{byte(i)})
				}
				if g, ok := b.look(key, placed{}, "p"); !ok || g.version.GetVersion() != i+1 {
					t.Fatal("what was just kept is not known")
				}
			case "unusual":
				r.head.DeletedAt = 1
				b.keep(r)
				delete(model, n)
			case "remove":
				b.remove(key)
				delete(model, n)
			}
			g, ok := b.look(key, placed{}, "p")
			if version, known := model[n]; ok && (!known || g.version.GetVersion() != version) {
				t.Fatalf("%d has version %d, not %d (%v)", n, g.version.GetVersion(), version, known)
			}
			if held := len(b.sets[0]); held > briefSetMost {
				t.Fatalf("a set holds %d", held)
			}
			bytes, units := int64(0), 0
			for j := range b.sets[0] {
				bytes, units = bytes+int64(b.sets[0][j].size), units+int(b.sets[0][j].copyUnits)
			}
			if bytes != b.bytes || c.last != nil && units != c.last.current {
				t.Fatalf("%d bytes and %d units are current, not %d and %v", bytes, units, b.bytes, c.last)
			}
		}
	})
}

// A store that opens reads its heads with the entries that come, and a get then
// finds the brief of one that nobody read.
func TestBriefsAreLoaded(t *testing.T) {
	b := newCluster(t)
	for i := range 20 {
		b.one(mainID, put(fmt.Sprint("k/", i), agentScope, "v"), ok)
	}
	b.reopen()
	known := b.store.cache.records.briefs
	for i := 1; !known.whole; i++ {
		if i > 20/briefLoad+1 {
			t.Fatal("heads are left unread")
		}
		b.one(mainID, get("k/3", agentScope, 0), ok)
		if !known.whole && known.loaded != i*briefLoad {
			t.Fatalf("%d heads were read with %d accesses", known.loaded, i)
		}
	}
	for i := range 20 {
		path := fmt.Sprint("k/", i)
		s, _ := parseFullScope(agentScope, td)
		key := b.keys.Opaque(domainRecord, agentScope, path)
		g, found := known.look(key[:], place(s), path)
		if !found || g.version.GetVersion() != 1 {
			t.Fatalf("%s has no brief", path)
		}
	}
}
