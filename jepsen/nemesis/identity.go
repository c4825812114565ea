package nemesis

import (
	"context"
	"math/rand/v2"
	"time"
)

func identityFaults() []Fault {
	return []Fault{{"rotate-ca", Identity, 2, rotatedCA}, {"svid-outage", Identity, 1, outage}}
}

const (
	shortLived = 30 * time.Second
	brief      = 5 * time.Second
)

// outage lets no SVID be renewed; where they are short-lived, until all have
// expired and nobody is answered any more.
func outage(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	long := brief
	if ttl := t.Cluster.SVIDTTL(); ttl <= shortLived {
		long += ttl
	}
	t.Cluster.SilenceCA(true)
	hold(ctx, r, span{long, long + time.Second})
	t.Cluster.SilenceCA(false)
	return "for " + long.String(), nil
}

// rotatedCA replaces the CA of the trust domain in three steps, as SPIRE does:
// what is presented changes under all open connections. Once begun it is finished.
func rotatedCA(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	if err := t.Cluster.PrepareCA(); err != nil {
		return "", err
	}
	hold(ctx, r, span{time.Second, 3 * time.Second})
	t.Cluster.ActivateCA()
	hold(context.WithoutCancel(ctx), r, span{time.Second, 3 * time.Second}) // everybody gets a new SVID meanwhile
	t.Cluster.RetireCA()
	return "", nil
}
