package hexrd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/client"
)

// TestCopiesOfValues: gets of a large store read copies of values; a node that starts
// again makes them anew; and when its disk gets full they go, and gets read the store.
func TestCopiesOfValues(t *testing.T) {
	t.Parallel()
	const secrets, size = 300, 60_000 // more than are copied from
	disk := newSmallDisk(t, 384)
	w := newWorld(t)
	cfg := w.config()
	cfg.DataDir = filepath.Join(disk.dir, "data")
	copies := filepath.Join(cfg.DataDir, "store", "copies")
	var c, operator *client.Client
	run := func() {
		var err error
		if w.server, err = hexrd.Open(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		c, operator = w.client(bot), w.client("/hexr/operator/ann")
	}
	end := func() {
		if err := w.server.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	run()
	defer func() { end() }()
	for _, name := range []string{"rate_per_second", "rate_burst"} { // large values count as many calls
		if _, err := operator.SetSetting(t.Context(), name, "100000"); err != nil {
			t.Fatal(err)
		}
	}
	value := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "value %03d;", i), size/10) }
	for i := range secrets {
		if _, err := c.Put(t.Context(), fmt.Sprint("k", i), value(i), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(name string) int {
		n, err := strconv.ParseFloat(w.metric(name), 64)
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	// read gets all of them, and says how many were read from copies and from the store.
	read := func() (copied, stored int) {
		t.Helper()
		copied, stored = count("hexrd_value_copy_reads_total"), count("hexrd_value_store_reads_total")
		for i := range secrets {
			s, err := c.Get(t.Context(), fmt.Sprint("k", i))
			if err != nil || !bytes.Equal(s.Value.Reveal(), value(i)) {
				t.Fatalf("k%d: %v", i, err)
			}
		}
		return count("hexrd_value_copy_reads_total") - copied, count("hexrd_value_store_reads_total") - stored
	}
	all := func(what string) {
		t.Helper()
		if copied, stored := read(); copied != secrets || stored != 0 {
			t.Errorf("%s: %d values are read from copies, %d from the store", what, copied, stored)
		}
	}
	read() // what was put before there was enough is copied now
	all("put")
	end()
	run()
	read() // the briefs are read with these accesses
	read()
	all("started again")
	state := func(want string, percent float64) {
		t.Helper()
		disk.leave(percent)
		until(t, "the disk to be "+want, func() bool {
			s, err := operator.Status(t.Context())
			return err == nil && s.GetDisk() == want
		})
	}
	state("warning", 8)
	until(t, "the copies to be removed", func() bool {
		_, err := os.Stat(copies)
		return os.IsNotExist(err)
	})
	if copied, stored := read(); copied != 0 || stored != secrets {
		t.Errorf("the disk is nearly full: %d values are read from copies, %d from the store", copied, stored)
	}
	state("ok", 50)
	until(t, "copies to be kept", func() bool {
		_, err := os.Stat(copies)
		return err == nil
	})
	read()
	all("with room again")
}
