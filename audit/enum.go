package audit

import "fmt"

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
		"", "get", "put", "list", "delete", "undelete", "destroy", "describe", "versions",
		"audit.query", "audit.tail", "audit.verify", "token.create", "token.list", "token.revoke",
		"member.join", "member.promote", "member.remove", "member.transfer", "member.leave", "member.announce",
		"key.release", "settings.get", "settings.set", "block", "unblock", "block.list", "cluster.bootstrap",
		"throttled", "sweep",
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
func (o Operation) Valid() bool { return o != 0 && int(o) < len(operationNames) }

// Valid reports whether the number has a meaning.
func (o Outcome) Valid() bool { return o != 0 && int(o) < len(outcomeNames) }

// Valid reports whether the number has a meaning.
func (k SVIDKind) Valid() bool { return k != 0 && int(k) < len(svidNames) }

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

func name(names []string, n uint8) string {
	if n == 0 || int(n) >= len(names) {
		return fmt.Sprintf("unknown(%d)", n)
	}
	return names[n]
}

func parse(names []string, s, what string) (uint8, error) {
	for i, n := range names[1:] {
		if n == s {
			return uint8(i + 1), nil
		}
	}
	return 0, fmt.Errorf("unknown %s: use one of %q", what, names[1:])
}
