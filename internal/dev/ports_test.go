package dev

import (
	"net"
	"testing"
)

// No address is given twice, nor one that somebody listens on.
func TestPorts(t *testing.T) {
	p, given := NewPorts(), map[string]bool{}
	for range 100 {
		addr, err := p.Free(t.Context())
		if err != nil || given[addr] {
			t.Fatal(addr, err, given[addr])
		}
		given[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		behind := &Ports{}
		behind.next.Store(p.next.Load() - 1)
		if other, err := behind.Free(t.Context()); err != nil || other == addr {
			t.Fatal(other, err)
		}
	}
}
