package lazyfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const device = "/dev/fuse"

// Available says why no Disk can be mounted here; nil where one can.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can mount a file system")
	}
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s: load the kernel module fuse, and let the container have the device", device)
	case err != nil:
		return fmt.Errorf("FUSE can't be used: %w", err)
	}
	return f.Close()
}
