package frames

import (
	"errors"
	"net"
	"sync"
)

// Accept runs serve for each connection of a listener, in a goroutine of open, until
// the listener is closed (nil) or fails.
func Accept(l net.Listener, open *sync.WaitGroup, serve func(net.Conn)) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		open.Go(func() { serve(conn) })
	}
}
