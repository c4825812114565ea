package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/internal/quiet"
)

// call is an authenticated, admitted call.
type call struct {
	peer      Peer
	caller    fsm.Caller
	method    *method
	requestID [16]byte
	traceID   []byte // 16 bytes or none
	pass      *pass
	decided   uint64 // raft index of what the log decided; 0: nothing
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// metadata is what a transport knows of a call beside its message.
type metadata struct {
	requestID   []byte // 16 bytes or none
	traceParent string
	pass        *pass // what the transport admitted the call with
}

// invoke is the one path of every unary call of both transports: method table,
// identity, class, expiry, rules; then the handler. The transport has applied the
// limits before, so that what it reads is bounded too.
func (s *Server) invoke(ctx context.Context, peer Peer, known bool, name string, md metadata, req proto.Message,
	handler func(context.Context, proto.Message) (proto.Message, error),
) (resp proto.Message, c *call, err error) {
	begin := time.Now()
	defer func() { s.metrics.answered(name, err, time.Since(begin)) }()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(name, v)
			resp, err = nil, errPanic
		}
	}()
	c, err = s.admit(peer, known, name, md)
	if err != nil {
		return nil, c, err
	}
	if err := s.validate(req); err != nil {
		return nil, c, err
	}
	resp, err = handler(context.WithValue(ctx, callKey{}, c), req)
	return resp, c, err
}

// invokeMethod is invoke of a unary method of the table.
func (s *Server) invokeMethod(ctx context.Context, peer Peer, m *method, md metadata, req proto.Message) (proto.Message, *call, error) {
	return s.invoke(ctx, peer, true, m.name, md, req, func(ctx context.Context, req proto.Message) (proto.Message, error) {
		return m.handle.run(s, ctx, req)
	})
}

// panicked logs what recover returned, without its value: it may be anything. It
// is called in the deferred function itself.
func (s *Server) panicked(method string, value any) {
	if s.methods[method] == nil && method != "http" && method != "session" { // its name is the caller's
		method = "unknown"
	}
	s.log.Error("a handler panicked: this is a bug, please report it", "method", method, quiet.Panic(value))
}

// admit finds out who calls what, and whether its class may.
func (s *Server) admit(peer Peer, known bool, name string, md metadata) (*call, error) {
	m := s.methods[name]
	if m == nil {
		return nil, errMethod
	}
	if !known {
		return nil, errUnauthenticated
	}
	caller, err := fsm.ParseCaller(peer.ID, s.cfg.TrustDomain)
	if err != nil {
		return nil, errUnauthenticated
	}
	c := &call{peer: peer, caller: caller, method: m, traceID: traceID(md.traceParent), pass: md.pass}
	if c.requestID, err = requestID(md.requestID); err != nil {
		return nil, err
	}
	if !slices.Contains(m.classes, caller.Class) {
		return c, s.refuseClass(c)
	}
	if !peer.NotAfter.After(time.Now()) {
		return c, errExpired
	}
	if m.audited == 0 { // of all others the log decides, and has a row
		return c, s.stillAdmitted(c)
	}
	return c, nil
}

// refuseClass refuses a caller of the wrong class. It has no row: the request
// was not looked at.
func (s *Server) refuseClass(*call) error { return errClass }

// validate checks the rules in the proto. Messages without rules pass.
func (s *Server) validate(req proto.Message) error {
	if req == nil {
		return nil
	}
	err := s.rules.Validate(req)
	if err == nil {
		return nil
	}
	var violations *protovalidate.ValidationError
	if !errors.As(err, &violations) || len(violations.Violations) == 0 {
		return errPanic
	}
	v := violations.Violations[0].Proto
	return invalid(strings.TrimSpace(protovalidate.FieldPathString(v.GetField()) + ": " + v.GetMessage()))
}
