package nemesis

import (
	"context"
	"math/rand/v2"
	"time"
)

func identityFaults() []Fault {
	return []Fault{{"rotate-ca", Identity, 1, rotatedCA}}
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
