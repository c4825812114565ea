package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const (
	scrapeTimeout = 10 * time.Second
	maxMetrics    = 4 << 20
)

// Node is a server of the cluster.
type Node struct {
	ID, Addr string
	Admin    string // its admin socket, where it is on this machine; else empty
	PID      int    // 0: unknown
	DataDir  string
}

// Sample is what a node's metrics say: those without labels, counters and gauges.
type Sample map[string]float64

// Scraper reads a node's metrics.
type Scraper interface {
	Scrape(ctx context.Context, n Node) (Sample, error)
}

// AdminSockets reads them from the nodes' admin sockets.
type AdminSockets struct{}

// Scrape one node.
func (AdminSockets) Scrape(ctx context.Context, n Node) (Sample, error) {
	c := adminClient(n)
	defer c.CloseIdleConnections()
	return scrape(ctx, c, "http://node/metrics")
}

func adminClient(n Node) *http.Client {
	return &http.Client{Timeout: scrapeTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", n.Admin)
		},
	}}
}

// AsAuditor reads them over the nodes' port.
type AsAuditor struct{ client *http.Client }

// NewAsAuditor takes an auditor's SVID as PEM files.
func NewAsAuditor(cert, key, bundle string) (AsAuditor, error) {
	svid, err := x509svid.Load(cert, key)
	if err != nil {
		return AsAuditor{}, errors.New("load the auditor's SVID: not a pair of certificate and key")
	}
	td := svid.ID.TrustDomain()
	b, err := x509bundle.Load(td, bundle)
	if err != nil {
		return AsAuditor{}, errors.New("load the bundle: not PEM certificates")
	}
	tls := tlsconfig.MTLSClientConfig(svid, b, tlsconfig.AuthorizeMemberOf(td))
	tls.NextProtos = []string{"http/1.1"}
	return AsAuditor{&http.Client{Timeout: scrapeTimeout, Transport: &http.Transport{TLSClientConfig: tls}}}, nil
}

// Scrape one node.
func (a AsAuditor) Scrape(ctx context.Context, n Node) (Sample, error) {
	return scrape(ctx, a.client, "https://"+n.Addr+"/metrics")
}

func scrape(ctx context.Context, c *http.Client, url string) (Sample, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read a node's metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read a node's metrics: %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMetrics))
	if err != nil {
		return nil, fmt.Errorf("read a node's metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		return nil, fmt.Errorf("read a node's metrics: %w", err)
	}
	s := Sample{}
	for name, f := range families {
		if len(f.GetMetric()) != 1 || len(f.GetMetric()[0].GetLabel()) > 0 {
			continue
		}
		m := f.GetMetric()[0]
		s[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return s, nil
}

// scrapeAll reads every node's metrics.
func scrapeAll(ctx context.Context, s Scraper, nodes []Node) ([]Sample, error) {
	samples := make([]Sample, len(nodes))
	for i, n := range nodes {
		var err error
		if samples[i], err = s.Scrape(ctx, n); err != nil {
			return nil, fmt.Errorf("node %s: %w", n.ID, err)
		}
	}
	return samples, nil
}
