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
	if !x.t.get(tableRequest, x.requestKey(), &old) || x.st.time-old.GetTime() > x.limits.GetRequestWindow() {
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
	key := x.requestKey()
	x.t.set(tableRequest, key, &fsmpb.Remembered{
		Record: r.key, Operation: uint32(x.op), Digest: x.a.GetRequestDigest(), Result: result, Time: x.st.time,
	})
	x.expire(x.st.time+x.limits.GetRequestWindow(), &fsmpb.Expiry{Kind: fsmpb.Expiry_KIND_REQUEST, Key: key})
	return res
}

// expire queues something for the sweep at that time.
func (x *access) expire(at int64, e *fsmpb.Expiry) {
	x.t.set(tableExpiry, x.expiryKey(at, e), e)
}

func (x *access) expiryKey(at int64, e *fsmpb.Expiry) []byte {
	key := binary.BigEndian.AppendUint64(nil, uint64(at))
	return append(key, x.t.opaque(domainExpiry, string(e.GetKey()), e.GetKind().String())[:8]...)
}
