package network

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Outside is the name of whoever is in no node's namespace: the clients.
	Outside = "outside"

	outsideHost = 254
	maxNodes    = 200
	maxDelayed  = 8192 // packets; more are dropped, as a queue that is full does
)

// Network is a set of namespaces and the router between them. Its methods are
// safe for concurrent use.
type Network struct {
	prefix  [3]byte
	dropped atomic.Uint64
	delayed atomic.Int64

	mu     sync.RWMutex
	ports  map[string]*port
	hosts  map[byte]*port // by the last byte of the address
	rules  map[[2]string]Rule
	random *rand.Rand // guarded by randomMu
	closed bool
	last   byte // host of the newest node

	randomMu sync.Mutex
	wg       sync.WaitGroup
}

type port struct {
	name      string
	addr      netip.Addr
	device    *os.File
	namespace *os.File // nil: outside
}

// Open makes a network that only the outside is in yet. It needs root. What is
// random in its rules follows from the seed.
func Open(seed uint64) (*Network, error) {
	prefix, err := freePrefix()
	if err != nil {
		return nil, err
	}
	n := &Network{
		prefix: prefix, ports: map[string]*port{}, hosts: map[byte]*port{}, rules: map[[2]string]Rule{},
		random: rand.New(rand.NewPCG(seed, 1)),
	}
	addr := n.address(outsideHost)
	device, err := openTUN("hxj%d", addr)
	if err != nil {
		return nil, err
	}
	n.attach(&port{name: Outside, addr: addr, device: device}, outsideHost)
	return n, nil
}

// freePrefix finds a network of 24 bits that no interface of this machine is in.
func freePrefix() ([3]byte, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return [3]byte{}, fmt.Errorf("list this machine's addresses: %w", err)
	}
	for range 100 {
		p := [3]byte{10, byte(64 + rand.IntN(128)), byte(rand.IntN(256))} // not of the seed: other runs are beside this one
		free := true
		for _, a := range addrs {
			if ipnet, ok := a.(*net.IPNet); ok && ipnet.Contains(net.IPv4(p[0], p[1], p[2], outsideHost)) {
				free = false
			}
		}
		if free {
			return p, nil
		}
	}
	return [3]byte{}, errors.New("no network of 10.64.0.0/9 is free on this machine")
}

func (n *Network) address(host byte) netip.Addr {
	return netip.AddrFrom4([4]byte{n.prefix[0], n.prefix[1], n.prefix[2], host})
}

func (n *Network) attach(p *port, host byte) {
	n.mu.Lock()
	n.ports[p.name], n.hosts[host] = p, p
	n.mu.Unlock()
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		n.route(p)
	}()
}

// Add makes a namespace for a node, and returns its address there.
func (n *Network) Add(name string) (netip.Addr, *os.File, error) {
	n.mu.Lock()
	_, taken := n.ports[name]
	full := n.closed || n.last >= maxNodes
	if !taken && !full {
		n.last++
	}
	host := n.last
	n.mu.Unlock()
	if taken || full {
		return netip.Addr{}, nil, fmt.Errorf("the network takes no node %s", name)
	}
	addr := n.address(host)
	namespace, device, err := newNamespace(addr)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	n.attach(&port{name: name, addr: addr, device: device, namespace: namespace}, host)
	return addr, namespace, nil
}

// Set says what happens to packets from one node to another from now on.
func (n *Network) Set(from, to string, r Rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r == (Rule{}) {
		delete(n.rules, [2]string{from, to})
		return
	}
	n.rules[[2]string{from, to}] = r
}

// Heal lets all packets pass again.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.rules)
}

// Dropped is how many packets rules have kept back.
func (n *Network) Dropped() uint64 { return n.dropped.Load() }

// route reads what a port sends, until it is closed.
func (n *Network) route(p *port) {
	buf := make([]byte, 1<<16)
	for {
		size, err := p.device.Read(buf)
		if err != nil {
			return
		}
		if size >= 20 && buf[0]>>4 == 4 && [3]byte(buf[16:19]) == n.prefix {
			n.pass(p, buf[19], buf[:size])
		}
	}
}

func (n *Network) pass(from *port, host byte, packet []byte) {
	n.mu.RLock()
	to := n.hosts[host]
	var rule Rule
	limited := false
	if to != nil {
		rule, limited = n.rules[[2]string{from.name, to.name}]
	}
	n.mu.RUnlock()
	switch {
	case to == nil:
		return
	case !limited:
		_, _ = to.device.Write(packet)
		return
	}
	n.randomMu.Lock()
	fate := rule.fate(n.random.Float64)
	n.randomMu.Unlock()
	if len(fate) == 0 {
		n.dropped.Add(1)
	}
	for _, delay := range fate {
		n.later(to, packet, delay)
	}
}

func (n *Network) later(to *port, packet []byte, delay time.Duration) {
	if delay <= 0 {
		_, _ = to.device.Write(packet)
		return
	}
	if n.delayed.Add(1) > maxDelayed {
		n.delayed.Add(-1)
		n.dropped.Add(1)
		return
	}
	held := append([]byte(nil), packet...)
	time.AfterFunc(delay, func() {
		defer n.delayed.Add(-1)
		_, _ = to.device.Write(held) // of a closed device: an error, and no harm
	})
}

// Close ends the router; devices go, and namespaces too once no process is in
// them.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	var errs []error
	for _, p := range n.ports {
		errs = append(errs, p.device.Close())
		if p.namespace != nil {
			errs = append(errs, p.namespace.Close())
		}
	}
	n.mu.Unlock()
	n.wg.Wait()
	return errors.Join(errs...)
}
