package client

import (
	"context"
	"errors"
	"net"
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
	// alonePause is how long calls go on their own after a node, an older one, did not
	// know sessions.
	alonePause = time.Minute
	// After a node could not be reached, calls fail at once for firstDialPause, after each
	// further time twice as long, up to maxDialPause.
	firstDialPause = 50 * time.Millisecond
	maxDialPause   = time.Second
)

// frequent are the methods that a session carries.
var frequent = map[string]bool{
	hexrv1.Vault_Get_FullMethodName: true, hexrv1.Vault_Put_FullMethodName: true, hexrv1.Vault_Describe_FullMethodName: true,
}

// errAlone: a call goes on its own; nothing of it was sent.
var errAlone = errors.New("not for the session")

// errUnreached: nothing was sent.
var errUnreached = status.Error(codes.Unavailable, "the node can't be reached")

// dialer makes a connection for a session. errAlone: the node does not know them.
type dialer func(context.Context) (net.Conn, error)

// node is the way to one: frequent calls go over a connection that carries them, its
// session, all others over gRPC. Both connect with the first call, and again after
// they broke.
type node struct {
	*grpc.ClientConn
	dial    dialer
	ctx     context.Context // ends sessions
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	session  *session
	until    time.Time // the session could not be opened, and fails its calls until then; or zero
	failures int       // in a row
}

func newNode(ctx context.Context, conn *grpc.ClientConn, dial dialer) *node {
	n := &node{ClientConn: conn, dial: dial}
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
		return n.alone(ctx, method, req, reply, opts...)
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

// open is the session that is open, or a new one; nil: the client is closed.
func (n *node) open() *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.ctx.Err() != nil:
		return nil
	case n.session != nil && (n.until.IsZero() || time.Now().Before(n.until)):
		return n.session
	}
	s := newSession()
	n.session, n.until = s, time.Time{}
	n.running.Go(func() { n.run(s) })
	return s
}

// run keeps a session until it breaks: calls under way then end as it did. One that
// could not be opened stays for a while.
func (n *node) run(s *session) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	conn, err := n.dial(ctx)
	if err != nil {
		n.unreached(s, err)
		return
	}
	n.mu.Lock()
	n.failures = 0
	n.mu.Unlock()
	err = s.run(ctx, conn)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.session = nil
	s.fail(err)
}

func (n *node) unreached(s *session, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pause := alonePause
	if !errors.Is(err, errAlone) {
		pause, err = min(firstDialPause<<n.failures, maxDialPause), errUnreached
		n.failures = min(n.failures+1, 10)
	}
	n.until = time.Now().Add(pause)
	s.fail(err)
}
