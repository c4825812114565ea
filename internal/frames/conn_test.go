package frames

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const most = 1 << 20

func pair(t *testing.T, timeout time.Duration) (a, b *Conn) {
	t.Helper()
	left, right := net.Pipe()
	t.Cleanup(func() { _ = errors.Join(left.Close(), right.Close()) })
	return New(left, most, timeout), New(right, most, timeout)
}

// What many write at a time arrives once and whole, each writer's in its order.
func TestWriters(t *testing.T) {
	const writers, each = 8, 200
	a, b := pair(t, time.Minute)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				m := wrapperspb.Bytes(append([]byte{byte(w), byte(i)}, make([]byte, i*i)...)) // small and above all buffers
				if err := a.Write(m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := make([]int, writers)
	for range writers * each {
		var m wrapperspb.BytesValue
		if err := b.Read(&m); err != nil {
			t.Fatal(err)
		}
		w, i := m.GetValue()[0], int(m.GetValue()[1])
		if i != next[w] || len(m.GetValue()) != 2+i*i {
			t.Fatalf("message %d of writer %d comes with %d bytes after %d", i, w, len(m.GetValue()), next[w])
		}
		next[w]++
	}
	writing.Wait()
	if slices.ContainsFunc(a.spare, func(b byte) bool { return b != 0 }) || slices.ContainsFunc(a.spare[:cap(a.spare)], func(b byte) bool { return b != 0 }) {
		t.Error("what was written stays in memory")
	}
}

// What a writer left to another one has left, too, when Flush returns.
func TestFlush(t *testing.T) {
	a, b := pair(t, time.Minute)
	writing := make(chan error, 1)
	go func() { writing <- a.Write(wrapperspb.Bytes([]byte("first"))) }()
	for { // until it waits for who reads
		a.mu.Lock()
		under := a.writing
		a.mu.Unlock()
		if under {
			break
		}
		runtime.Gosched()
	}
	if err := a.Write(wrapperspb.Bytes([]byte("second"))); err != nil {
		t.Fatal(err)
	}
	var read atomic.Int32
	flushed := make(chan int32, 1)
	go func() {
		a.Flush()
		flushed <- read.Load()
	}()
	for range 2 {
		read.Add(1)
		if err := b.Read(&wrapperspb.BytesValue{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := <-flushed; n != 2 {
		t.Errorf("it waited for %d messages of 2", n)
	}
	if err := <-writing; err != nil {
		t.Error(err)
	}
	a.Flush()
}

// A peer that takes nothing ends the connection; all who write hear of it.
func TestStuckPeer(t *testing.T) {
	a, b := pair(t, 50*time.Millisecond)
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for a.Write(wrapperspb.Bytes(make([]byte, waitingMost))) == nil {
			}
		})
	}
	writing.Wait()
	if err := a.Read(&wrapperspb.BytesValue{}); err == nil {
		t.Error("it can still be read")
	}
	for {
		if err := b.Read(&wrapperspb.BytesValue{}); err != nil {
			break
		}
	}
}

func TestReadRefuses(t *testing.T) {
	whole, err := proto.Marshal(wrapperspb.Bytes(make([]byte, most)))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":      {nil, io.EOF},
		"a part":       {[]byte{5, 1}, io.ErrUnexpectedEOF},
		"no message":   {[]byte{2, 0xff, 0xff}, proto.Error},
		"too large":    {append([]byte{0x83, 0x80, 0x80, 0x01}, whole...), ErrTooLarge},
		"endless size": {bytes.Repeat([]byte{0xff}, 20), nil},
	} {
		left, right := net.Pipe()
		go func() {
			_, _ = left.Write(c.data)
			_ = left.Close()
		}()
		err := New(right, most, time.Minute).Read(&wrapperspb.BytesValue{})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		_ = right.Close()
	}
}

// loop is a connection that reads what was written.
type loop struct {
	net.Conn
	bytes.Buffer
}

func (l *loop) Read(b []byte) (int, error)       { return l.Buffer.Read(b) }
func (l *loop) Write(b []byte) (int, error)      { return l.Buffer.Write(b) }
func (l *loop) Close() error                     { return nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }

// FuzzRead: whatever comes is read as the library reads it, up to the limit; and what
// was read is written as it reads it.
func FuzzRead(f *testing.F) {
	f.Add([]byte{5, 0x0a, 3, 'a', 'b', 'c', 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 64
		in := &loop{}
		_, _ = in.Write(data)
		c, reference := New(in, most, time.Minute), bytes.NewReader(data)
		for {
			var got, want wrapperspb.BytesValue
			err := c.Read(&got)
			wanted := protodelim.UnmarshalOptions{MaxSize: most}.UnmarshalFrom(reference, &want)
			if (err == nil) != (wanted == nil) || !proto.Equal(&got, &want) && err == nil {
				t.Fatalf("%v, %v", err, wanted)
			}
			if err != nil {
				return
			}
			out := &loop{}
			var back wrapperspb.BytesValue
			if err := errors.Join(New(out, most, time.Minute).Write(&got), New(out, most, time.Minute).Read(&back)); err != nil || !proto.Equal(&got, &back) {
				t.Fatal(err)
			}
		}
	})
}
