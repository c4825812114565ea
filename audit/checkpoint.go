package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const (
	originPrefix  = "hexrd/"
	indexPrefix   = "raft-index "
	maxCheckpoint = 64 << 10
)

// Checkpoint is what a majority says of the tree: its root at a size, and the
// raft index that it was taken at. Its text follows C2SP tlog-checkpoint.
type Checkpoint struct {
	Cluster   [16]byte
	Size      uint64
	Root      [32]byte
	RaftIndex uint64
}

// Text is the body: origin, size, root, and the raft index as an extension line.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s%x\n%d\n%s\n%s%d\n", originPrefix, c.Cluster, c.Size,
		base64.StdEncoding.EncodeToString(c.Root[:]), indexPrefix, c.RaftIndex)
}

// ParseCheckpoint reads a body, and nothing that Text would not write.
func ParseCheckpoint(text string) (Checkpoint, error) {
	var c Checkpoint
	if len(text) > maxCheckpoint {
		return c, ErrCheckpoint
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[4] != "" {
		return c, ErrCheckpoint
	}
	id, ok := strings.CutPrefix(lines[0], originPrefix)
	cluster, err := hex.DecodeString(id)
	if !ok || err != nil || len(cluster) != len(c.Cluster) {
		return c, fmt.Errorf("%w: origin", ErrCheckpoint)
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return c, fmt.Errorf("%w: root", ErrCheckpoint)
	}
	copy(c.Cluster[:], cluster)
	copy(c.Root[:], root)
	if c.Size, err = strconv.ParseUint(lines[1], 10, 64); err != nil {
		return c, fmt.Errorf("%w: size", ErrCheckpoint)
	}
	index, ok := strings.CutPrefix(lines[3], indexPrefix)
	if c.RaftIndex, err = strconv.ParseUint(index, 10, 64); err != nil || !ok {
		return c, fmt.Errorf("%w: raft index", ErrCheckpoint)
	}
	if c.Text() != text {
		return c, fmt.Errorf("%w: not in its canonical form", ErrCheckpoint)
	}
	return c, nil
}

func (c Checkpoint) keyName(nodeID string) string {
	return fmt.Sprintf("%s%x/%s", originPrefix, c.Cluster, nodeID)
}

// Sign returns the checkpoint as a note with the node's signature.
func (c Checkpoint) Sign(nodeID string, key ed25519.PrivateKey) ([]byte, error) {
	v, err := c.verifier(nodeID, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return note.Sign(&note.Note{Text: c.Text()}, signer{v, key})
}

// signer signs notes with a key that note.NewSigner would want as text.
type signer struct {
	note.Verifier
	key ed25519.PrivateKey
}

func (s signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

func (c Checkpoint) verifier(nodeID string, key ed25519.PublicKey) (note.Verifier, error) {
	vkey, err := note.NewEd25519VerifierKey(c.keyName(nodeID), key)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(vkey)
}

// VerifyCheckpoint reads a signed note and returns who of keys (node ID to
// public key) signed it; ErrCheckpoint when fewer than need did, or a signature
// in a member's name is not its own.
func VerifyCheckpoint(signed []byte, keys map[string]ed25519.PublicKey, need int) (Checkpoint, []string, error) {
	c, n, err := openCheckpoint(signed, keys)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	var signers []string
	for _, s := range n.Sigs {
		signers = append(signers, s.Name[strings.LastIndexByte(s.Name, '/')+1:])
	}
	slices.Sort(signers)
	if len(signers) < need {
		return Checkpoint{}, signers, fmt.Errorf("%w: %d of the %d members' signatures that it takes", ErrCheckpoint, len(signers), need)
	}
	return c, signers, nil
}

// ReadCheckpoint reads what a signed note says, without looking at who signed.
func ReadCheckpoint(signed []byte) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, ErrCheckpoint
	}
	if !ok {
		return Checkpoint{}, fmt.Errorf("%w: it is not signed", ErrCheckpoint)
	}
	return ParseCheckpoint(text + "\n")
}

func openCheckpoint(signed []byte, keys map[string]ed25519.PublicKey) (Checkpoint, *note.Note, error) {
	c, err := ReadCheckpoint(signed)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	var verifiers []note.Verifier
	for node, key := range keys {
		v, err := c.verifier(node, key)
		if err != nil {
			return Checkpoint{}, nil, fmt.Errorf("%w: key of a node: %w", ErrCheckpoint, err)
		}
		verifiers = append(verifiers, v)
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	var unknown *note.UnverifiedNoteError
	var forged *note.InvalidSignatureError
	switch {
	case errors.As(err, &unknown):
		return Checkpoint{}, nil, fmt.Errorf("%w: no member signed it", ErrCheckpoint)
	case errors.As(err, &forged):
		return Checkpoint{}, nil, fmt.Errorf("%w: a signature is not of what it says: it was tampered with", ErrCheckpoint)
	case err != nil:
		return Checkpoint{}, nil, fmt.Errorf("%w: it is no signed note", ErrCheckpoint)
	}
	return c, n, nil
}

// Combine puts the signatures of notes of this checkpoint into one note. A note
// that is of another, or that its node did not sign, is left out.
func (c Checkpoint) Combine(notes [][]byte, keys map[string]ed25519.PublicKey) ([]byte, error) {
	all := &note.Note{Text: c.Text()}
	for _, signed := range notes {
		if got, n, err := openCheckpoint(signed, keys); err == nil && got == c {
			all.Sigs = append(all.Sigs, n.Sigs...)
		}
	}
	slices.SortFunc(all.Sigs, func(a, b note.Signature) int { return strings.Compare(a.Name, b.Name) })
	return note.Sign(all)
}
