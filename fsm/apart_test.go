package fsm

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// rows are the opened rows of a table, by key.
func (b *bench) rows(t table) map[string][]byte {
	b.t.Helper()
	out := map[string][]byte{}
	r := reader{b.store.db, b.store.codec}
	_, _, err := r.some(t, nil, 1<<20, func(it *pebble.Iterator) error {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		plaintext, err := r.codec.open(it.Key(), sealed)
		out[string(it.Key()[1:])] = plaintext
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// write replaces a row, beside Apply.
func (b *bench) write(t table, key string, m proto.Message) {
	b.t.Helper()
	plaintext, err := deterministic.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	full := fullKey(t, []byte(key))
	sealed, err := b.store.codec.seal(full, plaintext)
	if err == nil {
		err = b.store.db.Set(full, sealed, pebble.NoSync)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// head of a path in the agent's scope, as its row has it.
func (b *bench) head(path string) *fsmpb.Head {
	b.t.Helper()
	key := b.keys.Opaque(domainRecord, agentScope, path)
	var h fsmpb.Head
	if found, err := (reader{b.store.db, b.store.codec}).get(tableHead, key[:], &h); err != nil || !found {
		b.t.Fatal(found, err)
	}
	return &h
}

// asFormat3 makes the store what the version before would have left.
func (b *bench) asFormat3() {
	b.t.Helper()
	values := b.rows(tableValue)
	for key, row := range b.rows(tableHead) {
		var h fsmpb.Head
		if err := proto.Unmarshal(row, &h); err != nil {
			b.t.Fatal(err)
		}
		for _, v := range h.GetVersions() {
			place := string(valueKey([]byte(key), v.GetVersion()))
			sealed, id, err := valueIn(values[place])
			if err != nil {
				b.t.Fatal(err)
			}
			digest := sha256.Sum256(sealed)
			v.Digest, v.RequestId, v.Apart = digest[:], id, false
			if !v.GetDestroyed() {
				b.write(tableValue, place, &fsmpb.Value{Sealed: sealed})
			}
		}
		b.write(tableHead, key, &h)
	}
	b.setFormat(3)
	b.reopen()
}

// A head has the digest and the request id of its current version alone; of others
// their values have both.
func TestHeadsAreShort(t *testing.T) {
	b := newCluster(t)
	for range 3 {
		b.one(mainID, put("k", agentScope, "v"), ok)
	}
	state := b.one(mainID, begin("k", agentScope, time.Minute), ok).GetRotation()
	b.one(mainID, stage("k", agentScope, state.GetGeneration(), "staged"), ok)
	only := func(what string, current uint64) {
		t.Helper()
		for _, v := range b.head("k").GetVersions() {
			if short := len(v.GetDigest()) == 0 && len(v.GetRequestId()) == 0; short == (v.GetVersion() == current) {
				t.Errorf("%s: version %d has digest %x", what, v.GetVersion(), v.GetDigest())
			}
		}
	}
	only("pending", 3)
	b.reopen()
	b.one(mainID, commit("k", agentScope, state.GetGeneration(), 4, time.Hour), ok)
	only("committed", 4)
	b.reopen()
	for version, want := range map[uint64]string{1: "v", 3: "v", 4: "staged", 0: "staged"} {
		s := b.one(mainID, get("k", agentScope, version), ok).GetSecret()
		if digest := sha256.Sum256(s.GetSealed()); string(s.GetSealed()) != "sealed "+want || !bytes.Equal(s.GetDigest(), digest[:]) || len(s.GetRequestId()) != idSize {
			t.Errorf("version %d: %v", version, s)
		}
	}
}

// What format 3 left is read as it is, and becomes short as it is replaced or rewrapped.
func TestHeadsOfFormat3(t *testing.T) {
	b := keyCluster(t)
	for _, text := range []string{"first", "second", "third"} {
		b.want(b.do(b.putSealed("k", text))[0], ok)
	}
	b.want(b.do(b.putSealed("other", "value"))[0], ok)
	b.asFormat3()
	long := func() (versions []uint64) {
		for _, v := range b.head("k").GetVersions() {
			if len(v.GetDigest()) != 0 {
				versions = append(versions, v.GetVersion())
			}
		}
		return versions
	}
	all := func(what string) {
		t.Helper()
		for i, text := range []string{"first", "second", "third"} {
			b.opens("k", text, uint64(i+1))
		}
		b.opens("other", "value", 0)
		if t.Failed() {
			t.Fatal(what)
		}
	}
	all("as it was")
	b.want(b.do(b.putSealed("k", "fourth"))[0], ok)
	if got := long(); !slices.Equal(got, []uint64{1, 2, 3, 4}) {
		t.Errorf("%v have digests: whose value lacks the request id must", got)
	}
	b.want(b.do(b.putSealed("k", "fifth"))[0], ok)
	if got := long(); !slices.Equal(got, []uint64{1, 2, 3, 5}) {
		t.Errorf("%v have digests: 4 is replaced", got)
	}
	all("after puts")
	b.one(operID, keyAdd(value, 7), ok)
	for _, n := range []string{"n1", "n2"} {
		b.one(nodeNamed(n), keyDurable(value, 7, printA), ok)
	}
	b.activateIn(seal.ValueKey, 7)
	b.one(nodeID, activate(value, 7), ok)
	op := b.stale()
	if done := b.one(nodeID, rewrapAccess(op), ok).GetRewrapped().GetDone(); done != 6 {
		t.Errorf("%d versions of 6 are rewrapped", done)
	}
	if got := long(); !slices.Equal(got, []uint64{5}) {
		t.Errorf("%v have digests after the rewrap", got)
	}
	b.reopen()
	all("rewrapped")
	b.opens("k", "fifth", 0)
}
