// Package frames carries protobuf messages over a connection, each behind its length
// as a varint: the size-delimited form of protobuf's own libraries.
package frames

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	readBuffer  = 4 << 10
	keptBuffer  = 16 << 10 // bytes; of what waits to be written, between two writes
	waitingMost = 64 << 10 // bytes beyond which a writer waits for the one before it
)

// ErrTooLarge is a message above what its reader takes.
var ErrTooLarge = errors.New("frames: a message is too large")

// Conn is a connection of messages. One goroutine reads, any number write. An error
// of a write closes the connection, so that Read ends too.
type Conn struct {
	conn    net.Conn
	in      *bufio.Reader
	most    int
	timeout time.Duration

	mu      sync.Mutex
	room    sync.Cond
	next    []byte // waits for the write under way
	spare   []byte // of the one before
	writing bool
	err     error

	fresh time.Time // until then the deadline needs no other; of who writes
}

// New takes messages of up to most bytes; a write that takes longer than timeout, or
// seven eighths of it, is an error.
func New(conn net.Conn, most int, timeout time.Duration) *Conn {
	c := &Conn{conn: conn, in: bufio.NewReaderSize(conn, readBuffer), most: most, timeout: timeout}
	c.room.L = &c.mu
	return c
}

// Read waits for a message: ErrTooLarge, an error of m's grammar, or the connection's;
// io.EOF where that ended between two messages. After an error there is nothing to read.
func (c *Conn) Read(m proto.Message) error {
	err := protodelim.UnmarshalOptions{MaxSize: int64(c.most)}.UnmarshalFrom(c.in, m)
	var large *protodelim.SizeTooLargeError
	if errors.As(err, &large) {
		return ErrTooLarge
	}
	return err
}

// Write sends a message, with all that others write meanwhile: who finds a write under
// way leaves its message to that one's goroutine, and returns.
func (c *Conn) Write(m proto.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && len(c.next) > waitingMost {
		c.room.Wait()
	}
	if c.err != nil {
		return c.err
	}
	var err error
	if c.next, err = appendMessage(c.next, m); err != nil || c.writing {
		return err
	}
	c.writing = true
	for c.err == nil && len(c.next) > 0 {
		c.flush()
	}
	c.writing = false
	c.room.Broadcast()
	return c.err
}

// Flush waits until what others left to the write under way has left too, or broke.
func (c *Conn) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writing {
		c.room.Wait()
	}
}

// flush writes what waits. It gives mu up meanwhile.
func (c *Conn) flush() {
	out := c.next
	c.next, c.spare = c.spare, nil
	c.mu.Unlock()
	err := c.extend(time.Now())
	if err == nil {
		_, err = c.conn.Write(out)
	}
	clear(out) // it may hold a value
	if err != nil {
		_ = c.conn.Close()
	}
	c.mu.Lock()
	if cap(out) <= keptBuffer {
		c.spare = out[:0]
	}
	c.err = err
	c.room.Broadcast()
}

// extend moves the deadline of writes, not for each: that costs more than it is worth.
func (c *Conn) extend(now time.Time) error {
	if now.Before(c.fresh) {
		return nil
	}
	c.fresh = now.Add(c.timeout / 8)
	return c.conn.SetWriteDeadline(now.Add(c.timeout))
}

// Close closes the connection; what waits to be written is lost.
func (c *Conn) Close() error { return c.conn.Close() }

func appendMessage(b []byte, m proto.Message) ([]byte, error) {
	whole := protowire.AppendVarint(b, uint64(proto.Size(m)))
	whole, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(whole, m)
	if err != nil {
		return b, err
	}
	return whole, nil
}
