package fsm

import "slices"

// merge makes one run of several, in order, a block at a time. What it wrote is in
// the store, and what of its inputs that holds is gone from there, in one batch: it
// goes on from there after a crash.
type merge struct {
	block  int
	output run
	inputs []*input
	begun  bool
	last   posting // that was written, where it has begun
	next   []posting
	spent  [][]byte // blocks of inputs that hold nothing else
	credit int      // postings that it may move on with
}

// input is a run that is merged.
type input struct {
	run
	left []posting // of the block that is read
	key  []byte    // of that block; nil: all was read
}

func openMerge(r reader, x *index, tier int) (*merge, error) {
	rs, err := readRuns(r)
	if err != nil {
		return nil, err
	}
	defer rs.close()
	m := &merge{block: x.block, output: run{byte(tier + 1), x.first(tier)}}
	if rs.last(m.output) {
		ps, err := rs.block(m.output)
		if err != nil {
			return nil, err
		}
		m.begun, m.last = true, ps[len(ps)-1]
	}
	if err := rs.err(); err != nil { // or what is merged would be merged again
		return nil, err
	}
	for i := range x.fan {
		in := &input{run: run{byte(tier), m.output.first + i*x.rows(tier)}}
		m.inputs = append(m.inputs, in)
		if err := m.enter(rs, in, rs.seek(in.run, m.last)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// enter reads the block that the reader stands on, and those after it, until one
// holds what is not written.
func (m *merge) enter(rs runs, in *input, ok bool) error {
	in.key = nil
	for ; ok; ok = rs.next(in.run) {
		ps, err := rs.block(in.run)
		if err != nil {
			return err
		}
		in.key = slices.Clone(rs.it.Key()[1:])
		in.left = ps
		if m.begun {
			i, found := slices.BinarySearchFunc(ps, m.last, posting.compare)
			if found {
				i++
			}
			in.left = ps[i:]
		}
		if len(in.left) > 0 {
			return nil
		}
		m.spent, in.key = append(m.spent, in.key), nil
	}
	return rs.err()
}

// advance moves on with so many postings more; done: the output is whole.
func (m *merge) advance(w *writer, postings int) (done bool, err error) {
	m.credit += postings
	if m.credit < m.block {
		return false, nil
	}
	rs, err := readRuns(w.reader)
	if err != nil {
		return false, err
	}
	defer rs.close()
	for ; m.credit >= m.block; m.credit -= m.block {
		whole, err := m.fill(rs)
		if err != nil {
			return false, err
		}
		m.write(w)
		if whole {
			return true, nil
		}
	}
	return false, nil
}

// fill gathers a block; whole: nothing comes after it.
func (m *merge) fill(rs runs) (whole bool, err error) {
	for len(m.next) < m.block {
		in := m.least()
		if in == nil {
			return true, nil
		}
		n := in.ofOneKey(m.block - len(m.next))
		m.next = append(m.next, in.left[:n]...)
		if in.left = in.left[n:]; len(in.left) > 0 {
			continue
		}
		m.spent = append(m.spent, in.key)
		if err := m.enter(rs, in, rs.after(in.run, in.key)); err != nil {
			return false, err
		}
	}
	return m.least() == nil, nil
}

// least is the input that has the next posting. Of the same key the run before has
// the lower rows.
func (m *merge) least() *input {
	var least *input
	for _, in := range m.inputs {
		if in.key != nil && (least == nil || in.left[0].key < least.left[0].key) {
			least = in
		}
	}
	return least
}

// ofOneKey is how many postings come first that share their key, at most so many.
func (in *input) ofOneKey(most int) int {
	n := 1
	for n < min(most, len(in.left)) && in.left[n].key == in.left[0].key {
		n++
	}
	return n
}

// write the block, and drop what it has taken over.
func (m *merge) write(w *writer) {
	if len(m.next) > 0 {
		m.output.set(w, m.next)
		m.begun, m.last = true, m.next[len(m.next)-1]
	}
	for _, key := range m.spent {
		w.del(tableRun, key)
	}
	m.next, m.spent = m.next[:0], m.spent[:0]
}
