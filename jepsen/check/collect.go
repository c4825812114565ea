package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/client"
)

const collectPause = 500 * time.Millisecond

// Collect reads every audit row as an auditor, recomputes the tree over them, and
// holds it against the roots of all the nodes named. It tries again until all of
// them give theirs, or ctx ends.
func Collect(ctx context.Context, c *client.Client, nodes []string) ([]audit.Row, Result) {
	r := Result{Name: "roots"}
	for {
		t := &tally{}
		err := c.AuditVerify(ctx, nil, t.header, t.row)
		if err == nil {
			err = t.finish(nodes)
		}
		var differs audit.Difference
		switch {
		case err == nil:
			r.Checked, r.Note = len(t.rows), fmt.Sprintf("%d nodes agree", len(t.agree))
			return t.rows, r
		case errors.As(err, &differs), errors.Is(err, audit.ErrMismatch), errors.Is(err, audit.ErrRow), ctx.Err() != nil:
			r.problem("%v", err)
			return t.rows, r
		}
		select {
		case <-time.After(collectPause):
		case <-ctx.Done():
		}
	}
}

// tally is one reading of all rows.
type tally struct {
	verifier *audit.Verifier
	size     uint64
	agree    []string
	rows     []audit.Row
}

func (t *tally) header(h *hexrv1.VerifyHeader) error {
	*t = tally{verifier: audit.NewVerifier(), size: h.GetSize()} // a client that moves on to another node starts over
	for _, root := range h.GetRoots() {
		if len(root.GetRoot()) != 32 {
			continue
		}
		t.verifier.Expect(root.GetNode(), root.GetSize(), [32]byte(root.GetRoot()))
		if root.GetSize() == t.size {
			t.agree = append(t.agree, root.GetNode())
		}
	}
	return nil
}

func (t *tally) row(encoded []byte) error {
	if err := t.verifier.Add(encoded); err != nil {
		return err
	}
	row, err := audit.DecodeRow(encoded)
	t.rows = append(t.rows, row)
	return err
}

func (t *tally) finish(nodes []string) error {
	if _, err := t.verifier.Finish(); err != nil {
		return err
	}
	if uint64(len(t.rows)) != t.size {
		return fmt.Errorf("%w: %d rows came, %d were promised", audit.ErrMismatch, len(t.rows), t.size)
	}
	for _, n := range nodes {
		if !slices.Contains(t.agree, n) {
			return fmt.Errorf("%s gives no root of %d rows", n, t.size)
		}
	}
	return nil
}
