package arena

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// recoverLimit bounds how long nodes may take to become healthy by themselves.
const recoverLimit = 2 * time.Minute

// Recover starts every member that is down, lets paused ones go on, and returns
// when all are healthy. An error names who is not: a human is needed.
func (c *Cluster) Recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	for _, n := range c.Members() {
		if err := errors.Join(n.Continue(), n.Start()); err != nil && !n.Retired() {
			return fmt.Errorf("start %s: %w", n.ID, err)
		}
	}
	for _, n := range c.Members() {
		if err := n.WaitHealthy(ctx); err != nil && !errors.Is(err, errRetired) {
			return err
		}
	}
	return c.Settle(ctx)
}

// Settle removes the nodes that were abandoned and are members still, and lets
// new ones join in their place.
func (c *Cluster) Settle(ctx context.Context) error {
	c.settling.Lock()
	defer c.settling.Unlock()
	for _, id := range c.Unsettled() {
		if err := c.Remove(ctx, id); err != nil {
			return err
		}
	}
	for len(c.Members()) < c.cfg.Nodes {
		if _, err := c.Join(ctx, ""); err != nil {
			return err
		}
	}
	return nil
}

// Unsettled are the nodes that were abandoned, and that the cluster has still.
func (c *Cluster) Unsettled() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.pending() {
			ids = append(ids, n.ID)
		}
	}
	return ids
}
