package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/hexrdev/hexrd/client"
)

// Workloads.
const (
	Get      = "get"
	Put      = "put"
	Mix      = "mix" // nine gets to a put
	List     = "list"
	BatchGet = "batch-get"
	// Denied is puts that the log refuses: all that a put costs, but to be stored. No
	// put can be faster.
	Denied = "denied-put"
)

// Workloads are the names of all.
var Workloads = []string{Get, Put, Mix, List, BatchGet, Denied}

// Targets that are not addresses.
const (
	Leader   = "leader"
	Follower = "follower" // one of them
	All      = "all"
)

// Config of a measurement.
type Config struct {
	Workload  string
	Workers   int
	Duration  time.Duration
	WarmUp    time.Duration
	ValueSize int // bytes
	Secrets   int // in all, spread over the identities
	Batch     int // paths of a batch-get, and what a list returns at most
	Target    string
	Skip      bool // write no secrets before: they are there from an earlier run

	// Identities hold no addresses: those are the nodes'.
	Identities []client.Config
	Nodes      []Node
	Scraper    Scraper   // nil: servers are not measured, and who leads is not known
	Progress   io.Writer // nil: none
}

// Validate says what is wrong.
func (c Config) Validate() error {
	switch {
	case !slices.Contains(Workloads, c.Workload):
		return fmt.Errorf("workload %q: use one of %s", c.Workload, strings.Join(Workloads, ", "))
	case c.Workers < 1 || c.Workers > 10_000:
		return errors.New("workers: use 1 to 10000")
	case c.Duration <= 0 || c.WarmUp < 0:
		return errors.New("the duration must be positive, and the warm-up not negative")
	case c.ValueSize < 1 || c.ValueSize > 1<<20:
		return errors.New("value size: use 1 to 1048576 bytes")
	case c.Batch < 1 || c.Batch > 100:
		return errors.New("batch: use 1 to 100")
	case len(c.Identities) == 0:
		return errors.New("no identity to call with")
	case c.Secrets < len(c.Identities):
		return fmt.Errorf("%d secrets are fewer than one for each of %d identities", c.Secrets, len(c.Identities))
	case len(c.Nodes) == 0:
		return errors.New("no node to call")
	case c.Target != Leader && c.Target != Follower && c.Target != All:
		return fmt.Errorf("target %q: use leader, follower or all", c.Target)
	case c.Target != All && c.Scraper == nil:
		return errors.New("who leads is not known: name the nodes' admin sockets or an auditor's SVID, or use the target all")
	}
	return nil
}

// each is how many secrets an identity has.
func (c Config) each() int { return c.Secrets / len(c.Identities) }
