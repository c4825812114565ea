package check

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/hexrdev/hexrd/jepsen/history"
	"github.com/hexrdev/hexrd/jepsen/model"
)

const porcupineLimit = 10 * time.Second // for one secret

// Register asks porcupine whether the operations on each secret are those of a
// register. An unknown one may have happened at any time after its start, or not
// at all. A picture of a secret that is not goes to dir. Where there are too many
// unknown ones to search, those whose row the audit does not have are left out:
// a note says so.
func Register(e *Evidence, dir string) Result {
	r := Result{Name: "register"}
	secrets := map[string][]*history.Op{}
	for i := range e.Ops {
		o := &e.Ops[i]
		if o.Workload != "register" || o.Outcome == history.Refused || o.Kind == history.Get && !o.Decided() {
			continue
		}
		key := o.Caller + " " + o.Path
		secrets[key] = append(secrets[key], o)
		r.Checked++
	}
	applied := e.applied()
	for _, key := range sortedKeys(secrets) {
		verdict, info := porcupine.CheckOperationsVerbose(model.Register(), operations(secrets[key]), porcupineLimit)
		if verdict == porcupine.Unknown {
			r.Note = "secrets with many unknown operations were checked with what the audit says of those"
			known := slices.DeleteFunc(slices.Clone(secrets[key]), func(o *history.Op) bool { return !o.Decided() && !applied[o.Trace] })
			verdict, info = porcupine.CheckOperationsVerbose(model.Register(), operations(known), porcupineLimit)
		}
		switch verdict {
		case porcupine.Illegal:
			r.problem("%s is no register%s", key, picture(dir, key, info))
		case porcupine.Unknown:
			r.problem("%s has too many operations to be checked in %s", key, porcupineLimit)
		}
	}
	return r
}

// applied are the traces that have a granted row.
func (e *Evidence) applied() map[string]bool {
	out := map[string]bool{}
	for i := range e.Rows {
		if e.Rows[i].Outcome.String() == "granted" {
			out[fmt.Sprintf("%x", e.Rows[i].TraceID)] = true
		}
	}
	return out
}

func operations(ops []*history.Op) []porcupine.Operation {
	out := make([]porcupine.Operation, 0, len(ops))
	lost := 0
	for _, o := range ops {
		p := porcupine.Operation{ClientId: o.Worker, Input: o, Call: int64(o.Start), Return: int64(o.End)}
		if !o.Decided() {
			lost++
			p.Return = math.MaxInt64
			p.ClientId = 1000 + lost // whoever called goes on meanwhile
		}
		out = append(out, p)
	}
	return out
}

func picture(dir, key string, info porcupine.LinearizationInfo) string {
	if dir == "" {
		return ""
	}
	file := filepath.Join(dir, "porcupine-"+strings.NewReplacer("/", "_", " ", "_", ":", "").Replace(key)+".html")
	f, err := os.Create(file)
	if err != nil {
		return ": " + err.Error()
	}
	defer func() { _ = f.Close() }()
	if err := porcupine.Visualize(model.Register(), info, f); err != nil {
		return ": " + err.Error()
	}
	return ": " + file
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
