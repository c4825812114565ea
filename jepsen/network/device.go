package network

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	mtu       = 16000 // fewer, larger packets cost this machine less
	tunDevice = "/dev/net/tun"
)

// openTUN makes a TUN device in the thread's network namespace, with an address
// in a network of 24 bits. A name may hold %d, which the kernel fills in.
func openTUN(name string, addr netip.Addr) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunDevice, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	if err := configure(ifr.Name(), addr); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), tunDevice), nil // only now: the poller takes no device without a name
}

// configure gives the device its address, and switches it on.
func configure(name string, addr netip.Addr) error {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("configure device: %w", err)
	}
	defer func() { _ = unix.Close(control) }()
	a := addr.As4()
	steps := []struct {
		request uint
		set     func(*unix.Ifreq) error
	}{
		{unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
		{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(a[:]) }},
		{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
	}
	for _, s := range steps {
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := s.set(ifr); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(control, s.request, ifr); err != nil {
			return fmt.Errorf("configure device: %w", err)
		}
	}
	return up(control, name)
}

func up(control int, name string) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(control, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("switch device on: %w", err)
	}
	return nil
}

// newNamespace makes a network namespace with its loopback and a TUN device. It
// lives for as long as the namespace's file is open or a process is in it.
func newNamespace(addr netip.Addr) (namespace, device *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, in the namespace that it is in
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("make a network namespace: %w", err)
			return
		}
		if namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return
		}
		if device, err = inside(addr); err != nil {
			_ = namespace.Close()
		}
	}()
	<-done
	return namespace, device, err
}

func inside(addr netip.Addr) (*os.File, error) {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(control) }()
	if err := up(control, "lo"); err != nil {
		return nil, err
	}
	return openTUN("net0", addr)
}
