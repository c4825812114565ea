package fsm

import (
	"errors"
	"sync"
	"syscall"
)

// broken is closed when the database can't write, or a part of it can't be read. Pebble itself would try again
// for ever: a flush would never end, and neither would who waits for it.
type broken struct {
	done chan struct{}
	once sync.Once
	err  error
}

func (b *broken) is() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// noteError hears of every error of Pebble's own goroutines, and of every table
// that is damaged. Those of the operating system mean that nothing becomes durable
// any more.
func (s *Store) noteError(err error) {
	var errno syscall.Errno
	if !errors.As(err, &errno) && !errors.Is(err, ErrCorrupt) {
		s.log.Error("the store's database reported an error: look at the disk")
		return
	}
	s.broken.once.Do(func() {
		s.broken.err = err
		close(s.broken.done)
		if s.cfg.Failed != nil {
			s.cfg.Failed(err)
		}
	})
}

// flush makes what was applied durable, or says why it can't. The caller holds mu.
func (s *Store) flush() error {
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
		return nil
	case <-s.broken.done:
		return s.broken.err
	}
}
