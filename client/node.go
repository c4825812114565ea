package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

const (
	// carriedMost bounds a request that a session carries.
	carriedMost = 16 << 10
	// How long calls go on their own after a node refused a session.
	unknownPause = time.Minute // it is an older one
	refusedPause = time.Second
)

// frequent are the methods that a session carries.
var frequent = map[string]bool{
	hexrv1.Vault_Get_FullMethodName: true, hexrv1.Vault_Put_FullMethodName: true, hexrv1.Vault_Describe_FullMethodName: true,
}

// errAlone: a call goes on its own; nothing of it was sent.
var errAlone = errors.New("not for the session")

// node is the connection to one: frequent calls go over one stream, its session,
// all others have streams of their own. It opens the session with the first call
// and again after it broke.
type node struct {
	*grpc.ClientConn
	ctx     context.Context // ends sessions
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	session *session
	alone   time.Time // until then there is none
}

func newNode(ctx context.Context, conn *grpc.ClientConn) *node {
	n := &node{ClientConn: conn}
	n.ctx, n.end = context.WithCancel(ctx)
	return n
}

// Close ends the connection and what goes over it.
func (n *node) Close() error {
	n.mu.Lock() // no session begins any more
	n.end()
	n.mu.Unlock()
	err := n.ClientConn.Close()
	n.running.Wait()
	return err
}

// Invoke makes a unary call.
func (n *node) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	err := errAlone
	if frequent[method] { // our own calls: they have no options of weight
		err = n.carry(ctx, method, req.(proto.Message), reply.(proto.Message))
	}
	if errors.Is(err, errAlone) {
		return n.ClientConn.Invoke(ctx, method, req, reply, opts...)
	}
	return err
}

func (n *node) carry(ctx context.Context, method string, req, reply proto.Message) error {
	call := &hexrv1.Call{Method: method}
	if !only(ctx, "traceparent", &call.Traceparent) || proto.Size(req) > carriedMost {
		return errAlone
	}
	var err error
	if call.Request, err = proto.Marshal(req); err != nil {
		return status.Error(codes.Internal, "the request does not encode")
	}
	s := n.open()
	if s == nil {
		return errAlone
	}
	a, err := s.call(ctx, call)
	if err != nil {
		return err
	}
	if e := a.GetError(); e != nil {
		return fromData(e)
	}
	if err := proto.Unmarshal(a.GetResponse(), reply); err != nil {
		return status.Error(codes.Internal, "the answer does not decode")
	}
	return nil
}

// only reads the metadata of a call that is to travel; false: there is more.
func only(ctx context.Context, key string, value *string) bool {
	md, ok := metadata.FromOutgoingContext(ctx)
	if !ok {
		return true
	}
	if v := md.Get(key); len(v) == 1 {
		*value = v[0]
	}
	return len(md) == len(md.Get(key))
}

// open is the session that is open, or a new one; nil: there is to be none now.
func (n *node) open() *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.session == nil && n.ctx.Err() == nil && !time.Now().Before(n.alone) {
		s := newSession()
		n.session = s
		n.running.Go(func() { n.run(s) })
	}
	return n.session
}

// run keeps a session until it breaks. Calls under way then end as it did; where it
// was refused nothing of them was looked at.
func (n *node) run(s *session) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	err := s.run(ctx, n.ClientConn)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch status.Code(err) {
	case codes.Unimplemented:
		n.alone, err = time.Now().Add(unknownPause), errAlone
	case codes.ResourceExhausted:
		n.alone, err = time.Now().Add(refusedPause), errAlone
	}
	n.session = nil
	s.fail(err)
}
