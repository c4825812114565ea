package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

const maxLine = 1 << 20

// Recorder collects operations. Its methods are safe for concurrent use.
type Recorder struct {
	begun time.Time

	mu   sync.Mutex
	ops  []Op
	file *os.File
	out  *bufio.Writer
	err  error
}

// Create writes to a new file. Time counts from now.
func Create(file string) (*Recorder, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("create history: %w", err)
	}
	return &Recorder{begun: time.Now(), file: f, out: bufio.NewWriter(f)}, nil
}

// Now is the time since the run began. It never runs backwards.
func (r *Recorder) Now() time.Duration { return time.Since(r.begun) }

// Begun is when the run began.
func (r *Recorder) Begun() time.Time { return r.begun }

// Add gives the operation its ID, and keeps it.
func (r *Recorder) Add(o Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.ID = len(r.ops)
	r.ops = append(r.ops, o)
	line, err := json.Marshal(o)
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	r.err = errors.Join(r.err, err)
}

// Ops are the operations so far.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ops)
}

// Close returns all operations, and what went wrong with the file.
func (r *Recorder) Close() ([]Op, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := errors.Join(r.err, r.out.Flush(), r.file.Close())
	return r.ops, err
}

// Read reads a history.
func Read(in io.Reader) ([]Op, error) {
	var ops []Op
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var o Op
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("history, line %d: %w", len(ops)+1, err)
		}
		ops = append(ops, o)
	}
	return ops, lines.Err()
}
