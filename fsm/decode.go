package fsm

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	// MaxAccesses bounds the accesses of one entry.
	MaxAccesses = 4096

	maxMarks   = 256
	idSize     = 16
	digestSize = 32
	maxLabel   = 64
	maxText    = 256
)

// decodeEntry reads an entry of that cluster's log. What it does not know it
// refuses: the node must stop, never skip.
func decodeEntry(data []byte, clusterID [16]byte) (*fsmpb.Entry, error) {
	var e fsmpb.Entry
	if err := proto.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("%w: entry does not decode", ErrCorrupt)
	}
	if e.GetFormat() != entryFormat || entryHasUnknown(&e) {
		return nil, fmt.Errorf("entry: %w", ErrUnknownFormat)
	}
	if string(e.GetClusterId()) != string(clusterID[:]) {
		return nil, fmt.Errorf("entry: %w", ErrWrongCluster)
	}
	if c := e.GetCheck(); c != nil && len(c.GetRoot()) != digestSize {
		return nil, fmt.Errorf("%w: check of an entry", ErrCorrupt)
	}
	if len(e.GetAccesses()) > MaxAccesses || len(e.GetMarks()) > maxMarks || e.GetTime() < 0 {
		return nil, fmt.Errorf("%w: entry out of bounds", ErrCorrupt)
	}
	for _, m := range e.GetMarks() {
		if !validNodeID(m.GetNode()) {
			return nil, fmt.Errorf("%w: mark of an entry", ErrCorrupt)
		}
	}
	return &e, nil
}

// EntryMarks returns the marks in an entry of the log. They are the nodes' own
// words, and true whether or not the entry is committed; none of what does not
// decode.
func EntryMarks(data []byte) []*fsmpb.Mark {
	var e fsmpb.Entry
	if proto.Unmarshal(data, &e) != nil {
		return nil
	}
	return e.GetMarks()
}

// entryHasUnknown is hasUnknown for a whole entry.
func entryHasUnknown(e *fsmpb.Entry) bool {
	if len(e.ProtoReflect().GetUnknown()) > 0 || e.Check != nil && hasUnknown(e.Check.ProtoReflect()) {
		return true
	}
	for _, m := range e.GetMarks() {
		if hasUnknown(m.ProtoReflect()) {
			return true
		}
	}
	return slices.ContainsFunc(e.GetAccesses(), accessHasUnknown)
}

// accessHasUnknown is hasUnknown, at once for what comes most: a get and a put hold
// no messages.
func accessHasUnknown(a *fsmpb.Access) bool {
	switch op := a.GetOp().(type) {
	case *fsmpb.Access_Get:
		return len(a.ProtoReflect().GetUnknown())+len(op.Get.ProtoReflect().GetUnknown()) > 0
	case *fsmpb.Access_Put:
		return len(a.ProtoReflect().GetUnknown())+len(op.Put.ProtoReflect().GetUnknown()) > 0
	}
	return hasUnknown(a.ProtoReflect())
}

// hasUnknown reports fields that this version does not know, at any depth.
func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknown(v.List().Get(i).Message())
			}
		default:
			found = hasUnknown(v.Message())
		}
		return !found
	})
	return found
}

// validateAccess is the leader's check before an access enters the log, and
// Apply's again: what passes can't make Apply fail. ErrInvalidAccess says why.
// Fields that are not known are the decoder's to refuse.
func validateAccess(a *fsmpb.Access, trustDomain string) error {
	if b := a.GetBootstrap(); b != nil && trustDomain == "" {
		trustDomain = b.GetTrustDomain()
	}
	caller, err := ParseCaller(a.GetCaller(), trustDomain)
	if err != nil {
		return refuse("caller")
	}
	return validateOf(caller.Class, a, trustDomain)
}

// validateOf is validateAccess for a caller of that class.
func validateOf(class Class, a *fsmpb.Access, trustDomain string) error {
	switch {
	case len(a.GetSalt()) != idSize, len(a.GetRequestId()) != idSize:
		return refuse("salt or request id")
	case !validNodeID(a.GetNode()):
		return refuse("entry node")
	case !oneOf(len(a.GetTokenDigest()), 0, digestSize), !oneOf(len(a.GetTraceId()), 0, idSize):
		return refuse("token digest or trace id")
	case !oneOf(len(a.GetRequestDigest()), 0, digestSize):
		return refuse("request digest")
	case !validText(a.GetPeer(), audit.MaxPeer):
		return refuse("peer address")
	case a.GetSvid() < fsmpb.SVIDKind_SVID_KIND_NONE || a.GetSvid() > fsmpb.SVIDKind_SVID_KIND_JWT:
		return refuse("kind of SVID")
	case (a.GetSvid() == fsmpb.SVIDKind_SVID_KIND_JWT) != (len(a.GetTokenDigest()) > 0):
		return refuse("a JWT-SVID and its digest go together")
	case a.GetExpires() < 0, a.GetSeen() < 0:
		return refuse("time")
	case a.GetExpires() == 0 && (a.GetSvid() != fsmpb.SVIDKind_SVID_KIND_NONE || class != ClassNode):
		return refuse("only a node acts without an SVID's end")
	case a.GetSeen() == 0 && a.GetBootstrap() == nil:
		return refuse("time seen")
	}
	return validateOp(a, trustDomain)
}

func refuse(what string) error { return fmt.Errorf("%w: %s", ErrInvalidAccess, what) }

func oneOf(n int, allowed ...int) bool {
	for _, a := range allowed {
		if n == a {
			return true
		}
	}
	return false
}

func validateOp(a *fsmpb.Access, trustDomain string) error {
	switch op := a.GetOp().(type) {
	case *fsmpb.Access_Get:
		return validPathScope(op.Get.GetPath(), op.Get.GetScope(), trustDomain, true)
	case *fsmpb.Access_Describe:
		return validPathScope(op.Describe.GetPath(), op.Describe.GetScope(), trustDomain, true)
	case *fsmpb.Access_Versions:
		return validPathScope(op.Versions.GetPath(), op.Versions.GetScope(), trustDomain, true)
	case *fsmpb.Access_Put:
		return validatePut(a, op.Put, trustDomain)
	case *fsmpb.Access_Delete:
		return validateChange(a, op.Delete.GetPath(), op.Delete.GetScope(), trustDomain)
	case *fsmpb.Access_Undelete:
		return validateChange(a, op.Undelete.GetPath(), op.Undelete.GetScope(), trustDomain)
	case *fsmpb.Access_Destroy:
		return validateChange(a, op.Destroy.GetPath(), op.Destroy.GetScope(), trustDomain)
	case *fsmpb.Access_List:
		if _, err := ParsePrefix(op.List.GetPrefix()); err != nil {
			return refuse("prefix")
		}
		return validScope(op.List.GetScope(), trustDomain, true)
	case nil:
		return refuse("no operation")
	}
	if done, err := validateRotation(a, trustDomain); done {
		return err
	}
	return validateClusterOp(a)
}

func validPathScope(path, scope, trustDomain string, optional bool) error {
	if _, err := ParsePath(path); err != nil {
		return refuse("path")
	}
	return validScope(scope, trustDomain, optional)
}

func validScope(scope, trustDomain string, optional bool) error {
	if scope == "" && optional {
		return nil
	}
	if _, err := parseFullScope(scope, trustDomain); err != nil {
		return refuse("scope")
	}
	return nil
}

// validateChange is for mutations: a full scope and a request digest.
func validateChange(a *fsmpb.Access, path, scope, trustDomain string) error {
	if len(a.GetRequestDigest()) != digestSize {
		return refuse("request digest is missing")
	}
	return validPathScope(path, scope, trustDomain, false)
}

func validatePut(a *fsmpb.Access, p *fsmpb.Put, trustDomain string) error {
	if err := validateChange(a, p.GetPath(), p.GetScope(), trustDomain); err != nil {
		return err
	}
	if p.Rotation != nil && !ValidPeriod(p.GetRotation()) {
		return refuse("rotation")
	}
	return validValue(p.GetSealed(), p.GetSize(), p.GetLabels())
}

func validValue(sealed []byte, size uint64, labels map[string]string) error {
	if len(sealed) == 0 || len(sealed) > seal.MaxSealed || size > seal.MaxValue {
		return refuse("size of the value")
	}
	for k, v := range labels {
		if k == "" || !validText(k, maxLabel) || !validText(v, maxText) {
			return refuse("label")
		}
	}
	return nil
}

func validateClusterOp(a *fsmpb.Access) error {
	switch op := a.GetOp().(type) {
	case *fsmpb.Access_Bootstrap:
		if len(op.Bootstrap.GetKeys()) > 0 && validReports(op.Bootstrap.GetKeys()) != nil {
			return refuse("first keys")
		}
		if m := op.Bootstrap.GetMember(); m == nil || !validMember(m.GetId(), m.GetAddress(), m.GetAuditKey()) {
			return refuse("first member")
		}
	case *fsmpb.Access_Join:
		if !validMember(a.GetNode(), op.Join.GetAddress(), op.Join.GetAuditKey()) || !oneOf(len(op.Join.GetTokenHash()), 0, digestSize) {
			return refuse("member")
		}
	case *fsmpb.Access_MemberAnnounce:
		if !validAddress(op.MemberAnnounce.GetAddress()) {
			return refuse("address")
		}
	case *fsmpb.Access_TokenCreate:
		t := op.TokenCreate
		if len(t.GetHash()) != digestSize || !validNodeID(t.GetNodeId()) || t.GetTtl() <= 0 || t.GetTtl() > 24*hour {
			return refuse("token")
		}
	case *fsmpb.Access_TokenRevoke:
		if len(op.TokenRevoke.GetId()) != tokenIDSize {
			return refuse("token id")
		}
	case *fsmpb.Access_MemberPromote:
		return validTarget(op.MemberPromote.GetNodeId())
	case *fsmpb.Access_MemberRemove:
		return validTarget(op.MemberRemove.GetNodeId())
	case *fsmpb.Access_MemberTransfer:
		if op.MemberTransfer.GetNodeId() != "" {
			return validTarget(op.MemberTransfer.GetNodeId())
		}
	case *fsmpb.Access_SettingsSet:
		if !validText(op.SettingsSet.GetName(), maxLabel) || !validText(op.SettingsSet.GetValue(), maxLabel) {
			return refuse("setting")
		}
	case *fsmpb.Access_Block:
		return validSubject(op.Block.GetSubject())
	case *fsmpb.Access_Unblock:
		return validSubject(op.Unblock.GetSubject())
	case *fsmpb.Access_AuditQuery:
		return validFilter(op.AuditQuery.GetCaller(), op.AuditQuery.GetPath())
	case *fsmpb.Access_AuditTail:
		return validFilter(op.AuditTail.GetCaller(), "")
	case *fsmpb.Access_Sweep:
		if op.Sweep.GetLimit() == 0 || op.Sweep.GetLimit() > maxSweep {
			return refuse("limit")
		}
	case *fsmpb.Access_ThrottleSummary:
		return validSubject(op.ThrottleSummary.GetSubject())
	}
	return validateKeyOp(a)
}

func validMember(id, address string, auditKey []byte) bool {
	return validNodeID(id) && validAddress(address) && len(auditKey) == 32
}

func validAddress(a string) bool { return a != "" && validText(a, 261) } // 253 of a DNS name, colon, port

// validText is for what has no grammar: a text that is not UTF-8 does not
// marshal, and would take every access of its entry with it.
func validText(s string, most int) bool { return len(s) <= most && utf8.ValidString(s) }

func validTarget(id string) error {
	if !validNodeID(id) {
		return refuse("node id")
	}
	return nil
}

func validSubject(s string) error {
	if s == "" || !validText(s, audit.MaxDetail) {
		return refuse("subject")
	}
	return nil
}

func validFilter(caller, path string) error {
	if !validText(caller, audit.MaxCaller) || !validText(path, audit.MaxPath) {
		return refuse("filter")
	}
	return nil
}
