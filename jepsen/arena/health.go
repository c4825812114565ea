package arena

import (
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

// healthClient asks one node for /health, which needs no certificate.
func healthClient(bundles x509bundle.Source, node spiffeid.ID) *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   tlsconfig.TLSClientConfig(bundles, tlsconfig.AuthorizeID(node)),
		DisableKeepAlives: true,
	}}
}
