package lazyfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// serverEnv makes a program's Main the server of a mount.
const serverEnv = "HEXRD_LAZYFS"

// mountSpec is the value of serverEnv.
type mountSpec struct {
	Dir, Backing string
	Seed         uint64
}

// request is a line of JSON on the server's standard input; each has a reply on
// its standard output. The first reply has no request: the mount is there, or not.
type request struct {
	Faults *Faults `json:",omitempty"`
	Forget bool    `json:",omitempty"`
	Tear   bool    `json:",omitempty"`
}

type reply struct {
	Error string `json:",omitempty"`
	Lost  Lost
}

// Main serves a mount and ends the process, in a process that Mount started; in
// any other it does nothing. A program that mounts calls it before all else.
func Main() {
	spec := os.Getenv(serverEnv)
	if spec == "" {
		return
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // the end of its input ends it
	if err := serve(spec, os.Stdin, os.Stdout); err != nil {
		slog.Error("lazyfs failed", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve mounts, does what in says until its end, and unmounts.
func serve(spec string, in io.Reader, out io.Writer) (err error) {
	var m mountSpec
	if err := json.Unmarshal([]byte(spec), &m); err != nil {
		return fmt.Errorf("%s: %w", serverEnv, err)
	}
	replies := json.NewEncoder(out)
	f, err := openFilesystem(m.Dir, m.Backing, m.Seed)
	if err != nil {
		return errors.Join(err, replies.Encode(reply{Error: err.Error()}))
	}
	defer func() {
		f.gate.set(Faults{})
		if f.unmount() != nil { // in use still: it is gone for who comes later, and fails for the others
			err = errors.Join(err, detach(m.Dir))
		}
	}()
	if err := replies.Encode(reply{}); err != nil {
		return err
	}
	for requests := json.NewDecoder(in); ; {
		var r request
		if err := requests.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := replies.Encode(f.do(r)); err != nil {
			return err
		}
	}
}

func (f *filesystem) do(r request) reply {
	if r.Faults != nil {
		f.gate.set(*r.Faults)
	}
	if !r.Forget {
		return reply{}
	}
	lost, err := f.forget(r.Tear)
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Lost: lost}
}

// detach takes a mount out of the tree, also one that is in use or dead.
func detach(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }

// detachDead removes what is left of a server that was killed.
func detachDead(dir string) {
	if _, err := os.Stat(dir); errors.Is(err, syscall.ENOTCONN) {
		_ = detach(dir)
	}
}

func sortedKeys(m map[uint64]*content) []uint64 { return slices.Sorted(maps.Keys(m)) }
