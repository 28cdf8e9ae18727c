package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"rebound/events"
)

const facts = "/data/log/facts"

// madeLog returns a closed log of 40 facts in sealed files and one plain file, and a
// view that has them.
func madeLog(t *testing.T) (r *rig, d *memDisk, v *tape) {
	r, d = memRig(t)
	r.o.FileBytes = 4_000
	r.open()
	for i := range 8 {
		r.append(fmt.Sprint(i), 5)
		packed(t, r.l)
	}
	v = newTape("v")
	r.follow(v)
	r.close()
	wantNames(t, r.names(), "1.ndjson.zst", "11.ndjson.zst", "21.ndjson.zst", "31.ndjson")
	return r, d, v
}

// editLine changes one line of a file, counted from 1.
func editLine(t *testing.T, d disk, name string, line int, edit func(string) string) {
	t.Helper()
	im := imageOf(t, d, facts)
	lines := strings.SplitAfter(im.text(t, name), "\n")
	lines[line-1] = edit(lines[line-1])
	writeText(t, d, name, strings.Join(lines, ""))
}

// writeText writes a file, packed if its name says so.
func writeText(t *testing.T, d disk, name, text string) {
	t.Helper()
	data := []byte(text)
	if strings.HasSuffix(name, packedEnd) {
		data = pack(t, text)
	}
	put(t, d, filepath.Join(facts, name), data)
}

// damage is one way in which a log is damaged: files are named by first sequences.
type damage struct {
	name string
	do   func(t *testing.T, d disk)
	at   []string // file:line:seq of what verify finds
	lost []uint64 // sequences that are lost if the damage is accepted
}

func file10(first int) string { return fmt.Sprintf("%020d%s", first, packedEnd) }

const newest = "00000000000000000031.ndjson"

func replace(from, to string) func(string) string {
	return func(s string) string { return strings.Replace(s, from, to, 1) }
}

func gone(string) string { return "" }

func upTo(from, to uint64) (list []uint64) {
	for s := from; s <= to; s++ {
		list = append(list, s)
	}
	return list
}

var damages = []damage{
	{"a digit of money", func(t *testing.T, d disk) { editLine(t, d, file10(11), 4, replace("19990000", "29990000")) },
		[]string{"11:4:13"}, []uint64{13}},
	{"a digit of money in the newest file", func(t *testing.T, d disk) { editLine(t, d, newest, 4, replace("19990000", "29990000")) },
		[]string{"31:4:33"}, []uint64{33}},
	{"a digit of money in the last line", func(t *testing.T, d disk) { editLine(t, d, newest, 11, replace("19990000", "29990000")) },
		[]string{"31:11:40"}, []uint64{40}},
	{"a digit of the personal part", func(t *testing.T, d disk) { editLine(t, d, file10(1), 11, replace("shop.example", "shop.exemple")) },
		[]string{"1:11:10"}, []uint64{10}},
	{"a time", func(t *testing.T, d disk) {
		editLine(t, d, file10(21), 2, replace(`"ts":"2026-10-01`, `"ts":"2026-10-02`))
	},
		[]string{"21:2:21"}, []uint64{21}},
	{"a hash", func(t *testing.T, d disk) {
		editLine(t, d, file10(11), 5, func(s string) string { return s[:len(s)-4] + "zz\"}\n" })
	},
		[]string{"11:5:14"}, []uint64{14, 15}},
	{"a sequence", func(t *testing.T, d disk) { editLine(t, d, file10(11), 5, replace(`"seq":14`, `"seq":94`)) },
		[]string{"11:5:14"}, []uint64{14, 15}},
	{"a line deleted", func(t *testing.T, d disk) { editLine(t, d, file10(11), 5, gone) },
		[]string{"11:5:14"}, []uint64{14, 15}},
	{"a line twice", func(t *testing.T, d disk) { editLine(t, d, file10(11), 5, func(s string) string { return s + s }) },
		[]string{"11:6:15"}, []uint64{15}},
	{"two lines swapped", func(t *testing.T, d disk) {
		var fifth string
		editLine(t, d, file10(11), 5, func(s string) string { fifth = s; return s })
		editLine(t, d, file10(11), 6, func(s string) string { return fifth })
		editLine(t, d, file10(11), 5, func(string) string {
			im := imageOf(t, d, "/data/copy")
			return strings.SplitAfter(im.text(t, file10(11)), "\n")[5]
		})
	}, []string{"11:5:14"}, nil},
	{"two places", func(t *testing.T, d disk) {
		editLine(t, d, file10(11), 4, replace("19990000", "29990000"))
		editLine(t, d, file10(11), 8, replace("19990000", "29990000"))
		editLine(t, d, newest, 3, replace("19990000", "29990000"))
	}, []string{"11:4:13", "11:8:17", "31:3:32"}, []uint64{13, 17, 32}},
	{"first file missing", func(t *testing.T, d disk) { remove(t, d, filepath.Join(facts, file10(1))) },
		[]string{"11:1:10"}, upTo(1, 10)},
	{"middle file missing", func(t *testing.T, d disk) { remove(t, d, filepath.Join(facts, file10(11))) },
		[]string{"1:12:11"}, upTo(11, 20)},
	{"a file cut short", func(t *testing.T, d disk) { editLine(t, d, file10(11), 11, gone) },
		[]string{"11:11:20"}, []uint64{20}},
	{"a line of zero bytes", func(t *testing.T, d disk) {
		editLine(t, d, newest, 6, func(s string) string { return strings.Repeat("\x00", len(s)) })
	}, []string{"31:6:35"}, []uint64{35, 36, 37}},
}

// pack compresses a text as one frame.
func pack(t *testing.T, text string) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll([]byte(text), nil)
}

// found lists damage as file:line:seq.
func found(list []DamageError) (got []string) {
	for i := range list {
		first, _, _ := parseName(filepath.Base(list[i].File))
		got = append(got, fmt.Sprintf("%d:%d:%d", first, list[i].Line, list[i].Seq))
	}
	return got
}

// Each kind of damage is found where it is, stops a view that needs the facts,
// and is repaired from a copy byte for byte.
func TestRepair(t *testing.T) {
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			r, d, v := madeLog(t)
			before := imageOf(t, d, facts)
			before.restore(t, d, "/data/copy")
			c.do(t, d)
			report, err := verify(d, facts, events.Position{}, nil)
			if err != nil || !slices.Equal(found(report.Damage), c.at) || report.OK() {
				t.Fatalf("verify found %v, %v; want %v", found(report.Damage), err, c.at)
			}
			mended, err := repair(d, facts, "/data/copy")
			if err != nil || len(mended) == 0 {
				t.Fatalf("repair: %v, %v", mended, err)
			}
			after := imageOf(t, d, facts)
			if !slices.Equal(after.lines(t), before.lines(t)) {
				t.Fatalf("the lines differ after repair: got %d; want %d", len(after.lines(t)), len(before.lines(t)))
			}
			if report, err = verify(d, facts, v.pos, nil); err != nil || !report.OK() || report.Facts != 40 || report.Last != v.pos {
				t.Fatalf("after repair: %+v, %v", report, err)
			}
			got := newTape("v")
			r.open()
			r.follow(got)
			if why := r.l.BlindReason(); why != "" || !slices.Equal(got.ids, v.ids) {
				t.Fatalf("after repair: blind %q, %d facts; want %d", why, len(got.ids), len(v.ids))
			}
		})
	}
}

// Damage stops a view before it, with a message that names the place; once it
// is accepted, views continue after it, and nothing else is missing.
func TestAcceptDamage(t *testing.T) {
	for _, c := range damages {
		if c.lost == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			r, d, whole := madeLog(t)
			imageOf(t, d, facts).restore(t, d, "/data/copy")
			c.do(t, d)
			given, err := acceptDamage(d, facts)
			if err != nil {
				t.Fatal(err)
			}
			var lost []uint64
			for _, g := range given {
				lost = append(lost, upTo(g.From, g.To)...)
			}
			if !slices.Equal(lost, c.lost) {
				t.Fatalf("gave up %v; want %v", lost, c.lost)
			}
			report, err := verify(d, facts, events.Position{}, nil)
			if err != nil || !report.OK() || len(report.Accepted) != len(given) {
				t.Fatalf("verify after acceptance: %+v, %v", report, err)
			}
			var want []string
			for i, id := range whole.ids {
				if !slices.Contains(lost, uint64(i+1)) {
					want = append(want, id)
				}
			}
			for run := range 3 { // also once the files were packed and read again
				r.open()
				r.append(fmt.Sprintf("new%d", run), 1)
				want = append(want, fmt.Sprintf("new%d-0", run))
				packed(t, r.l)
				v := newTape("v")
				r.follow(v)
				v.ids = slices.DeleteFunc(v.ids, func(id string) bool { return id == "base" })
				if why := r.l.BlindReason(); why != "" || !slices.Equal(v.ids, want) || r.l.Stats().SealErrors > 0 {
					t.Fatalf("run %d: blind %q, seal errors %d, got %v; want %v", run, why, r.l.Stats().SealErrors, v.ids, want)
				}
				r.close()
			}
			report, err = verify(d, facts, events.Position{}, nil)
			if err != nil || !report.OK() {
				t.Fatalf("verify in the end: %+v, %v", report, err)
			}
		})
	}
}

// A view that needs a damaged line stops before it; one that is past it continues.
func TestFollowStopsAtDamage(t *testing.T) {
	r, d, past := madeLog(t)
	r.open() // seals the newest file
	packed(t, r.l)
	r.close()
	editLine(t, d, file10(11), 4, replace("19990000", "29990000"))
	r.open()
	v := newTape("v")
	err := r.l.Follow(ctxOf(t), v, nil)
	var bad *DamageError
	if !errors.As(err, &bad) || !slices.Equal(found([]DamageError{*bad}), []string{"11:4:13"}) {
		t.Fatalf("got %v; want damage at 11:4:13", err)
	}
	if len(v.ids) != 12 || v.pos.Seq != 12 {
		t.Fatalf("the view holds %d facts up to %d; want 12", len(v.ids), v.pos.Seq)
	}
	r.append("new", 1)
	r.follow(past)
	if len(past.ids) != 41 {
		t.Fatalf("got %d facts; want 41", len(past.ids))
	}
}

// A file without a readable header stops the start with its name. Repair puts it
// aside and takes its facts from the copy.
func TestUnreadableHeader(t *testing.T) {
	for _, name := range []string{file10(1), file10(11), file10(31 - 10), newest} {
		for what, edit := range map[string]func(string) string{
			"no JSON":       func(string) string { return "\n" },
			"a digit":       replace(`"after_seq":`, `"after_seq":1`),
			"another time":  replace(`2026-10-01`, `2026-10-02`),
			"another first": replace(`"first_seq":`, `"first_seq":1`),
		} {
			if what == "another time" && name == file10(1) {
				continue // it has none
			}
			r, d, v := madeLog(t)
			before := imageOf(t, d, facts)
			before.restore(t, d, "/data/copy")
			editLine(t, d, name, 1, edit)
			if _, err := Open(ctxOf(t), r.o); err == nil || !strings.Contains(err.Error(), name+":1") {
				t.Fatalf("%s, %s: open: %v; want an error that names the file", name, what, err)
			}
			if _, err := repair(d, facts, "/data/copy"); err != nil {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
			after := imageOf(t, d, facts)
			if !slices.Equal(after.lines(t), before.lines(t)) || after[damagedPart+name] == nil {
				t.Fatalf("%s, %s: got %d lines; want %d; files %v", name, what, len(after.lines(t)), len(before.lines(t)), after.logs())
			}
			r.open()
			r.follow(v)
			if why := r.l.BlindReason(); why != "" {
				t.Fatalf("%s, %s: blind: %s", name, what, why)
			}
			r.close()
		}
	}
}

// The newest file is lost: the bidder is blind, and repair restores it as long
// as nothing was written after it; after that it reports that it cannot.
func TestRepairLostEnd(t *testing.T) {
	for _, written := range []bool{false, true} {
		r, d, v := madeLog(t)
		before := imageOf(t, d, facts)
		before.restore(t, d, "/data/copy")
		remove(t, d, filepath.Join(facts, newest))
		r.o.Views = []View{v}
		for range 2 { // also when it is started again and again
			r.open()
			if why := r.l.BlindReason(); !strings.Contains(why, "facts 31 to 40") {
				t.Fatalf("got blind reason %q; want facts 31 to 40", why)
			}
			if written {
				r.append("new", 1)
				if last := r.l.Last().Seq; last <= 40 {
					t.Fatalf("got sequence %d; want one above 40", last)
				}
			}
			r.close()
		}
		mended, err := repair(d, facts, "/data/copy")
		blind, _ := readBlindFile(d, "/data")
		ok, provenErr := proven(d, facts, blind)
		if written {
			if err == nil || !strings.Contains(err.Error(), "facts 31 to 40") || ok {
				t.Fatalf("got %v, proven %v; want an error about facts 31 to 40", err, ok)
			}
			continue
		}
		if err != nil || len(mended) != 1 || !ok || provenErr != nil {
			t.Fatalf("got %v, %v, proven %v, %v; want it mended", mended, err, ok, provenErr)
		}
		if after := imageOf(t, d, facts); !slices.Equal(after.lines(t), before.lines(t)) {
			t.Fatal("the lines differ after repair")
		}
	}
}

// Newer facts cannot be repaired from an older copy, which is reported; the others are repaired.
func TestRepairFromOlderCopy(t *testing.T) {
	r, d, _ := madeLog(t)
	before := imageOf(t, d, facts)
	older := image{}
	for _, name := range []string{file10(1), file10(11)} {
		older[name] = before[name]
	}
	older.restore(t, d, "/data/copy")
	editLine(t, d, file10(11), 4, replace(`"seq":13`, `"seq":19`))
	editLine(t, d, file10(11), 9, gone)
	editLine(t, d, newest, 4, replace("19990000", "29990000"))
	mended, err := repair(d, facts, "/data/copy")
	if err == nil || !strings.Contains(err.Error(), newest+":4 (fact 33)") || !slices.Equal(found(mended), []string{"11:4:13"}) {
		t.Fatalf("got %v, %v; want the sealed file mended, and an error about fact 33", found(mended), err)
	}
	if got := imageOf(t, d, facts).lines(t)[:20]; !slices.Equal(got, before.lines(t)[:20]) {
		t.Fatal("the sealed files differ after repair")
	}
	other, _ := memRig(t) // another log
	other.o.FileBytes = 4_000
	other.open()
	other.append("x", 40)
	other.close()
	imageOf(t, other.o.disk, facts).restore(t, d, "/data/copy2")
	if _, err := repair(d, facts, "/data/copy2"); err == nil {
		t.Fatal("facts of another log were taken")
	}
	_ = r
}

// A tail that was rewritten as a valid chain is found by a head that was noted
// before, and by a view.
func TestAnchor(t *testing.T) {
	r, d, v := madeLog(t)
	anchor := v.pos
	middle := events.Position{Seq: 15}
	c, err := openCatalog(d, facts)
	if err != nil {
		t.Fatal(err)
	}
	middle.Hash, _ = c.hashOf(15)
	at20, _ := c.hashOf(20)
	for _, a := range []events.Position{anchor, middle, {Seq: 20, Hash: at20}} {
		if _, err := verify(d, facts, a, nil); err != nil {
			t.Fatalf("anchor %+v: %v", a, err)
		}
	}
	if _, err := verify(d, facts, events.Position{Seq: 15, Hash: anchor.Hash}, nil); err == nil {
		t.Fatal("a wrong anchor was found")
	}
	rewrite(t, d, newest)
	report, err := verify(d, facts, events.Position{}, nil)
	if err != nil || !report.OK() {
		t.Fatalf("the chain alone finds the rewritten tail: %+v, %v", report, err)
	}
	if _, err := verify(d, facts, anchor, nil); err == nil {
		t.Fatal("the anchor did not find the rewritten tail")
	}
	r.o.Views = []View{v}
	r.open()
	if why := r.l.BlindReason(); !strings.Contains(why, "exchanged") {
		t.Errorf("got blind reason %q; want that the log was exchanged", why)
	}
	ctx, cancel := context.WithCancel(ctxOf(t))
	defer cancel()
	if err := r.l.Follow(ctx, onlyView{v}, cancel); err == nil {
		t.Error("a view went on in a log that holds another fact at its position")
	}
}

// onlyView hides that a view can be taken back.
type onlyView struct{ View }

// rewrite changes every fact of a file and makes a valid chain of them.
func rewrite(t *testing.T, d disk, name string) {
	t.Helper()
	lines := strings.SplitAfter(imageOf(t, d, facts).text(t, name), "\n")
	h, err := events.ParseHeader([]byte(strings.TrimSuffix(lines[0], "\n")))
	if err != nil {
		t.Fatal(err)
	}
	text, hash := lines[0], h.Previous
	for _, line := range lines[1 : len(lines)-1] {
		l, err := events.ParseLine([]byte(strings.Replace(strings.TrimSuffix(line, "\n"), "19990000", "19990001", 1)))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		hash = events.Chain(hash, l.Seq, l.TS, sum)
		l.Hash = hash
		text += string(l.Append(nil)) + "\n"
	}
	writeText(t, d, name, text)
}

// Facts that are recorded only in blind.json cannot be proven by a log.
func TestProven(t *testing.T) {
	_, d, v := madeLog(t)
	at := BlindView{Name: "v", Seq: v.pos.Seq, H: v.pos.Hash}
	for name, c := range map[string]struct {
		blind Blind
		want  bool
	}{
		"all there":     {Blind{Seen: 40, Views: []BlindView{at}}, true},
		"more was seen": {Blind{Seen: 41, Views: []BlindView{at}}, false},
		"another fact":  {Blind{Seen: 40, Views: []BlindView{{Name: "v", Seq: 39, H: v.pos.Hash}}}, false},
		"an empty view": {Blind{Seen: 40, Views: []BlindView{{Name: "v"}}}, true},
		"restored":      {Blind{Seen: 40, Unknown: true}, false},
	} {
		if got, err := proven(d, facts, &c.blind); got != c.want || err != nil {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
		}
	}
	put(t, d, "/data/"+blindName, []byte("{"))
	if b, err := readBlindFile(d, "/data"); err != nil || !b.Unknown {
		t.Errorf("got %+v, %v; want what was seen to be unknown", b, err)
	}
	editLine(t, d, file10(11), 4, replace("19990000", "29990000"))
	if got, err := proven(d, facts, &Blind{Seen: 40}); got || err != nil {
		t.Errorf("a damaged log proves what had been seen: %v, %v", got, err)
	}
}
