package audit

import (
	"fmt"
	"slices"
)

// Operation is what was attempted. Numbers are for ever.
type Operation uint8

// Outcome is what became of it.
type Outcome uint8

// SVIDKind is how the caller proved itself.
type SVIDKind uint8

// Operations.
const (
	OpGet Operation = iota + 1
	OpPut
	OpList
	OpDelete
	OpUndelete
	OpDestroy
	OpDescribe
	OpVersions
	OpAuditQuery
	OpAuditTail
	OpAuditVerify
	OpTokenCreate
	OpTokenList
	OpTokenRevoke
	OpMemberJoin
	OpMemberPromote
	OpMemberRemove
	OpMemberTransfer
	OpMemberLeave
	OpMemberAnnounce
	OpKeyRelease
	OpSettingsGet
	OpSettingsSet
	OpBlock
	OpUnblock
	OpBlockList
	OpBootstrap
	OpThrottled
	OpSweep
)

// Outcomes.
const (
	Granted Outcome = iota + 1
	Denied
	NotFound
	Conflict
	Shadowed
	Replayed
	Expired
	Blocked
	Quota
	Mismatch
	Gone
	Stale
	Invalid
)

// Kinds of SVID.
const (
	SVIDNone SVIDKind = iota + 1
	SVIDX509
	SVIDJWT
)

var (
	operationNames = []string{
		OpGet:            "get",
		OpPut:            "put",
		OpList:           "list",
		OpDelete:         "delete",
		OpUndelete:       "undelete",
		OpDestroy:        "destroy",
		OpDescribe:       "describe",
		OpVersions:       "versions",
		OpAuditQuery:     "audit.query",
		OpAuditTail:      "audit.tail",
		OpAuditVerify:    "audit.verify",
		OpTokenCreate:    "token.create",
		OpTokenList:      "token.list",
		OpTokenRevoke:    "token.revoke",
		OpMemberJoin:     "member.join",
		OpMemberPromote:  "member.promote",
		OpMemberRemove:   "member.remove",
		OpMemberTransfer: "member.transfer",
		OpMemberLeave:    "member.leave",
		OpMemberAnnounce: "member.announce",
		OpKeyRelease:     "key.release",
		OpSettingsGet:    "settings.get",
		OpSettingsSet:    "settings.set",
		OpBlock:          "block",
		OpUnblock:        "unblock",
		OpBlockList:      "block.list",
		OpBootstrap:      "cluster.bootstrap",
		OpThrottled:      "throttled",
		OpSweep:          "sweep",
	}
	outcomeNames = []string{
		"", "granted", "denied", "not_found", "conflict", "shadowed", "replayed", "expired", "blocked", "quota",
		"mismatch", "gone", "stale", "invalid",
	}
	svidNames = []string{"", "none", "x509", "jwt"}
)

func (o Operation) String() string { return name(operationNames, uint8(o)) }
func (o Outcome) String() string   { return name(outcomeNames, uint8(o)) }
func (k SVIDKind) String() string  { return name(svidNames, uint8(k)) }

// Valid reports whether the number has a meaning.
func (o Operation) Valid() bool { return has(operationNames, uint8(o)) }

// Valid reports whether the number has a meaning.
func (o Outcome) Valid() bool { return has(outcomeNames, uint8(o)) }

// Valid reports whether the number has a meaning.
func (k SVIDKind) Valid() bool { return has(svidNames, uint8(k)) }

// ParseOperation is the inverse of String.
func ParseOperation(s string) (Operation, error) {
	n, err := parse(operationNames, s, "operation")
	return Operation(n), err
}

// ParseOutcome is the inverse of String.
func ParseOutcome(s string) (Outcome, error) {
	n, err := parse(outcomeNames, s, "outcome")
	return Outcome(n), err
}

// has reports whether the number has a name; some are free.
func has(names []string, n uint8) bool { return int(n) < len(names) && names[n] != "" }

func name(names []string, n uint8) string {
	if !has(names, n) {
		return fmt.Sprintf("unknown(%d)", n)
	}
	return names[n]
}

func parse(names []string, s, what string) (uint8, error) {
	if i := slices.Index(names, s); i > 0 && s != "" {
		return uint8(i), nil
	}
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	return 0, fmt.Errorf("unknown %s: use one of %q", what, known)
}
