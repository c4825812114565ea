package seal

import (
	"context"
	"fmt"
	"os"
)

const maxWrapped = 1 << 16

// SaveWrapped writes a small secret under the wrapper, 0600. A crash leaves the
// old file or the new one; it is durable on return.
func SaveWrapped(ctx context.Context, file string, w Wrapper, ad, secret []byte) error {
	wrapped, err := w.Wrap(ctx, secret, ad)
	if err != nil {
		return fmt.Errorf("wrap: %w", err)
	}
	return replaceFile(file, wrapped)
}

// LoadWrapped reads what SaveWrapped wrote with the same ad. It fails with
// fs.ErrNotExist where there is none, and ErrWrongWrapper.
func LoadWrapped(ctx context.Context, file string, w Wrapper, ad []byte) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxWrapped {
		return nil, fmt.Errorf("%w: %s is too large", ErrCorrupt, file)
	}
	wrapped, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return w.Unwrap(ctx, wrapped, ad)
}
