package client

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/internal/frames"
)

// quietly runs a session against a node, on a clock of the test's own.
func quietly(t *testing.T, node func(t *testing.T, calls *frames.Conn), test func(t *testing.T, s *session)) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		s, ended := newSession(), make(chan struct{})
		go func() {
			defer close(ended)
			s.fail(s.run(t.Context(), here))
		}()
		go func() {
			calls := frames.New(there, maxMessage, takingTimeout)
			node(t, calls)
			_ = calls.Close()
		}()
		test(t, s)
		_ = here.Close()
		<-ended
	})
}

func getCall() *hexrv1.Call { return &hexrv1.Call{Method: hexrv1.Vault_Get_FullMethodName} }

// TestNodeThatHangs: calls of one that does not even say who calls are free to go
// elsewhere, long before their time is over.
func TestNodeThatHangs(t *testing.T) {
	var asked atomic.Int32
	quietly(t, func(_ *testing.T, calls *frames.Conn) {
		for call := take(calls); call != nil; call = take(calls) {
			if call.GetMethod() == hexrv1.Vault_WhoAmI_FullMethodName {
				asked.Add(1)
			}
		}
	}, func(t *testing.T, s *session) {
		began := time.Now()
		_, err := s.call(t.Context(), getCall())
		if status.Code(err) != codes.Unavailable || time.Since(began) != 2*signOfLife || asked.Load() != 1 {
			t.Errorf("%v after %s, asked %d times", err, time.Since(began), asked.Load())
		}
	})
}

// TestNodeThatWaits: one that takes its time for a call, but says who calls, keeps it.
func TestNodeThatWaits(t *testing.T) {
	const takes = 10*signOfLife - time.Millisecond
	var asked atomic.Int32
	quietly(t, func(t *testing.T, calls *frames.Conn) {
		slow := take(calls)
		time.AfterFunc(takes, func() { say(t, calls, &hexrv1.Answer{Id: slow.GetId()}) })
		time.AfterFunc(2*takes, func() { _ = calls.Close() })
		for call := take(calls); call != nil; call = take(calls) {
			if call.GetMethod() == hexrv1.Vault_WhoAmI_FullMethodName {
				asked.Add(1)
				say(t, calls, &hexrv1.Answer{Id: call.GetId()})
			}
		}
	}, func(t *testing.T, s *session) {
		began := time.Now()
		if _, err := s.call(t.Context(), getCall()); err != nil || time.Since(began) != takes {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		<-s.broke
		if asked.Load() != 9 { // once a second, and not while no call waits
			t.Errorf("it was asked %d times", asked.Load())
		}
	})
}

// TestGivenUpCallIsLookedAfter: nobody waits for its answer any more, but the next call
// must not go to a node that hangs.
func TestGivenUpCallIsLookedAfter(t *testing.T) {
	quietly(t, func(_ *testing.T, calls *frames.Conn) {
		for call := take(calls); call != nil; call = take(calls) {
		}
	}, func(t *testing.T, s *session) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.call(ctx, getCall()); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("it ended with %v", err)
		}
		if <-s.broke; time.Since(began) != 2*signOfLife {
			t.Errorf("the session stood for %s", time.Since(began))
		}
		if _, err := s.call(t.Context(), getCall()); err == nil || errors.Is(err, errAlone) {
			t.Errorf("the next call: %v", err)
		}
	})
}

// TestNodeThatHangsAlone: the same for a call that no session carries.
func TestNodeThatHangsAlone(t *testing.T) {
	silent := func(calls *frames.Conn) {
		for call := take(calls); call != nil; call = take(calls) {
		}
	}
	for name, node := range map[string]struct {
		carry func(*frames.Conn)
		hangs bool
	}{
		"it says nothing": {silent, true},
		"it ends":         {func(*frames.Conn) {}, true},
		"it says who calls": {func(calls *frames.Conn) {
			say(t, calls, answerTo(t, take(calls)))
			silent(calls)
		}, false},
		"it has no room for a session": {func(calls *frames.Conn) {
			say(t, calls, failure(0, "RESOURCE_EXHAUSTED", "TOO_MANY_SESSIONS"))
			silent(calls)
		}, false},
		"it knows no sessions": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := serveNode(t, hanging{}, node.carry)
			if hangs := n.hangs(t.Context()); hangs != node.hangs {
				t.Errorf("it counts as hanging: %t", hangs)
			}
			if node.hangs {
				if _, err := vault(n).List(t.Context(), &hexrv1.ListRequest{}); status.Code(err) != codes.Unavailable {
					t.Errorf("a call ended with %v", err)
				}
			}
		})
	}
}

// hanging answers nothing, and a delete that it is unavailable.
type hanging struct {
	hexrv1.UnimplementedVaultServer
}

func (hanging) List(ctx context.Context, _ *hexrv1.ListRequest) (*hexrv1.ListResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hanging) Delete(context.Context, *hexrv1.DeleteRequest) (*hexrv1.DeleteResponse, error) {
	return nil, status.Error(codes.Unavailable, "")
}
