package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/events"
)

// template returns a header and the lines of 12 facts in batches of three.
func template(t testing.TB) (h events.Header, lines [][]byte, last events.Position) {
	h = events.Header{V: 1, Log: "0123456789abcdef", First: 1}
	for seq := uint64(1); seq <= 12; seq++ {
		f := event(fmt.Sprintf("f-%d", seq))
		body, err := events.AppendBody(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		l := events.Line{Seq: seq, TS: time.Date(2026, 10, 1, 7, 0, int(seq), 0, time.UTC), Body: body, Who: events.AppendWho(nil, &f, [16]byte{byte(seq)})}
		if seq%3 == 1 {
			l.Synced = seq - 1
		}
		sum, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		l.Hash = events.Chain(last.Hash, seq, l.TS, sum)
		last = events.Position{Seq: seq, Hash: l.Hash, Time: l.TS}
		lines = append(lines, append(l.Append(nil), '\n'))
	}
	return h, lines, last
}

// prefix returns the ids of the facts at the beginning of a file that fit the chain.
func prefix(h events.Header, rest []byte) (ids []string) {
	seq, hash := h.First, h.Previous
	for line := range bytes.Lines(rest) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		l, err := events.ParseLine(text)
		if !whole || err != nil || l.Seq != seq || !l.Follows(hash) {
			break
		}
		var f events.Fact
		if l.Decode(&f) != nil {
			break
		}
		ids, seq, hash = append(ids, f.ID), seq+1, l.Hash
	}
	return ids
}

// Whatever the newest file contains, the log opens or returns the reason; facts
// at its beginning that fit the chain are folded; a loss of facts that were
// recorded as being on disk is reported; and verify finds the same damage as
// the views.
func FuzzOpen(f *testing.F) {
	h, lines, last := template(f)
	all := bytes.Join(lines, nil)
	flipped := bytes.Clone(all)
	flipped[len(all)/2] ^= 4
	f.Add(all, true, true)
	f.Add(all, false, false)
	f.Add(all[:len(all)-5], false, true)
	f.Add(all[:len(all)/2], true, true)
	f.Add(flipped, false, false)
	f.Add(flipped, true, false)
	f.Add(append(bytes.Clone(all), make([]byte, 4096)...), false, true)
	f.Add(append(bytes.Clone(all), lines[11]...), true, true)
	f.Add(bytes.Join([][]byte{lines[0], lines[2], lines[1], lines[3]}, nil), false, true)
	f.Add(bytes.Join([][]byte{lines[0], lines[1], lines[4], lines[5], []byte("\n\n{}\n")}, nil), false, false)
	f.Add([]byte{}, true, true)
	f.Add([]byte("\n"), false, true)
	f.Fuzz(func(t *testing.T, rest []byte, withHead, clean bool) {
		r, d := memRig(t)
		name := facts + "/00000000000000000001.ndjson"
		if err := d.MkdirAll(facts); err != nil {
			t.Fatal(err)
		}
		put(t, d, name, append(h.Append(nil), rest...))
		if withHead {
			n := head{V: 1, Log: h.Log, Seq: last.Seq, H: last.Hash, TS: last.Time, Clean: clean}
			n.Sum = n.sum()
			b, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			put(t, d, facts+"/"+headName, b)
		}
		want := prefix(h, rest)
		report, err := verify(d, facts, events.Position{}, nil)
		if err != nil || report.Facts != uint64(len(want)) {
			t.Fatalf("verify: got %+v, %v; want %d facts", report, err, len(want))
		}
		v, why, followed := openAndFollow(t, r)
		if !slices.Equal(v.ids, want) {
			t.Fatalf("the view holds %v; want %v", v.ids, want)
		}
		if quiet := followed == nil && why == ""; quiet != report.OK() {
			t.Fatalf("verify says %+v; follow %v; blind %q", report, followed, why)
		}
		if withHead && len(want) < int(last.Seq) && followed == nil && why == "" {
			t.Fatalf("%d facts are missed without a word", int(last.Seq)-len(want))
		}
		again, _, followed := openAndFollow(t, r) // the next start can read the result of a start
		if !slices.Equal(again.ids, append(want, "new-0")) && followed == nil {
			t.Fatalf("after another start the view holds %v; want %v and new-0", again.ids, want)
		}
		report, err = verify(d, facts, events.Position{}, nil)
		if err != nil || followed == nil && len(report.Damage) > 0 {
			t.Fatalf("verify after two starts: %+v, %v", report, err)
		}
	})
}

// openAndFollow opens a log, folds it, appends a fact and closes it.
func openAndFollow(t *testing.T, r *rig) (v *tape, why string, followed error) {
	t.Helper()
	r.open()
	v = newTape("v")
	ctx, cancel := context.WithCancel(ctxOf(t))
	defer cancel()
	followed = r.l.Follow(ctx, v, cancel)
	var bad *DamageError
	if followed != nil && !errors.As(followed, &bad) {
		t.Fatal(followed)
	}
	why = r.l.BlindReason()
	id := "new"
	if strings.Contains(strings.Join(v.ids, " "), "new-0") {
		id = "newer"
	}
	r.append(id, 1)
	r.close()
	return v, why, followed
}
