package dev

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// healthClient asks nodes for /health, which needs no certificate.
func healthClient(ca *CA) *http.Client {
	return &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13},
			DisableKeepAlives: true,
		},
	}
}

const healthInterval = 50 * time.Millisecond

// waitHealthy returns once the node answers that it is healthy; an error when it
// exits, or ctx ends, before.
func waitHealthy(ctx context.Context, c *http.Client, addr string, p *Process) error {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		if Healthy(ctx, c, addr) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return errors.New("the node exited")
		case <-ctx.Done():
			return fmt.Errorf("the node is not healthy: %w", ctx.Err())
		}
	}
}

// Healthy asks a node once whether it serves.
func Healthy(ctx context.Context, c *http.Client, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := c.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
