package quiet

import (
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"strings"
)

// maxFrames bounds the stack of a panic that is logged.
const maxFrames = 32

// Panic describes what recover returned, for a log: the value's type, and the
// functions that led there. It is called in the deferred function itself.
func Panic(value any) slog.Attr {
	return slog.Group("panic", slog.String("type", fmt.Sprintf("%T", value)), slog.Any("stack", stack(3)))
}

// stack names functions and lines, and no arguments: the runtime's own traces
// print them as words of memory.
func stack(skip int) []string {
	pcs := make([]uintptr, maxFrames)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(skip, pcs)])
	var out []string
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") {
			out = append(out, fmt.Sprintf("%s:%d", f.Function, f.Line))
		}
		if !more {
			return out
		}
	}
}

// Goroutines writes the stacks of all goroutines, without arguments.
func Goroutines(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 1) }
