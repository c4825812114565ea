package client

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Environment variables that the zero Config reads.
const (
	AddrEnv   = "HEXR_ADDR"
	SocketEnv = "SPIFFE_ENDPOINT_SOCKET"
)

// Config of a Client. The zero value takes everything from the environment.
type Config struct {
	Addrs []string // host:port of nodes; empty: HEXR_ADDR

	// Socket is the Workload API's address; empty: SPIFFE_ENDPOINT_SOCKET.
	Socket string
	// CertFile, KeyFile and BundleFile are PEM, in place of a Workload API. They are
	// read again for each connection.
	CertFile, KeyFile, BundleFile string

	// Timeout bounds a call whose context has no deadline; 0: 15 s.
	Timeout time.Duration
	// AttemptTimeout bounds one try at one node; 0: 5 s.
	AttemptTimeout time.Duration
	// Retries is how often a call is tried again at most; 0: 20.
	Retries int
}

// Validate says what is missing.
func (c Config) Validate() error {
	if len(c.addrs()) == 0 {
		return fmt.Errorf("no address of a node: set %s, e.g. %s=node1:7443,node2:7443", AddrEnv, AddrEnv)
	}
	for _, a := range c.addrs() {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("address %q is not host:port", a)
		}
	}
	files := 0
	for _, f := range []string{c.CertFile, c.KeyFile, c.BundleFile} {
		if f != "" {
			files++
		}
	}
	switch {
	case files != 0 && files != 3:
		return errors.New("certificate, key and bundle files go together")
	case files == 0 && c.socket() == "":
		return fmt.Errorf("no identity: set %s to the SPIFFE Workload API's address, e.g. unix:///run/spire/agent.sock", SocketEnv)
	}
	return nil
}

func (c Config) addrs() []string {
	if len(c.Addrs) > 0 {
		return c.Addrs
	}
	var addrs []string
	for _, a := range strings.Split(os.Getenv(AddrEnv), ",") {
		if a = strings.TrimSpace(a); a != "" {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func (c Config) socket() string {
	if c.Socket != "" {
		return c.Socket
	}
	return os.Getenv(SocketEnv)
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.AttemptTimeout == 0 {
		c.AttemptTimeout = 5 * time.Second
	}
	if c.Retries == 0 {
		c.Retries = 20
	}
	return c
}
