package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

const cachedCallers = 4 << 10 // of a generation

// knownCallers remembers what IDs are: an access comes mostly from one that was
// there before. Not safe for concurrent use.
type knownCallers struct {
	known *generations[string, *knownCaller]
}

// knownCaller is a caller with the scopes that it reads.
type knownCaller struct {
	Caller
	reads []placed
}

// placed is a scope with its text.
type placed struct {
	Scope
	text string
}

func place(s Scope) placed { return placed{s, s.String()} }

func newKnownCallers() knownCallers {
	return knownCallers{newGenerations[string, *knownCaller](cachedCallers, nil)}
}

// parse is ParseCaller.
func (k knownCallers) parse(id, trustDomain string) (*knownCaller, error) {
	if c, ok := k.known.get(id); ok && c.TrustDomain == trustDomain {
		return c, nil
	}
	c, err := ParseCaller(id, trustDomain)
	if err != nil {
		return nil, err
	}
	known := &knownCaller{Caller: c}
	for _, s := range ReadScopes(c) {
		known.reads = append(known.reads, place(s))
	}
	k.known.add(id, known)
	return known, nil
}

// validate is validateAccess, for a trust domain that is known.
func (k knownCallers) validate(a *fsmpb.Access, trustDomain string) error {
	c, err := k.parse(a.GetCaller(), trustDomain)
	if err != nil {
		return refuse("caller")
	}
	return validateOf(c.Class, a, trustDomain)
}
