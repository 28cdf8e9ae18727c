package apptest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// recount holds the totals of the facts of a data folder. It is written from
// the description of the log and shares no code with the programs, so a bug in
// journal, events or a view is not repeated here.
type recount struct {
	facts int
	last  uint64
	hash  [16]byte
	torn  int // bytes after the last complete line of the newest file

	spent    map[string]int64 // by budget: advertiser/campaign/line/[imps_]window[/period]; micros, or millionths of an impression
	bills    map[string]int   // facts that book a bid, by bid id
	charged  map[string]int64 // micros by bid id
	events   map[string]int   // facts by event id
	visitors map[string]*recountVisitor
	ts       map[uint64]time.Time // of the last 2,000 facts
}

// recountVisitor is a visitor by the name that the test gave it, which its event
// ids begin with.
type recountVisitor struct {
	viewed, bought bool
	items          []string // viewed in the last second with a view; the profile keeps seconds
	second         int64
}

// bids reports whether the line of the proof's shop must bid for the visitor.
func (v *recountVisitor) bids() bool { return v != nil && v.viewed && !v.bought }

// recountFile is one file of the log.
type recountFile struct {
	name   string
	text   []byte // unpacked
	header struct {
		Log      string `json:"log"`
		First    uint64 `json:"first_seq"`
		After    uint64 `json:"after_seq"`
		Previous string `json:"previous_h"`
	}
}

// acceptedRange is a loss that an operator accepted.
type acceptedRange struct {
	From uint64 `json:"from_seq"`
	To   uint64 `json:"to_seq"`
	Hash string `json:"h"`
}

// recountFolder adds up the facts of a data folder and checks each line against
// the chain.
func recountFolder(data string) (*recount, error) {
	dir := filepath.Join(data, "log", "facts")
	files, err := readLogFiles(dir)
	if err != nil {
		return nil, err
	}
	var accepted []acceptedRange
	if text, err := os.ReadFile(filepath.Join(dir, "accepted.json")); err == nil {
		if err := json.Unmarshal(text, &accepted); err != nil {
			return nil, err
		}
	}
	r := &recount{spent: map[string]int64{}, bills: map[string]int{}, charged: map[string]int64{}, events: map[string]int{}, visitors: map[string]*recountVisitor{}, ts: map[uint64]time.Time{}}
	for i, f := range files {
		end := ^uint64(0)
		if i+1 < len(files) {
			end = files[i+1].header.After
		}
		if err := r.file(f, end, i+1 == len(files), accepted); err != nil {
			return r, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return r, nil
}

// readLogFiles reads every file of the log, by first sequence. Where a file is
// there both plain and packed, the plain one is taken.
func readLogFiles(dir string) ([]*recountFile, error) {
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*.ndjson*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names) // a plain name sorts before the packed one
	var files []*recountFile
	for _, name := range names {
		stem, _, _ := strings.Cut(filepath.Base(name), ".")
		if n := len(files); n > 0 && strings.HasPrefix(filepath.Base(files[n-1].name), stem) {
			continue
		}
		f := &recountFile{name: name}
		if f.text, err = os.ReadFile(name); err != nil {
			if os.IsNotExist(err) && strings.HasSuffix(name, ".ndjson") { // packed in the meantime
				return readLogFiles(dir)
			}
			return nil, err
		}
		if strings.HasSuffix(name, ".zst") {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
			if err != nil {
				return nil, err
			}
			f.text, err = z.DecodeAll(f.text, nil)
			z.Close()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		head, rest, _ := bytes.Cut(f.text, []byte("\n"))
		if err := json.Unmarshal(head, &f.header); err != nil {
			return nil, fmt.Errorf("%s: header: %w", name, err)
		}
		f.text = rest
		if first, err := strconv.ParseUint(stem, 10, 64); err != nil || first != f.header.First {
			return nil, fmt.Errorf("%s: got first_seq %d; want that of the name", name, f.header.First)
		}
		files = append(files, f)
	}
	return files, nil
}

// file adds up the facts of a file up to a sequence.
func (r *recount) file(f *recountFile, end uint64, newest bool, accepted []acceptedRange) error {
	skip := func(seq uint64) *acceptedRange {
		for i := range accepted {
			if a := &accepted[i]; a.From <= seq && seq <= a.To {
				return a
			}
		}
		return nil
	}
	if f.header.After != r.last || f.header.Previous != "" && f.header.Previous != hex.EncodeToString(r.hash[:]) {
		return fmt.Errorf("got a header after fact %d (%s); want %d (%x)", f.header.After, f.header.Previous, r.last, r.hash)
	}
	next, behind := f.header.First, uint64(0)
	for text := range bytes.Lines(f.text) {
		if r.last >= end {
			return nil
		}
		line, whole := bytes.CutSuffix(text, []byte("\n"))
		if !whole && newest {
			r.torn = len(text)
			return nil
		}
		l, err := splitLine(line)
		if behind > 0 && (err != nil || l.seq <= behind) {
			continue
		}
		behind = 0
		if err == nil {
			err = r.take(l, next)
		}
		if a := skip(next); err != nil && a != nil {
			behind, next, r.last = a.To, a.To+1, a.To
			if _, err := hex.Decode(r.hash[:], []byte(a.Hash)); err != nil {
				return err
			}
			if l == nil || l.seq < next {
				continue
			}
			behind, err = 0, r.take(l, next) // the file was packed without what was given up
		}
		if err != nil {
			return fmt.Errorf("fact %d: %w", next, err)
		}
		next = l.seq + 1
	}
	return nil
}

// recountLine is a line in its parts.
type recountLine struct {
	seq  uint64
	ts   time.Time
	body []byte // its bytes as they are, without seq, ts, synced, who and h
	who  []byte
	hash string

	members struct {
		At         time.Time `json:"at"`
		Kind       string    `json:"kind"`
		Advertiser string    `json:"advertiser"`
		Name       string    `json:"name"`
		Items      []struct {
			ID string `json:"id"`
		} `json:"items"`
		BidID    string    `json:"bid_id"`
		Bills    bool      `json:"bills"`
		Campaign string    `json:"campaign"`
		Line     string    `json:"line"`
		Day      string    `json:"day"`
		Flights  string    `json:"flights"`
		Issued   time.Time `json:"issued"`
		Price    int64     `json:"price_micros"`
		Budget   string    `json:"budget"`
		Amount   int64     `json:"amount_micros"`
		Who      struct {
			EventID string `json:"event_id"`
		} `json:"who"`
	}
}

// splitLine finds the members of a line and where they stand.
func splitLine(line []byte) (*recountLine, error) {
	l := &recountLine{}
	if err := json.Unmarshal(line, &l.members); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if _, err := d.Token(); err != nil { // the brace
		return nil, err
	}
	from, to := int64(0), int64(0)
	for d.More() {
		start := d.InputOffset() + 1 // after the comma
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		switch key {
		case "v", "synced":
		case "seq":
			err = json.Unmarshal(value, &l.seq)
		case "ts":
			err = json.Unmarshal(value, &l.ts)
		case "who":
			l.who = value
		case "h":
			err = json.Unmarshal(value, &l.hash)
		default:
			if from == 0 {
				from = start
			}
			to = d.InputOffset()
		}
		if err != nil {
			return nil, err
		}
	}
	l.body = line[from:to]
	return l, nil
}

// take checks a line against the chain and adds its fact up.
func (r *recount) take(l *recountLine, want uint64) error {
	if l.seq != want {
		return fmt.Errorf("got fact %d", l.seq)
	}
	body, who := sha256.Sum256(l.body), sha256.Sum256(l.who)
	digest := sha256.Sum256(append(body[:], who[:]...))
	text := append([]byte(nil), r.hash[:]...)
	text = binary.BigEndian.AppendUint64(text, l.seq)
	text = binary.BigEndian.AppendUint64(text, uint64(l.ts.UnixNano()))
	sum := sha256.Sum256(append(text, digest[:]...))
	if got := hex.EncodeToString(sum[:16]); got != l.hash {
		return fmt.Errorf("got hash %s; want %s", l.hash, got)
	}
	r.facts++
	r.last, r.hash = l.seq, [16]byte(sum[:16])
	r.ts[l.seq] = l.ts
	delete(r.ts, l.seq-2000)
	r.add(l)
	return nil
}

func (r *recount) add(l *recountLine) {
	m := &l.members
	switch m.Kind {
	case "adjustment":
		r.spent[m.Budget] += m.Amount
	case "event":
		r.events[m.Who.EventID]++
		name := visitorOf(m.Who.EventID)
		v := r.visitors[name]
		if v == nil {
			v = &recountVisitor{}
			r.visitors[name] = v
		}
		switch m.Name {
		case "view_item":
			if at := m.At.Unix(); !v.viewed || at > v.second {
				v.items, v.second = nil, at
			}
			v.viewed, v.items = true, append(v.items, m.Items[0].ID)
		case "purchase":
			v.bought = true
		}
	}
	if !m.Bills {
		return
	}
	if r.bills[m.BidID]++; r.bills[m.BidID] > 1 {
		return
	}
	r.charged[m.BidID] = m.Price
	campaign := m.Advertiser + "/" + m.Campaign + "/"
	flights := append(strings.Split(m.Flights, ","), "", "", "")
	for i, owner := range []string{campaign + m.Line, campaign, m.Advertiser + "//"} {
		for _, window := range []string{"total", "day/" + m.Day, "hour/" + m.Issued.UTC().Format("2006-01-02T15"), "flight/" + flights[i]} {
			r.spent[owner+"/"+window] += m.Price
			r.spent[owner+"/imps_"+window] += 1_000_000
		}
	}
}

// visitorOf returns the visitor of an event id of the proof's load, ev-<visitor>-<number>.
func visitorOf(eventID string) string {
	parts := strings.Split(eventID, "-")
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}
