package lazyfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Config of a Disk.
type Config struct {
	Dir     string // an empty directory, to be mounted on
	Backing string // a directory for what is written; made where it is missing
	Program string // whose main begins with Main; empty: this one
	Seed    uint64 // of what happens by chance
}

// Disk is a mounted file system that can have faults. Its methods are safe for
// concurrent use.
type Disk struct {
	cfg    Config
	cmd    *exec.Cmd
	in     io.WriteCloser
	exited chan struct{}

	mu      sync.Mutex // one request at a time
	replies chan reply
	faults  Faults
	closed  bool
}

const replyTimeout = time.Minute

var errServer = errors.New("the process that serves the mount has ended")

// Mount mounts a disk without faults. ctx bounds Mount alone.
func Mount(ctx context.Context, c Config) (_ *Disk, err error) {
	if err := Available(); err != nil {
		return nil, fmt.Errorf("mount %s: %w", c.Dir, err)
	}
	for _, path := range []*string{&c.Dir, &c.Backing} {
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	if c.Program == "" {
		if c.Program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	d := &Disk{cfg: c, exited: make(chan struct{}), replies: make(chan reply)}
	if err := d.start(); err != nil {
		return nil, fmt.Errorf("mount %s: %w", c.Dir, err)
	}
	if err := d.await(ctx, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", c.Dir, err), d.Close())
	}
	return d, nil
}

func (d *Disk) start() error {
	spec, err := json.Marshal(mountSpec{d.cfg.Dir, d.cfg.Backing, d.cfg.Seed})
	if err != nil {
		return err
	}
	d.cmd = exec.Command(d.cfg.Program) //nolint:noctx // it ends with its input
	d.cmd.Env = append(os.Environ(), serverEnv+"="+string(spec))
	d.cmd.Stderr = os.Stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is its owner's
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	go d.read(out)
	return nil
}

func (d *Disk) read(out io.Reader) {
	defer close(d.exited)
	for dec := json.NewDecoder(out); ; {
		var r reply
		if dec.Decode(&r) != nil {
			break
		}
		select {
		case d.replies <- r:
		case <-time.After(replyTimeout): // nobody waits for it any more
		}
	}
	_ = d.cmd.Wait()
}

// await waits for a reply.
func (d *Disk) await(ctx context.Context, lost *Lost) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	select {
	case r := <-d.replies:
		if r.Error != "" {
			return errors.New(r.Error)
		}
		if lost != nil {
			*lost = r.Lost
		}
		return nil
	case <-d.exited:
		return errServer
	case <-ctx.Done():
		_ = d.cmd.Process.Kill() // who uses the mount gets errors, and does not hang
		return fmt.Errorf("no reply: %w", ctx.Err())
	}
}

func (d *Disk) call(r request, lost *Lost) error {
	if d.closed {
		return os.ErrClosed
	}
	if err := json.NewEncoder(d.in).Encode(r); err != nil {
		return fmt.Errorf("%w: %w", errServer, err)
	}
	return d.await(context.Background(), lost)
}

// Set replaces the faults.
func (d *Disk) Set(f Faults) error { return d.change(func(g *Faults) { *g = f }) }

func (d *Disk) change(set func(*Faults)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.faults
	set(&f)
	if err := f.Validate(); err != nil {
		return err
	}
	if err := d.call(request{Faults: &f}, nil); err != nil {
		return fmt.Errorf("set faults: %w", err)
	}
	d.faults = f
	return nil
}

// Slow makes writes and syncs take so much longer.
func (d *Disk) Slow(delay time.Duration) error {
	return d.change(func(f *Faults) { f.Delay = delay })
}

// Fail makes writes and syncs return an error; 0: no more.
func (d *Disk) Fail(errno syscall.Errno) error {
	return d.change(func(f *Faults) {
		f.Errno, f.WriteErrors, f.SyncErrors = errno, 0, 0
		if errno != 0 {
			f.WriteErrors, f.SyncErrors = 1, 1
		}
	})
}

// Fill makes what needs room return ENOSPC.
func (d *Disk) Fill(full bool) error {
	return d.change(func(f *Faults) { f.Full, f.Room, f.Hidden = full, 0, false })
}

// Cut forgets what was never synced: the power went. Whoever used the disk must
// have ended; the faults stay. tear: some of it is kept.
func (d *Disk) Cut(tear bool) (lost Lost, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(request{Forget: true, Tear: tear}, &lost); err != nil {
		return lost, fmt.Errorf("power cut: %w", err)
	}
	return lost, nil
}

// Lose is a Cut that keeps nothing unsynced.
func (d *Disk) Lose() error { _, err := d.Cut(false); return err }

// Tear is a Cut that keeps some of it.
func (d *Disk) Tear() error { _, err := d.Cut(true); return err }

// Close unmounts. Whoever uses the disk still gets errors from then on.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	_ = d.in.Close()
	select {
	case <-d.exited:
	case <-time.After(replyTimeout):
		_ = d.cmd.Process.Kill()
		<-d.exited
	}
	detachDead(d.cfg.Dir)
	return nil
}
