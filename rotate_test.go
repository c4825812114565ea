package hexrd_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

// reads gets a version of k.
func (w *world) reads(c *client.Client, want string, version uint64) {
	w.t.Helper()
	if s, err := c.Get(w.t.Context(), "k", client.At{Version: version}); err != nil || s.Text() != want {
		w.t.Errorf("version %d: %v", version, err)
	}
}

func fixed(value string) client.Generator {
	return func(context.Context) ([]byte, error) { return []byte(value), nil }
}

// unlessRotating tries until no other rotator is at work.
func unlessRotating(t *testing.T, rotate func() (client.Rotated, error)) (client.Rotated, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := rotate()
		if !errors.Is(err, client.ErrRotating) {
			return done, err
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return done, err
		}
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	bot, reader := w.client("/agent/acme/bot/main"), w.client("/agent/acme/bot/reader")
	ctx := t.Context()
	if _, err := bot.Rotate(ctx, "k", client.RotateOptions{Generate: fixed("x")}); !errors.Is(err, client.ErrNotFound) {
		t.Fatalf("rotation of nothing: %v", err)
	}
	if _, err := bot.Put(ctx, "k", []byte("first"), client.PutOptions{Metadata: map[string]string{"owner": "ann"}}); err != nil {
		t.Fatal(err)
	}
	events, ended := w.follow(reader, client.WatchOptions{Path: "k"})
	grace := time.Hour
	done, err := bot.Rotate(ctx, "k", client.RotateOptions{
		Generate: fixed("second"),
		Verify: func(_ context.Context, s client.Secret) error {
			w.reads(reader, "first", 0)
			w.reads(bot, "second", s.Version)
			if s.Text() != "second" || s.Version != 2 {
				t.Errorf("version %d is tested", s.Version)
			}
			if _, err := reader.Rotate(ctx, "k", client.RotateOptions{Generate: fixed("x")}); !errors.Is(err, client.ErrRotating) || !errors.Is(err, client.ErrConflict) {
				t.Errorf("a second rotator: %v", err)
			}
			return nil
		},
		Grace: &grace,
		OnRotate: func(_ context.Context, r client.Rotated) error {
			w.reads(reader, "second", 0)
			return errors.New("told")
		},
	})
	if err == nil || !strings.HasSuffix(err.Error(), "told") || done.Version != 2 || done.Previous != 1 || time.Until(done.PreviousUntil) < 50*time.Minute {
		t.Fatalf("%+v, %v", done, err)
	}
	w.reads(reader, "first", 1)
	if s, err := reader.Get(ctx, "k"); err != nil || s.Metadata["owner"] != "ann" {
		t.Errorf("metadata %v, %v", s.Metadata, err)
	}
	if got := w.next(events, ended); got != "rotate k 2" {
		t.Errorf("event %q", got)
	}

	bad := errors.New("the provider refuses it")
	_, err = bot.Rotate(ctx, "k", client.RotateOptions{Generate: fixed("third"), Verify: func(context.Context, client.Secret) error { return bad }})
	if !errors.Is(err, client.ErrVerify) || !errors.Is(err, bad) {
		t.Errorf("a version that is no good: %v", err)
	}
	w.reads(reader, "second", 0)
	_, err = bot.Rotate(ctx, "k", client.RotateOptions{Generate: fixed("fourth"), Verify: func(context.Context, client.Secret) error {
		w.put(reader, "k", "") // somebody puts in between
		return nil
	}})
	if !errors.Is(err, client.ErrConflict) || errors.Is(err, client.ErrRotating) {
		t.Errorf("a put in between: %v", err)
	}
	w.reads(reader, "a value", 0)
	none := time.Duration(0)
	done, err = bot.Rotate(ctx, "k", client.RotateOptions{Generate: fixed("fifth"), Grace: &none}) // none had to wait for a lease
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Get(ctx, "k", client.At{Version: done.Previous}); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("a previous version without grace: %v", err)
	}
}

// TestRotatorGoesAway: the next rotator finishes what one that died had staged,
// where it is good, and makes its own where it is not.
func TestRotatorGoesAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	bot := w.client("/agent/acme/bot/main")
	ctx := t.Context()
	if _, err := bot.Put(ctx, "k", []byte("first"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	die := func(value string) {
		t.Helper()
		mortal, err := client.Dial(ctx, client.Config{
			Addrs: []string{w.server.Addr()}, Socket: w.socket("/agent/acme/bot/main", time.Hour, false), Retries: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = mortal.Rotate(ctx, "k", client.RotateOptions{Generate: fixed(value), Lease: time.Second, Verify: func(context.Context, client.Secret) error {
			return errors.Join(errors.New("dead"), mortal.Close())
		}})
		if err == nil {
			t.Fatal("it lives")
		}
	}
	rotate := func(o client.RotateOptions) client.Rotated {
		t.Helper()
		done, err := unlessRotating(t, func() (client.Rotated, error) { return bot.Rotate(ctx, "k", o) })
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	die("second")
	w.reads(bot, "first", 0)
	done := rotate(client.RotateOptions{Generate: func(context.Context) ([]byte, error) {
		t.Error("a value is made, though one was there")
		return nil, errors.New("no")
	}})
	if !done.Resumed || done.Version != 2 {
		t.Errorf("%+v", done)
	}
	w.reads(bot, "second", 0)

	die("third")
	done = rotate(client.RotateOptions{Generate: fixed("fourth"), Verify: func(_ context.Context, s client.Secret) error {
		if s.Text() == "third" {
			return errors.New("it is no good")
		}
		return nil
	}})
	if done.Resumed {
		t.Errorf("%+v", done)
	}
	w.reads(bot, "fourth", 0)

	die("fifth")
	provisioner := w.client("/hexr/provisioner/acme/ci")
	scope := "spiffe://hexr.cloud/agent/acme/bot/*"
	if _, err := unlessRotating(t, func() (client.Rotated, error) {
		return provisioner.Rotate(ctx, "k", client.RotateOptions{Scope: scope, Generate: fixed("provided")})
	}); err != nil {
		t.Fatal(err)
	}
	w.reads(bot, "provided", 0)
	if _, err := bot.Rotate(ctx, "k", client.RotateOptions{Generate: fixed("x")}); !errors.Is(err, client.ErrDenied) {
		t.Errorf("an agent rotates what was provided: %v", err)
	}
}

// TestOneRotatorAtATime: of many that begin at the same time, each that is done
// was alone, and the lease is kept for longer than its time.
func TestOneRotatorAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	w.put(w.client("/agent/acme/bot/main"), "k", "")
	var alone sync.Mutex
	test := func(ctx context.Context, _ client.Secret) error {
		if !alone.TryLock() {
			t.Error("two rotators are at work")
			return nil
		}
		defer alone.Unlock()
		longer := time.NewTimer(2500 * time.Millisecond) // than the lease
		defer longer.Stop()
		select {
		case <-longer.C:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	var wg sync.WaitGroup
	const rotators = 3
	for range rotators {
		bot := w.client("/agent/acme/bot/main")
		wg.Go(func() {
			_, err := unlessRotating(t, func() (client.Rotated, error) {
				return bot.Rotate(t.Context(), "k", client.RotateOptions{Lease: 2 * time.Second, Generate: client.Key(32), Verify: test})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s, err := w.client("/agent/acme/bot/main").Get(t.Context(), "k"); err != nil || s.Version != rotators+1 {
		t.Errorf("version %d after %d rotations: %v", s.Version, rotators, err)
	}
}

// TestOverdue: what is overdue is listed, counted and told to who watches.
func TestOverdue(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	bot := w.client("/agent/acme/bot/main")
	events, ended := w.follow(bot, client.WatchOptions{})
	every := time.Second
	if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{Rotation: &every}); err != nil {
		t.Fatal(err)
	}
	w.put(bot, "other", "")
	for _, want := range []string{"put k 1", "put other 1", "overdue k 1"} {
		if got := w.next(events, ended); got != want {
			t.Fatalf("event %q, want %q", got, want)
		}
	}
	listed := func() (paths []string) {
		for s, err := range bot.List(t.Context(), client.ListOptions{Overdue: true}) {
			if err != nil || !s.GetOverdue() || s.GetRotation().AsDuration() != every || s.GetRotationDueAt() == nil {
				t.Fatal(s, err)
			}
			paths = append(paths, s.GetPath())
		}
		return paths
	}
	if got := listed(); len(got) != 1 || got[0] != "k" {
		t.Errorf("overdue: %v", got)
	}
	if got := w.metric("hexrd_rotations_overdue"); got != "1" {
		t.Errorf("the metric says %s", got)
	}
	if _, err := bot.SetRotation(t.Context(), "k", "", 90*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := listed(); len(got) != 0 {
		t.Errorf("overdue: %v", got)
	}
	if got := w.metric("hexrd_rotations_overdue"); got != "0" {
		t.Errorf("the metric says %s", got)
	}
	resp, err := bot.Describe(t.Context(), "k", "")
	if err != nil || hexrv1.FormatDuration(resp.GetRotation().AsDuration()) != "90d" {
		t.Errorf("%v, %v", resp, err)
	}
}
