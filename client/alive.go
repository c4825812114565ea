package client

import (
	"time"

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
		ask := &hexrv1.Call{Method: hexrv1.Vault_WhoAmI_FullMethodName}
		s.send(ask, &waiting{answer: make(chan *hexrv1.Answer, 1), size: proto.Size(ask)})
		return ask
	}
	return nil
}
