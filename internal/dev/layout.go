package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Layout is where things lie under the directory of a dev cluster.
type Layout struct{ Dir string }

// DefaultDir is where `hexrd dev` keeps a cluster when --dir does not say.
func DefaultDir() string {
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "hexrd-dev")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "hexrd-dev")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("hexrd-dev-%d", os.Getuid()))
}

func (l Layout) ca() string     { return filepath.Join(l.Dir, "ca") }
func (l Layout) state() string  { return filepath.Join(l.Dir, "dev.json") }
func (l Layout) lock() string   { return filepath.Join(l.Dir, "dev.lock") }
func (l Layout) Bundle() string { return filepath.Join(l.Dir, "ca.pem") }

func (l Layout) node(id string) string { return filepath.Join(l.Dir, "nodes", id) }
func (l Layout) data(id string) string { return filepath.Join(l.node(id), "data") }

// wrapperKey is a sibling of the data directory: `hexrd dev` says that this
// protects nothing here, but the node refuses a key inside it.
func (l Layout) wrapperKey(id string) string { return filepath.Join(l.node(id), "wrapper.key") }
func (l Layout) log(id string) string        { return filepath.Join(l.node(id), "node.log") }
func (l Layout) token(id string) string      { return filepath.Join(l.node(id), "join-token") }

// Remove removes the directory of a dev cluster that does not run, and refuses
// one that is something else.
func Remove(dir string) error {
	l := Layout{dir}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(l.ca()); err != nil {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 0 {
			return fmt.Errorf("%s is not the directory of a dev cluster: use another --dir", dir)
		}
	}
	lock, err := lockDir(l.lock())
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	return os.RemoveAll(dir)
}
