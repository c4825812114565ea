package lazyfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// inode is a file of the model.
type inode struct{ now, synced string }

// tree is a directory of the model: names to files.
type tree map[string]*inode

// modelled is a disk beside a model of it: two directories of files.
type modelled struct {
	disk
	now, synced map[string]tree
	pending     []modelCall
}

// modelCall changed these names ("dir/name").
type modelCall map[string]*inode // nil: removed

func (m *modelled) split(path string) (dir, name string) {
	dir, name, _ = strings.Cut(path, "/")
	return dir, name
}

func (m *modelled) set(trees map[string]tree, path string, i *inode) {
	dir, name := m.split(path)
	if i == nil {
		delete(trees[dir], name)
	} else {
		trees[dir][name] = i
	}
}

func (m *modelled) get(path string) *inode {
	dir, name := m.split(path)
	return m.now[dir][name]
}

func (m *modelled) did(c modelCall) {
	for path, i := range c {
		m.set(m.now, path, i)
	}
	m.pending = append(m.pending, c)
}

// syncDir keeps the calls about a directory, with those that changed the same
// names before.
func (m *modelled) syncedDir(dir string) {
	keep := make([]bool, len(m.pending))
	for again := true; again; {
		again = false
		for i, c := range m.pending {
			about := false
			for path := range c {
				about = about || strings.HasPrefix(path, dir+"/")
				for j := i + 1; j < len(m.pending); j++ {
					_, same := m.pending[j][path]
					about = about || same && keep[j]
				}
			}
			if about && !keep[i] {
				keep[i], again = true, true
			}
		}
	}
	var rest []modelCall
	for i, c := range m.pending {
		if !keep[i] {
			rest = append(rest, c)
			continue
		}
		for path, i := range c {
			m.set(m.synced, path, i)
		}
	}
	m.pending = rest
}

func (m *modelled) powerCut() {
	m.pending, m.now = nil, map[string]tree{}
	for dir, t := range m.synced {
		m.now[dir] = maps.Clone(t)
		for _, i := range t {
			i.now = i.synced
		}
	}
}

// check compares the whole disk with the model.
func (m *modelled) check(t *rapid.T) {
	want, got := map[string]string{}, map[string]string{}
	for dir, tr := range m.now {
		for name, i := range tr {
			want[dir+"/"+name] = i.now
		}
	}
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		got[strings.TrimPrefix(path, m.dir+"/")] = string(data)
		return err
	})
	if err != nil || !maps.Equal(want, got) {
		t.Fatalf("on disk %s\nin the model %s\n%v", brief(got), brief(want), err)
	}
}

func brief(files map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, fmt.Sprintf("%s: %d bytes %.20q", name, len(files[name]), strings.Trim(files[name], "\x00")))
	}
	return strings.Join(out, ", ")
}

// actions are what a program does.
func (m *modelled) actions() map[string]func(*rapid.T) {
	path := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "dir") + "/" + rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name")
	})
	there := func(t *rapid.T) (string, *inode) {
		p := path.Draw(t, "path")
		if m.get(p) == nil {
			t.Skip("no file")
		}
		return p, m.get(p)
	}
	must := func(t *rapid.T, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func(t *rapid.T, p string, do func(f *os.File) error) {
		f, err := os.OpenFile(m.path(p), os.O_RDWR, 0)
		must(t, err)
		must(t, errors.Join(do(f), f.Close()))
	}
	return map[string]func(*rapid.T){
		"": m.check,
		"create": func(t *rapid.T) {
			p := path.Draw(t, "path")
			if m.get(p) != nil {
				t.Skip("a file")
			}
			must(t, os.WriteFile(m.path(p), nil, 0o600))
			m.did(modelCall{p: {}})
		},
		"write": func(t *rapid.T) {
			p, i := there(t)
			off := rapid.IntRange(0, 10_000).Draw(t, "off")
			data := strings.Repeat(rapid.StringMatching("[a-z]").Draw(t, "data"), rapid.IntRange(1, 9000).Draw(t, "len"))
			open(t, p, func(f *os.File) error { _, err := f.WriteAt([]byte(data), int64(off)); return err })
			now := i.now + strings.Repeat("\x00", max(0, off+len(data)-len(i.now)))
			i.now = now[:off] + data + now[off+len(data):]
		},
		"resize": func(t *rapid.T) {
			p, i := there(t)
			n := rapid.IntRange(0, 15_000).Draw(t, "size")
			must(t, os.Truncate(m.path(p), int64(n)))
			i.now = (i.now + strings.Repeat("\x00", n))[:n]
		},
		"sync": func(t *rapid.T) {
			p, i := there(t)
			open(t, p, (*os.File).Sync)
			i.synced = i.now
		},
		"syncDir": func(t *rapid.T) {
			dir := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "dir")
			m.syncDir(dir)
			m.syncedDir(dir)
		},
		"remove": func(t *rapid.T) {
			p, _ := there(t)
			must(t, os.Remove(m.path(p)))
			m.did(modelCall{p: nil})
		},
		"rename": func(t *rapid.T) {
			p, i := there(t)
			to := path.Draw(t, "to")
			must(t, os.Rename(m.path(p), m.path(to)))
			if m.get(to) != i {
				m.did(modelCall{p: nil, to: i})
			}
		},
		"link": func(t *rapid.T) {
			p, i := there(t)
			to := path.Draw(t, "to")
			if m.get(to) != nil {
				t.Skip("a file")
			}
			must(t, os.Link(m.path(p), m.path(to)))
			m.did(modelCall{to: i})
		},
		"cut": func(*rapid.T) {
			m.cut(false)
			m.powerCut()
		},
	}
}

// TestAgainstTheModel: whatever a program does, a power cut leaves what the
// package's page says.
func TestAgainstTheModel(t *testing.T) {
	d := mount(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		d.cut(false)
		for _, dir := range []string{"a", "b"} {
			d.must(os.RemoveAll(d.path(dir)))
			d.must(os.Mkdir(d.path(dir), 0o700))
		}
		d.syncDir(".")
		empty := func() map[string]tree { return map[string]tree{"a": {}, "b": {}} }
		m := &modelled{disk: d, now: empty(), synced: empty()}
		t.Repeat(m.actions())
	})
}
