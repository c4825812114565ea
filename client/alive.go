package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// signOfLife is how long a node may answer nothing, while calls wait, before it is asked
// who calls, and then again how long it has to answer that. What waits for a quorum waits
// for longer, but such a node answers this.
const signOfLife = time.Second

// listen has the session looked at while calls wait; the caller holds mu.
func (s *session) listen() {
	if s.look == nil {
		s.look = time.AfterFunc(signOfLife, s.alive)
	}
}

// alive ends the session of a node that hangs or is cut off: its calls go elsewhere,
// where another node may lead by now.
func (s *session) alive() {
	if ask := s.suspect(); ask != nil {
		_ = s.calls.Write(ask) // an error ends the session
	}
}

// suspect returns what the node is to be asked.
func (s *session) suspect() *hexrv1.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := time.Since(s.since)
	switch {
	case s.err != nil || len(s.waiting) == 0:
		s.look = nil
	case quiet < signOfLife:
		s.look.Reset(signOfLife - quiet)
	case s.asked:
		_ = s.calls.Close()
	default:
		s.asked = true
		s.look.Reset(signOfLife)
		ask := whoAmI()
		s.send(ask, &waiting{answer: make(chan *hexrv1.Answer, 1), size: proto.Size(ask)})
		return ask
	}
	return nil
}

func whoAmI() *hexrv1.Call { return &hexrv1.Call{Method: hexrv1.Vault_WhoAmI_FullMethodName} }

var errHangs = status.Error(codes.Unavailable, "the node hangs")

// alone makes a call over gRPC, which shows no signs of life (its pings come ten seconds
// apart at least): where it takes long, the node's session asks for one.
func (n *node) alone(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	look := time.AfterFunc(signOfLife, func() {
		if n.hangs(ctx) {
			leave(errHangs)
		}
	})
	defer look.Stop()
	var to peer.Peer
	err := n.ClientConn.Invoke(ctx, method, req, reply, append(opts, grpc.Peer(&to))...)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errHangs):
		return errHangs
	case status.Code(err) == codes.Unavailable && to.Addr == nil: // there was no connection to send it over
		return errUnreached
	}
	return err
}

// hangs: the node does not even say who calls. One that is too old for sessions, or has
// no room for another, does not hang.
func (n *node) hangs(ctx context.Context) bool {
	s := n.open()
	if s == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, signOfLife)
	defer cancel()
	_, err := s.call(ctx, whoAmI())
	var said *Error
	return err != nil && !errors.Is(err, errAlone) && !errors.As(err, &said)
}
