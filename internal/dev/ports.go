package dev

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// What systems give to whom asks for any port begins above these (Linux: 32768, RFC
// 6335: 49152), so that nobody's connection takes the port of a node that is down.
const (
	portsFrom = 10000
	portsMany = 22000
)

// Ports gives out loopback addresses, each once until all were given. Any number may ask.
type Ports struct{ next atomic.Uint32 }

// NewPorts begins at a random place: other processes give out ports too.
func NewPorts() *Ports {
	p := &Ports{}
	p.next.Store(rand.Uint32N(portsMany))
	return p
}

// Free is the next address that nobody listens on.
func (p *Ports) Free(ctx context.Context) (string, error) {
	var last error
	for range portsMany {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(portsFrom+int(p.next.Add(1)%portsMany)))
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			return addr, l.Close()
		}
		if last = err; ctx.Err() != nil {
			break
		}
	}
	return "", fmt.Errorf("find a free port: %w", last)
}
