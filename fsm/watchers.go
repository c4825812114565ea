package fsm

import "sync"

// watchers are who waits for changes of a scope. An entry wakes those of the
// scopes that it changed, and nobody else.
type watchers struct {
	mu  sync.Mutex
	all map[string]map[*Watcher]struct{} // by log key
}

// Watcher is woken when a scope of its changes; C has room for one wake, so none
// is lost. Look after each wake, and once at first.
type Watcher struct {
	C    <-chan struct{}
	c    chan struct{}
	of   *watchers
	keys []string
}

// Watch begins to wait for changes of scopes. Close ends it.
func (s *Store) Watch(scopes []string) *Watcher {
	c := make(chan struct{}, 1)
	w := &Watcher{C: c, c: c, of: &s.watchers}
	for _, scope := range scopes {
		key := s.codec.keys.Opaque("changes", scope)
		w.keys = append(w.keys, string(key[:]))
	}
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	for _, k := range w.keys {
		if w.of.all == nil {
			w.of.all = map[string]map[*Watcher]struct{}{}
		}
		if w.of.all[k] == nil {
			w.of.all[k] = map[*Watcher]struct{}{}
		}
		w.of.all[k][w] = struct{}{}
	}
	return w
}

// Close ends the waiting.
func (w *Watcher) Close() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	for _, k := range w.keys {
		if delete(w.of.all[k], w); len(w.of.all[k]) == 0 {
			delete(w.of.all, k)
		}
	}
}

func (w *Watcher) wake() {
	select {
	case w.c <- struct{}{}:
	default: // it is awake
	}
}

// wake wakes whose logs are among the full keys that an entry wrote.
func (ws *watchers) wake(written []string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.all) == 0 {
		return
	}
	for _, full := range written {
		if table(full[0]) != tableLog {
			continue
		}
		for w := range ws.all[full[1:]] {
			w.wake()
		}
	}
}

// wakeAll is for a store whose content was replaced.
func (ws *watchers) wakeAll() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, of := range ws.all {
		for w := range of {
			w.wake()
		}
	}
}
