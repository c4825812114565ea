package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// stateFormat is the version of dev.json.
const stateFormat = 1

// clusterState is what a dev cluster remembers between runs.
type clusterState struct {
	Format      int         `json:"format"`
	TrustDomain string      `json:"trust_domain"`
	Nodes       []nodeState `json:"nodes"`
	JWT         bool        `json:"jwt_svid,omitempty"` // the audience was turned on
}

type nodeState struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

func loadState(file string) (clusterState, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return clusterState{Format: stateFormat}, nil
	}
	if err != nil {
		return clusterState{}, fmt.Errorf("read dev state: %w", err)
	}
	var s clusterState
	if err := json.Unmarshal(data, &s); err != nil {
		return clusterState{}, fmt.Errorf("%s is damaged: remove the directory to begin anew: %w", file, err)
	}
	if s.Format != stateFormat {
		return clusterState{}, fmt.Errorf("%s has format %d, this hexrd reads %d", file, s.Format, stateFormat)
	}
	return s, nil
}

func (s clusterState) save(file string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// ErrRunning: another `hexrd dev` holds the directory.
var ErrRunning = errors.New("a dev cluster runs in this directory already: use another --dir, or end it first")

// lockDir keeps a second supervisor out for as long as the file is open.
func lockDir(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the dev directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, ErrRunning
	}
	return f, nil
}
