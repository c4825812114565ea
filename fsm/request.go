package fsm

import (
	"bytes"
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// Domains of keys that one access alone needs.
const (
	domainRequest = "request"
	domainExpiry  = "expiry"
)

var deterministic = proto.MarshalOptions{Deterministic: true}

func (x *access) requestKey() []byte {
	if x.request == nil {
		x.request = x.t.opaque(domainRequest, x.caller.ID, string(x.a.GetRequestId()))
	}
	return x.request
}

// remembered looks for an earlier mutation with this caller and request id. The
// same content gives its result again; other content is a mismatch; nil: it is
// new.
func (x *access) remembered(r *record) *fsmpb.Result {
	var old fsmpb.Remembered
	if !x.t.recall(x.requestKey(), &old) || x.st.time-old.GetTime() > x.limits.GetRequestWindow() {
		return nil
	}
	same := bytes.Equal(old.GetRecord(), r.key) && old.GetOperation() == uint32(x.op) &&
		bytes.Equal(old.GetDigest(), x.a.GetRequestDigest())
	if !same {
		return outcome(fsmpb.Outcome_OUTCOME_MISMATCH)
	}
	var first fsmpb.Result
	if proto.Unmarshal(old.GetResult(), &first) != nil {
		return outcome(fsmpb.Outcome_OUTCOME_MISMATCH)
	}
	x.version = first.GetWritten().GetVersion() + first.GetRotation().GetPending() // one of them
	return &fsmpb.Result{Outcome: fsmpb.Outcome_OUTCOME_REPLAYED, Value: first.GetValue()}
}

// remember keeps a granted mutation's result for the request window.
func (x *access) remember(r *record, res *fsmpb.Result) *fsmpb.Result {
	result, err := deterministic.Marshal(res)
	if err != nil {
		return res // a message of our own making: it marshals
	}
	x.keep(x.requestKey(), &fsmpb.Remembered{
		Record: r.key, Operation: uint32(x.op), Digest: x.a.GetRequestDigest(), Result: result, Time: x.st.time,
	}, x.st.time+x.limits.GetRequestWindow())
	return res
}

// keep remembers a request until that time, unless it is already.
func (x *access) keep(key []byte, m *fsmpb.Remembered, until int64) {
	if m.GetUntil() == until {
		return
	}
	m.Until = until
	x.t.remember(key, m, requestDue(x.t, key, until))
}

// expire queues something for the sweep at that time.
func (x *access) expire(at int64, e *fsmpb.Expiry) {
	x.t.set(tableExpiry, dueKey(x.t, at, e.GetKind(), e.GetKey()), e)
}

func requestDue(t tx, key []byte, until int64) []byte {
	return dueKey(t, until, fsmpb.Expiry_KIND_REQUEST, key)
}

// dueKey is when something is to end, and eight bytes that tell it from others.
func dueKey(t tx, at int64, kind fsmpb.Expiry_Kind, key []byte) []byte {
	due := binary.BigEndian.AppendUint64(nil, uint64(at))
	return append(due, t.opaque(domainExpiry, string(key), kind.String())[:8]...)
}
