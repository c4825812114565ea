package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	memberCount = 3
	stopWithin  = 10 * time.Second
)

// files are an SVID and its authorities as PEM.
type files struct{ cert, key, bundle string }

// members are three processes of etcd, with mutual TLS for clients and peers.
type members struct {
	clients   []string // host:port
	processes []*exec.Cmd
}

func startMembers(ctx context.Context, program, dir string, f files) (*members, error) {
	m := &members{}
	var peers, cluster []string
	for i := range memberCount {
		client, err1 := freeAddress(ctx)
		peer, err2 := freeAddress(ctx)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		m.clients, peers = append(m.clients, client), append(peers, "https://"+peer)
		cluster = append(cluster, fmt.Sprintf("m%d=https://%s", i+1, peer))
	}
	for i, client := range m.clients {
		if err := m.start(program, dir, f, i, "https://"+client, peers[i], strings.Join(cluster, ",")); err != nil {
			return nil, errors.Join(err, m.stop())
		}
	}
	return m, nil
}

func (m *members) start(program, dir string, f files, i int, client, peer, cluster string) error {
	name := fmt.Sprintf("m%d", i+1)
	log, err := os.Create(filepath.Join(dir, "etcd-"+name+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(program, "--name", name, "--data-dir", filepath.Join(dir, "etcd-"+name),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", cluster, "--initial-cluster-state", "new",
		"--client-cert-auth", "--trusted-ca-file", f.bundle, "--cert-file", f.cert, "--key-file", f.key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file", f.bundle, "--peer-cert-file", f.cert, "--peer-key-file", f.key)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start etcd: is Debian's package etcd-server installed? %w", err)
	}
	m.processes = append(m.processes, cmd)
	return nil
}

func (m *members) stop() error {
	var errs []error
	for _, p := range m.processes {
		_ = p.Process.Signal(syscall.SIGTERM)
		force := time.AfterFunc(stopWithin, func() { _ = p.Process.Kill() })
		err := p.Wait()
		force.Stop()
		var exit *exec.ExitError
		if !errors.As(err, &exit) { // it was told to end
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
