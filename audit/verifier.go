package audit

import "fmt"

// Verifier recomputes the tree from its rows, and compares it with what others
// say of it. Not safe for concurrent use.
type Verifier struct {
	tree   *Tree
	time   int64
	claims map[uint64][]claim
	Rows   uint64
}

type claim struct {
	who  string
	root [32]byte
}

// Difference is a claim that the rows contradict.
type Difference struct {
	Who  string
	Size uint64
}

func (d Difference) Error() string {
	return fmt.Sprintf("%s holds another root than the rows give at size %d", d.Who, d.Size)
}

// NewVerifier starts with the empty tree.
func NewVerifier() *Verifier { return &Verifier{tree: NewTree(), claims: map[uint64][]claim{}} }

// Expect records who says what of the root at a size. Call it before Add gets
// that far.
func (v *Verifier) Expect(who string, size uint64, root [32]byte) {
	v.claims[size] = append(v.claims[size], claim{who, root})
}

// Add takes the next row: canonical, with the next index, and time that does not
// run backwards (ErrRow, ErrMismatch). A Difference tells whose root is another.
func (v *Verifier) Add(encoded []byte) error {
	if err := v.compare(); err != nil {
		return err
	}
	row, err := DecodeRow(encoded)
	if err != nil {
		return err
	}
	if row.Index != v.tree.Size() {
		return fmt.Errorf("%w: row %d stands where %d should", ErrMismatch, row.Index, v.tree.Size())
	}
	if row.Time < v.time {
		return fmt.Errorf("%w: time runs backwards at row %d", ErrMismatch, row.Index)
	}
	v.time = row.Time
	v.Rows++
	return v.tree.Append(LeafHash(encoded), nil)
}

// compare checks the claims about the size reached.
func (v *Verifier) compare() error {
	size := v.tree.Size()
	claims := v.claims[size]
	if len(claims) == 0 {
		return nil
	}
	root, err := v.tree.Root()
	if err != nil {
		return err
	}
	for _, c := range claims {
		if c.root != root {
			return Difference{c.who, size}
		}
	}
	delete(v.claims, size)
	return nil
}

// Finish compares what is left, and returns the root. ErrMismatch when a claim
// is about more rows than were given.
func (v *Verifier) Finish() ([32]byte, error) {
	if err := v.compare(); err != nil {
		return [32]byte{}, err
	}
	for size := range v.claims {
		return [32]byte{}, fmt.Errorf("%w: %d rows were given, %d are claimed", ErrMismatch, v.tree.Size(), size)
	}
	return v.tree.Root()
}
