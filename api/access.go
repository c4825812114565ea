package api

import (
	"context"
	"sort"
	"strconv"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// access fills an access with who calls.
func (s *Server) access(c *call, a *fsmpb.Access) *fsmpb.Access {
	a.Caller, a.Svid, a.Expires = c.caller.ID, fsmpb.SVIDKind_SVID_KIND_X509, c.peer.NotAfter.UnixNano()
	if c.peer.TokenDigest != nil {
		a.Svid, a.TokenDigest = fsmpb.SVIDKind_SVID_KIND_JWT, c.peer.TokenDigest
	}
	a.Peer, a.RequestId, a.TraceId = c.peer.Addr, c.requestID[:], c.traceID
	a.Seen = s.backend.Store().Time()
	if fsm.OperationOf(a) != c.method.audited {
		panic("api: a method proposes an operation that is not the one of its line in the method table")
	}
	return a
}

// decide puts one access through the log, and returns what was granted, or the
// outcome as a failure.
func (s *Server) decide(ctx context.Context, a *fsmpb.Access) (*fsmpb.Result, uint64, error) {
	results, index, err := s.backend.Do(ctx, []*fsmpb.Access{a})
	if err != nil {
		return nil, 0, err
	}
	return results[0], index, outcomeError(results[0])
}

func outcomeError(r *fsmpb.Result) error {
	switch o := r.GetOutcome(); o {
	case fsmpb.Outcome_OUTCOME_GRANTED, fsmpb.Outcome_OUTCOME_REPLAYED:
		return nil
	default:
		if f := outcomeFailures[o]; f != nil {
			return f
		}
		return errPanic
	}
}

func replayed(r *fsmpb.Result) bool { return r.GetOutcome() == fsmpb.Outcome_OUTCOME_REPLAYED }

// fullScope is the scope of a mutation: the one given, or an agent's own.
func fullScope(c *call, given string) (fsm.Scope, error) {
	scope, err := fsm.ParseScope(c.caller, given)
	if err != nil {
		return fsm.Scope{}, invalid("scope: " + err.Error())
	}
	return scope, nil
}

// pinnedScope is the scope of a read: none resolves for agents.
func pinnedScope(c *call, given string) (string, error) {
	if given == "" && c.caller.Class == fsm.ClassAgent {
		return "", nil
	}
	scope, err := fullScope(c, given)
	if err != nil {
		return "", err
	}
	return scope.String(), nil
}

func parsePath(p string) (fsm.Path, error) {
	path, err := fsm.ParsePath(p)
	if err != nil {
		return "", invalid("path: " + err.Error())
	}
	return path, nil
}

// requestDigest names a mutation's content, so that a request id can't be used
// for another. It is keyed: the log must not tell values apart.
func (s *Server) requestDigest(op string, parts ...string) []byte {
	d := s.backend.Keys().Opaque("request digest", append([]string{op}, parts...)...)
	return d[:]
}

// flatten orders a map for the digest.
func flatten(m map[string]string) []string {
	out := make([]string, 0, 2*len(m)+1)
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	out = append(out, strconv.Itoa(len(m)))
	for _, k := range keys {
		out = append(out, k, m[k])
	}
	return out
}
