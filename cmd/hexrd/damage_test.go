package main

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// TestFlippedBits flips single bits in the files of a node: it serves what was
// put, or it ends, and says which part is damaged and how to come back. It never
// answers anything else, and never panics.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"bolt", "wal"} {
		t.Run(store, func(t *testing.T) { flippedBits(t, store, count(t, 16)) })
	}
}

func flippedBits(t *testing.T, store string, trials int) {
	c, dir := startWith(t, dev.Config{
		Dir: t.TempDir(), Nodes: 1, LogStore: store, Program: faultyBinary(t), // with the race detector on, Pebble panics at damage
		NodeArgs: []string{"--snapshot-entries", "30", "--trailing-entries", "20", "--snapshot-interval", "100ms"},
	})
	d := disks{t, c, dir}
	bot := dialAs(t, c, "acme/bot", c.Addresses()...)
	for i := range 100 {
		if _, err := bot.Put(t.Context(), "k"+strconv.Itoa(i%40), []byte(strconv.Itoa(i)), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	d.kill("n1")
	good := d.backup("n1")
	files := filesOf(t, good)
	ended, named := 0, map[string]bool{}
	for i := range trials {
		d.replace("n1", good)
		file := files[(i*7+rand.IntN(7))%len(files)]
		flip(t, filepath.Join(d.data("n1"), file))
		said := d.said("n1")
		_, err := c.StartNode(t.Context(), "n1")
		if err == nil {
			err = readBack(t, bot, file)
			if running, _ := c.Signal(t.Context(), "n1", "KILL"); running.ID == "" { // it has ended already
				err = os.ErrProcessDone
			}
		}
		if err != nil {
			ended++
			checkLastWords(t, file, said())
			named[strings.Split(file, string(filepath.Separator))[0]] = true
		}
	}
	t.Logf("%d bits flipped, %d of them ended the node; damage found in %v", trials, ended, named)
	if ended == 0 {
		t.Error("no flipped bit was found: the test shows nothing")
	}
	d.replace("n1", good)
	if _, err := c.StartNode(t.Context(), "n1"); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	if err := readBack(t, bot, "none"); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
}

// filesOf lists what is worth damaging.
func filesOf(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == "LOCK" {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > 0 {
			name, _ := filepath.Rel(dir, path)
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flip changes one bit in the part of the file that holds something.
func flip(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := rand.IntN(len(data))
	for tries := 0; data[at] == 0 && tries < 1000; tries++ {
		at = rand.IntN(len(data))
	}
	data[at] ^= 1 << rand.IntN(8)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readBack gets everything; a wrong answer is the failure that this is about.
func readBack(t *testing.T, bot *client.Client, file string) (failed error) {
	t.Helper()
	for i := range 40 {
		ctx, cancel := withTimeout(t, 5*time.Second)
		got, err := bot.Get(ctx, "k"+strconv.Itoa(i))
		cancel()
		if err != nil {
			return err
		}
		want := strconv.Itoa(40 + i)
		if i < 20 {
			want = strconv.Itoa(80 + i)
		}
		if got.Text() != want {
			t.Errorf("a bit flipped in %s: k%d: a wrong value was served", file, i)
			return nil
		}
	}
	return nil
}

// checkLastWords looks at what a node that ended said.
func checkLastWords(t *testing.T, file, words string) {
	t.Helper()
	for _, bad := range []string{"panic:", "goroutine ", "fatal error:", "SIGSEGV", "SIGBUS", "this is a bug"} {
		if strings.Contains(words, bad) {
			t.Errorf("a bit flipped in %s: the node ended with %q:\n%s", file, bad, words)
			return
		}
	}
	for _, advice := range []string{"move the data directory away", "wrapper key", "is damaged"} {
		if strings.Contains(words, advice) {
			return
		}
	}
	t.Errorf("a bit flipped in %s: the node does not say what to do:\n%s", file, words)
}
