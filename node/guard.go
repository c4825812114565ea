package node

import (
	"errors"
	"log/slog"

	"github.com/hexrdev/hexrd/internal/quiet"
)

// ErrPanic ends a node: its state may be anything.
var ErrPanic = errors.New("the node has a bug and ends itself: please report the log line before this one")

// guarded runs do. A panic would end the process with its value, and with words
// of memory, on standard error: it is logged without them, and is ErrPanic.
func guarded(log *slog.Logger, do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("a part of the node panicked: this is a bug, please report it", quiet.Panic(v))
			err = ErrPanic
		}
	}()
	return do()
}
