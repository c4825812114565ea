package dev

import (
	"context"
	"time"
)

const rolesTimeout = 3 * time.Second

// Nodes describes all nodes in the order in which they were added.
func (c *Cluster) Nodes(ctx context.Context) []NodeInfo {
	roles := c.roles(ctx)
	infos := c.describeAll()
	for i := range infos {
		if infos[i].State == "running" {
			infos[i].Role = roles[infos[i].ID]
		}
	}
	return infos
}

func (c *Cluster) describeAll() []NodeInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	infos := make([]NodeInfo, 0, len(c.state.Nodes))
	for _, n := range c.state.Nodes {
		infos = append(infos, c.describe(c.nodes[n.ID]))
	}
	return infos
}

func (c *Cluster) info(ctx context.Context, id string) NodeInfo {
	for _, info := range c.Nodes(ctx) {
		if info.ID == id {
			return info
		}
	}
	return NodeInfo{}
}

func (c *Cluster) describe(m *member) NodeInfo {
	info := NodeInfo{
		ID: m.ID, Address: m.Address, DataDir: c.layout.data(m.ID), LogFile: c.layout.log(m.ID), Admin: m.admin,
		State: m.process.status(),
	}
	if m.process.Running() {
		info.PID = m.process.PID()
	}
	return info
}

// leader is the node that leads, as the nodes that answer see it.
func (c *Cluster) leader(ctx context.Context) string {
	for id, role := range c.roles(ctx) {
		if role == "leader" {
			return id
		}
	}
	return ""
}

// roles asks the cluster who plays which part; empty when nobody answers.
func (c *Cluster) roles(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, rolesTimeout)
	defer cancel()
	roles := map[string]string{}
	op, err := c.asOperator(ctx, c.Addresses())
	if err != nil {
		return roles
	}
	defer func() { _ = op.Close() }()
	members, err := op.Members(ctx)
	if err != nil {
		return roles
	}
	for _, m := range members.GetMembers() {
		roles[m.GetId()] = m.GetState()
	}
	return roles
}
