package identity

import "log/slog"

// spiffeLogger is what go-spiffe logs to: it passes a constant class and drops
// the text, which may quote SPIFFE IDs.
type spiffeLogger struct{ log *slog.Logger }

func (spiffeLogger) Debugf(string, ...any) {}
func (spiffeLogger) Infof(string, ...any)  {}

func (l spiffeLogger) Warnf(string, ...any) {
	l.log.Debug("go-spiffe reports a problem", "class", "warning")
}

func (l spiffeLogger) Errorf(string, ...any) {
	l.log.Debug("go-spiffe reports a problem", "class", "error")
}
