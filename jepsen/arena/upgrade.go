package arena

// Outdated reports whether the node is of the earlier version still.
func (n *Node) Outdated() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.program != n.c.cfg.Program
}

// Upgrade has the node's next process be of the version under test.
func (n *Node) Upgrade() {
	n.mu.Lock()
	n.program = n.c.cfg.Program
	n.mu.Unlock()
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.upgrading = true
}

// UpgradeAll upgrades the members that are outdated; Recover starts them. One that needs
// a snapshot of the new version waits for that.
func (c *Cluster) UpgradeAll() {
	for _, n := range c.Members() {
		if n.Outdated() {
			n.Kill(false)
			n.Upgrade()
		}
	}
}
