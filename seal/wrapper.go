package seal

import "context"

// Wrapper protects the keyring at rest: a key file, shares, a cloud KMS, an HSM
// or the live peers. ad binds what is wrapped to its use.
type Wrapper interface {
	// Name is stored beside what was wrapped, to tell an operator which is needed.
	Name() string
	Wrap(ctx context.Context, plaintext, ad []byte) ([]byte, error)
	// Unwrap returns ErrWrongWrapper for what another key wrapped, or what was altered.
	Unwrap(ctx context.Context, wrapped, ad []byte) ([]byte, error)
}
