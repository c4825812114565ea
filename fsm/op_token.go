package fsm

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	tokenIDSize = 8
	maxTokens   = 1000
)

func (x *access) tokenCreate(op *fsmpb.TokenCreate) *fsmpb.Result {
	id := op.GetHash()[:tokenIDSize]
	x.detail = hex.EncodeToString(id) + " " + op.GetNodeId()
	tokens := x.st.tokens.GetTokens()
	i, found := findToken(tokens, id)
	if found {
		return conflict()
	}
	if len(tokens) >= maxTokens {
		return outcome(fsmpb.Outcome_OUTCOME_QUOTA)
	}
	t := &fsmpb.Token{
		Id: id, Hash: op.GetHash(), NodeId: op.GetNodeId(), CreatedAt: x.st.time, ExpiresAt: x.st.time + op.GetTtl(),
	}
	x.st.setTokens(slices.Insert(slices.Clone(tokens), i, t))
	x.expire(t.GetExpiresAt(), &fsmpb.Expiry{Kind: fsmpb.Expiry_KIND_TOKEN, Key: id})
	return tokenSet(t)
}

func findToken(tokens []*fsmpb.Token, id []byte) (int, bool) {
	return slices.BinarySearchFunc(tokens, id, func(t *fsmpb.Token, id []byte) int { return bytes.Compare(t.GetId(), id) })
}

// tokenSet shows tokens without what would let someone use them.
func tokenSet(tokens ...*fsmpb.Token) *fsmpb.Result {
	set := &fsmpb.TokenSet{}
	for _, t := range tokens {
		set.Tokens = append(set.Tokens, &fsmpb.Token{
			Id: t.GetId(), NodeId: t.GetNodeId(), CreatedAt: t.GetCreatedAt(), ExpiresAt: t.GetExpiresAt(), Used: t.GetUsed(),
		})
	}
	res := granted()
	res.Value = &fsmpb.Result_TokenSet{TokenSet: set}
	return res
}

func (x *access) tokenList() *fsmpb.Result { return tokenSet(x.st.tokens.GetTokens()...) }

func (x *access) tokenRevoke(op *fsmpb.TokenRevoke) *fsmpb.Result {
	x.detail = hex.EncodeToString(op.GetId())
	if !x.dropToken(op.GetId()) {
		return notFound()
	}
	return granted()
}

func (x *access) dropToken(id []byte) bool {
	tokens := x.st.tokens.GetTokens()
	i, found := findToken(tokens, id)
	if found {
		x.st.setTokens(slices.Delete(slices.Clone(tokens), i, i+1))
	}
	return found
}

// useToken consumes the token that names this node; it reports whether there is
// one that has not ended and was not used.
func (x *access) useToken(hash []byte, nodeID string) bool {
	if len(hash) != digestSize {
		return false
	}
	tokens := x.st.tokens.GetTokens()
	i, found := findToken(tokens, hash[:tokenIDSize])
	if !found {
		return false
	}
	t := tokens[i]
	if !bytes.Equal(t.GetHash(), hash) || t.GetNodeId() != nodeID || t.GetUsed() || t.GetExpiresAt() <= x.st.time {
		return false
	}
	used := &fsmpb.Token{
		Id: t.GetId(), Hash: t.GetHash(), NodeId: t.GetNodeId(), CreatedAt: t.GetCreatedAt(), ExpiresAt: t.GetExpiresAt(), Used: true,
	}
	tokens = slices.Clone(tokens)
	tokens[i] = used
	x.st.setTokens(tokens)
	return true
}
