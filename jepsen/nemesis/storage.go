package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Disks are those of the nodes, by node ID. Safe for concurrent use.
type Disks struct {
	Mount   Mount
	Backing string // a directory: each node's is one below it
	Seed    uint64

	mu    sync.Mutex
	disks map[string]Disk
}

// Under mounts a disk under a node's empty directory.
func (d *Disks) Under(ctx context.Context, id, dir string) error {
	backing := filepath.Join(d.Backing, id)
	if err := os.MkdirAll(backing, 0o700); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	disk, err := d.Mount(ctx, dir, backing, d.Seed+uint64(len(d.disks)))
	if err != nil {
		return err
	}
	if d.disks == nil {
		d.disks = map[string]Disk{}
	}
	d.disks[id] = disk
	return nil
}

func (d *Disks) of(id string) Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.disks[id]
}

// Heal makes all disks well again.
func (d *Disks) Heal() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, disk := range d.disks {
		errs = append(errs, disk.Slow(0), disk.Fail(0), disk.Fill(false))
	}
	return errors.Join(errs...)
}

// Close unmounts all.
func (d *Disks) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, disk := range d.disks {
		errs = append(errs, disk.Close())
	}
	d.disks = nil
	return errors.Join(errs...)
}

var ill = span{500 * time.Millisecond, 6 * time.Second}

func storageFaults() []Fault {
	return []Fault{
		{"disk-slow", Storage, 2, sick(func(d Disk, r *rand.Rand) (string, error) {
			by := time.Duration(1+r.IntN(60)) * time.Millisecond
			return "by " + by.String(), d.Slow(by)
		}, func(d Disk) error { return d.Slow(0) })},
		{"disk-hangs", Storage, 1, sick(func(d Disk, _ *rand.Rand) (string, error) {
			return "for 20 s each", d.Slow(20 * time.Second)
		}, func(d Disk) error { return d.Slow(0) })},
		{"disk-fails", Storage, 2, sick(func(d Disk, _ *rand.Rand) (string, error) {
			return "EIO", d.Fail(syscall.EIO)
		}, func(d Disk) error { return d.Fail(0) })},
		{"disk-full", Storage, 2, sick(func(d Disk, _ *rand.Rand) (string, error) {
			return "", d.Fill(true)
		}, func(d Disk) error { return d.Fill(false) })},
		{"power-loss", Storage, 4, unplugged(1, Disk.Lose)},
		{"power-loss-torn", Storage, 3, unplugged(1, Disk.Tear)},
		{"power-loss-all", Storage, 2, unplugged(1<<10, Disk.Lose)},
	}
}

func sick(begin func(Disk, *rand.Rand) (string, error), end func(Disk) error) func(context.Context, *Target, *rand.Rand) (string, error) {
	return func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		n := some(t, r, 1)[0]
		disk := t.Disks.of(n.ID)
		if disk == nil {
			return n.ID, fmt.Errorf("%s has no disk of the suite", n.ID)
		}
		detail, err := begin(disk, r)
		hold(ctx, r, ill)
		return n.ID + " " + detail, errors.Join(err, end(disk))
	}
}

// unplugged kills nodes, and takes from their disks what was never synced.
func unplugged(most int, lose func(Disk) error) func(context.Context, *Target, *rand.Rand) (string, error) {
	return func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		nodes := some(t, r, most)
		for _, n := range nodes {
			n.Kill(false)
		}
		var errs []error
		for _, n := range nodes {
			if disk := t.Disks.of(n.ID); disk != nil {
				errs = append(errs, lose(disk))
			}
		}
		hold(ctx, r, down)
		return names(nodes), errors.Join(append(errs, startAll(nodes))...)
	}
}
