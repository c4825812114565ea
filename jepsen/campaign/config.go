package campaign

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/jepsen/nemesis"
)

// Config of a campaign. What is empty or 0 is drawn from each run's seed.
type Config struct {
	Out     string        // directory of reports, and of what a failure leaves
	Program string        // the hexrd binary; empty: it is built
	Old     string        // one of an earlier version, that nodes are upgraded from; empty: none
	Time    time.Duration // of the campaign
	RunTime time.Duration // of a run's load
	Seed    uint64
	From    int // number of the first run
	Runs    int // 0: as many as the time allows

	Nodes     int
	LogStore  string
	SVIDTTL   time.Duration
	Faults    []string      // empty: a mix
	Workloads []string      // empty: all
	Kills     int           // end the run after so many kills of the torture
	Loopback  bool          // no namespaces, though they could be had
	Python    string        // an interpreter with the SDK; empty: its workload is left out
	Mount     nemesis.Mount // nil: no disks with faults
	NoDisks   string        // why
	Keep      bool          // what the nodes leave, also of a run that found nothing
	Progress  io.Writer
}

// Validate says what is wrong.
func (c *Config) Validate() error {
	switch {
	case c.Out == "":
		return errors.New("no directory for reports: use -out DIR")
	case c.RunTime <= 0:
		return errors.New("-run must be positive")
	case c.Nodes != 0 && (c.Nodes < 3 || c.Nodes > 9):
		return errors.New("-nodes must be 3 to 9")
	case c.LogStore != "" && c.LogStore != "bolt" && c.LogStore != "wal":
		return errors.New("-log-store is bolt or wal")
	case c.SVIDTTL < 0:
		return errors.New("-svid-ttl must be positive")
	case c.Old == "" && nemesis.Want(c.Faults, nemesis.Upgrade):
		return errors.New("-faults upgrade needs an earlier version: use -old BINARY")
	case c.From < 1:
		return errors.New("-from begins with 1")
	}
	return nil
}

// Plan is what one run does: all of it follows from its seed and the flags.
type Plan struct {
	Number       int           `json:"number"`
	Seed         uint64        `json:"seed"` // of the campaign
	Nodes        int           `json:"nodes"`
	LogStore     string        `json:"log_store"`
	Time         time.Duration `json:"time"`
	Faults       []string      `json:"faults"`
	Workloads    []string      `json:"workloads"`
	Snapshots    bool          `json:"snapshots"` // many, with a short log behind them
	SVIDTTL      time.Duration `json:"svid_ttl"`
	Copies       bool          `json:"copies"` // of values from the first one on, as in a large store
	runSeed      uint64
	kills        int
	withoutSpace bool
}

// mixes of classes; a run has one of them.
var mixes = [][]string{
	{nemesis.Process}, {nemesis.Net}, {nemesis.Process, nemesis.Net}, {nemesis.Process, nemesis.Clock},
	{nemesis.Membership, nemesis.Process}, {nemesis.Membership, nemesis.Net}, {nemesis.Identity, nemesis.Process}, {nemesis.Storage}, {nemesis.Storage, nemesis.Net},
	{nemesis.Process, nemesis.Net, nemesis.Clock, nemesis.Membership, nemesis.Storage, nemesis.Identity},
	{nemesis.Process, nemesis.Net, nemesis.Clock, nemesis.Membership, nemesis.Identity},
}

// plan draws a run. Everything is drawn, also what flags then overrule, so that
// the rest stays what it is.
func (c *Config) plan(number int) Plan {
	r := rand.New(rand.NewPCG(c.Seed, uint64(number)))
	p := Plan{
		Number: number, Seed: c.Seed, runSeed: r.Uint64(), Time: c.RunTime, kills: c.Kills, withoutSpace: c.Loopback,
		Nodes: []int{3, 3, 3, 5}[r.IntN(4)], LogStore: []string{"bolt", "wal"}[r.IntN(2)], Snapshots: r.IntN(2) == 0,
		SVIDTTL: []time.Duration{time.Hour, time.Hour, 20 * time.Second}[r.IntN(3)], Faults: mixes[r.IntN(len(mixes))], Workloads: c.Workloads,
		Copies: r.IntN(2) == 0,
	}
	if c.Nodes != 0 {
		p.Nodes = c.Nodes
	}
	if c.LogStore != "" {
		p.LogStore = c.LogStore
	}
	if c.SVIDTTL != 0 {
		p.SVIDTTL = c.SVIDTTL
	}
	if len(c.Faults) > 0 {
		p.Faults = c.Faults
	}
	if c.Old != "" {
		p.Faults = append(slices.Clone(p.Faults), nemesis.Upgrade)
	}
	return p
}

func (p Plan) String() string {
	short := "few snapshots"
	if p.Snapshots {
		short = "many snapshots"
	}
	if p.Copies {
		short += ", copies of values"
	}
	return fmt.Sprintf("%d nodes, %s, %s, SVIDs for %s, faults %v, %s", p.Nodes, p.LogStore, short, p.SVIDTTL, p.Faults, p.Time)
}
