package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"
)

func sample(i uint64) *Row {
	return &Row{
		Index: i, Time: 1_700_000_000_000_000_000 + int64(i), Node: "n1", Caller: "spiffe://hexr.cloud/agent/acme/bot/main",
		SVID: SVIDX509, Operation: OpGet, Path: "api-keys/openai", Scope: "spiffe://hexr.cloud/agent/acme/bot/*",
		Outcome: Granted, Version: i, Peer: "127.0.0.1:9", RequestID: [16]byte{1}, TraceID: [16]byte{2}, Detail: "d", Salt: [16]byte{3},
	}
}

func encoded(t testing.TB, r *Row) []byte {
	t.Helper()
	b, err := AppendRow(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenRow: what is hashed is fixed for ever. The file is only added to.
func TestGoldenRow(t *testing.T) {
	const file = "testdata/row_1.golden"
	row := encoded(t, sample(5))
	leaf := LeafHash(row)
	got := hex.EncodeToString(row) + "\n" + hex.EncodeToString(leaf[:]) + "\n"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatalf("the encoding of rows has changed:\n%s", got)
	}
}

func TestRowsRoundTrip(t *testing.T) {
	text := func(n int) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, n), func(b []byte) string { return string(b) })
	}
	rapid.Check(t, func(t *rapid.T) {
		r := &Row{
			Index: rapid.Uint64().Draw(t, "index"), Time: rapid.Int64Min(0).Draw(t, "time"), Node: text(MaxNode).Draw(t, "node"),
			Caller: text(200).Draw(t, "caller"), SVID: SVIDJWT, TokenDigest: bytes.Repeat([]byte{1}, 32),
			Operation: Operation(rapid.IntRange(1, len(operationNames)-1).Filter(func(n int) bool { return Operation(n).Valid() }).Draw(t, "op")), Path: text(MaxPath).Draw(t, "path"),
			Outcome: Outcome(rapid.IntRange(1, len(outcomeNames)-1).Draw(t, "outcome")), Detail: text(MaxDetail).Draw(t, "detail"),
		}
		b, err := AppendRow(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeRow(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := AppendRow(nil, &back)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatal("a row does not come back")
		}
		if _, err := DecodeRow(append(b, 0)); !errors.Is(err, ErrRow) {
			t.Fatal("trailing bytes are accepted")
		}
		if _, err := DecodeRow(b[:len(b)-1]); !errors.Is(err, ErrRow) {
			t.Fatal("a short row is accepted")
		}
	})
	if _, err := DecodeRow([]byte{9, 1, 2}); !errors.Is(err, ErrRowFormat) {
		t.Error("an unknown format is not told apart")
	}
}

func TestNames(t *testing.T) {
	for i := 1; i < len(operationNames); i++ {
		if !Operation(i).Valid() { // numbers are reserved in blocks
			continue
		}
		if o, err := ParseOperation(Operation(i).String()); err != nil || int(o) != i {
			t.Errorf("operation %d", i)
		}
	}
	for i := 1; i < len(outcomeNames); i++ {
		if o, err := ParseOutcome(Outcome(i).String()); err != nil || int(o) != i {
			t.Errorf("outcome %d", i)
		}
	}
	if OpSweep.String() != "sweep" || Invalid.String() != "invalid" || SVIDJWT.String() != "jwt" {
		t.Error("names and numbers do not fit")
	}
}

// memory keeps tiles as a store would.
type memory map[TileID][][32]byte

func (m memory) Tile(id TileID) ([][32]byte, error) { return m[id], nil }

// TestTree compares the compact range, the tiles and their proofs at all sizes
// up to beyond a tile.
func TestTree(t *testing.T) {
	const n = 700
	tree, tiles := NewTree(), memory{}
	var leaves, roots [][32]byte
	empty, err := tree.Root()
	if err != nil || hex.EncodeToString(empty[:]) != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Fatal("the empty root is not RFC 6962's")
	}
	roots = append(roots, empty)
	for i := range uint64(n) {
		leaf := LeafHash([]byte(fmt.Sprint("row", i)))
		leaves = append(leaves, leaf)
		if err := tree.Append(leaf, func(level uint, index uint64, hash []byte) {
			if id, _, ok := TileOf(level, index); ok {
				tiles[id] = append(tiles[id], [32]byte(hash))
			}
		}); err != nil {
			t.Fatal(err)
		}
		root, err := tree.Root()
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
		if got, err := RootAt(i+1, tiles); err != nil || got != root {
			t.Fatalf("root at %d from tiles: %v", i+1, err)
		}
	}
	for size := 1; size <= n; size += 37 {
		for index := 0; index < size; index += 13 {
			p, err := InclusionProof(uint64(index), uint64(size), tiles)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyInclusion(uint64(index), uint64(size), leaves[index], p, roots[size]); err != nil {
				t.Fatal(err)
			}
			if err := VerifyInclusion(uint64(index), uint64(size), [32]byte{1}, p, roots[size]); !errors.Is(err, ErrMismatch) {
				t.Fatal("another leaf is proved")
			}
		}
		p, err := ConsistencyProof(uint64(size), n, tiles)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyConsistency(uint64(size), n, p, roots[size], roots[n]); err != nil {
			t.Fatal(err)
		}
	}
	back, err := RestoreTree(tree.Size(), tree.Hashes())
	if err != nil {
		t.Fatal(err)
	}
	if root, err := back.Root(); err != nil || root != roots[n] {
		t.Fatal("the compact range does not come back")
	}
}

func TestCheckpoints(t *testing.T) {
	c := Checkpoint{Cluster: [16]byte{1}, Size: 7, Root: [32]byte{2}, RaftIndex: 9}
	back, err := ParseCheckpoint(c.Text())
	if err != nil || back != c {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", c.Text() + "\n", "hexrd/00\n7\nAA==\nraft-index 9\n", " " + c.Text()} {
		if _, err := ParseCheckpoint(bad); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%q is accepted", bad)
		}
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.Sign("n1", key)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]ed25519.PublicKey{"n1": public}
	got, signers, err := VerifyCheckpoint(signed, keys, 1)
	if err != nil || got != c || len(signers) != 1 || signers[0] != "n1" {
		t.Fatal(got, signers, err)
	}
	if _, _, err := VerifyCheckpoint(signed, keys, 2); !errors.Is(err, ErrCheckpoint) {
		t.Error("one signature is enough for two")
	}
	if _, _, err := VerifyCheckpoint(bytes.Replace(signed, []byte("\n7\n"), []byte("\n8\n"), 1), keys, 1); !errors.Is(err, ErrCheckpoint) {
		t.Error("an altered checkpoint verifies")
	}
}

func TestVerifierFindsChanges(t *testing.T) {
	const n = 50
	rows := make([][]byte, n)
	tree := NewTree()
	for i := range rows {
		rows[i] = encoded(t, sample(uint64(i)))
		if err := tree.Append(LeafHash(rows[i]), nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := tree.Root()
	if err != nil {
		t.Fatal(err)
	}
	verify := func(rows [][]byte) error {
		v := NewVerifier()
		v.Expect("n1", n, root)
		for _, r := range rows {
			if err := v.Add(r); err != nil {
				return err
			}
		}
		_, err := v.Finish()
		return err
	}
	if err := verify(rows); err != nil {
		t.Fatal(err)
	}
	altered := sample(7)
	altered.Caller = "spiffe://hexr.cloud/agent/acme/bot/other"
	early := sample(7)
	early.Time = 1
	for name, change := range map[string]func([][]byte) [][]byte{
		"a row is altered":    func(r [][]byte) [][]byte { r[7] = encoded(t, altered); return r },
		"a row is missing":    func(r [][]byte) [][]byte { return append(r[:7:7], r[8:]...) },
		"the end is missing":  func(r [][]byte) [][]byte { return r[:n-1] },
		"two rows change":     func(r [][]byte) [][]byte { r[7], r[8] = r[8], r[7]; return r },
		"time runs backwards": func(r [][]byte) [][]byte { r[7] = encoded(t, early); return r },
		"a row is no row":     func(r [][]byte) [][]byte { r[7] = []byte("x"); return r },
	} {
		if err := verify(change(append([][]byte(nil), rows...))); err == nil {
			t.Errorf("%s, and it verifies", name)
		}
	}
}

func FuzzDecodeRow(f *testing.F) {
	f.Add(encoded(f, sample(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRow(b)
		if err != nil {
			return
		}
		again, err := AppendRow(nil, &r)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatal("a row that is not canonical is accepted")
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(Checkpoint{}.Text())
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCheckpoint(s); err == nil && c.Text() != s {
			t.Fatal("a checkpoint that is not canonical is accepted")
		}
	})
}

func BenchmarkAppendRow(b *testing.B) {
	tree, r := NewTree(), sample(1)
	for b.Loop() {
		row, _ := AppendRow(nil, r)
		_ = tree.Append(LeafHash(row), nil)
	}
}
