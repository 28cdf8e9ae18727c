package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// blindName is the file that records, across restarts, that the log lost facts
// that had been seen. While it exists the bidder must not spend money.
const blindName = "blind.json"

// Blind is the content of blind.json.
type Blind struct {
	V       int       `json:"v"`
	Since   time.Time `json:"since"`
	Reasons []string  `json:"reasons"`
	Seen    uint64    `json:"seen_seq"` // new facts get sequences above it
	// Unknown means that more may have been seen than Seen and Views show, so no
	// log can be proven complete.
	Unknown bool        `json:"unknown,omitempty"`
	Views   []BlindView `json:"views,omitempty"`
	Sum     string      `json:"sum,omitempty"` // of the other fields, which include money
}

func (b Blind) sum() string {
	b.Sum = ""
	return events.Checksum(b)
}

// BlindView is the position of a view and its witness before it was restored to
// an earlier position.
type BlindView struct {
	Name    string          `json:"name"`
	Seq     uint64          `json:"seq"`
	H       events.Hash     `json:"h,omitzero"`
	Witness json.RawMessage `json:"witness,omitempty"`
}

// blindness is the log's copy of blind.json.
type blindness struct {
	mu   sync.Mutex // protects the fields below
	file *Blind
}

func (b *blindness) seen() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return 0
	}
	return b.file.Seen
}

// why returns the reasons, or an empty text if there are none.
func (b *blindness) why() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return ""
	}
	return strings.Join(b.file.Reasons, "; ") + `; put the facts back with "bidder log repair --from BACKUP", or book them as spent with "bidder log accept-loss"`
}

// readBlind reads blind.json. If the file is missing although the head says
// that it exists, the log still counts as incomplete.
func (l *Log) readBlind(noted *head) error {
	file, err := readBlindFile(l.o.disk, l.o.Dir)
	if err != nil {
		return err
	}
	if file == nil && noted.Blind {
		path := filepath.Join(l.o.Dir, blindName)
		file = &Blind{V: 1, Since: l.o.Now().UTC(), Unknown: true, Seen: noted.Seq,
			Reasons: []string{path + " is missing, although the bidder was blind for money: the facts that it recorded as seen are unknown"}}
		l.o.Logger.Error("blind.json, the record of missing facts, is missing; bidding stops", zap.String("file", path))
		if err := writeBlindFile(l.o.disk, l.o.Dir, file); err != nil {
			return err
		}
	}
	l.blind.file = file
	return nil
}

// ReadBlind returns the content of a data folder's blind.json, or nil if there is none.
func ReadBlind(dir string) (*Blind, error) { return readBlindFile(osDisk{}, dir) }

func readBlindFile(d disk, dir string) (*Blind, error) {
	path := filepath.Join(dir, blindName)
	b, err := readWhole(d, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	file := new(Blind)
	if err := json.Unmarshal(b, file); err != nil {
		return &Blind{V: 1, Unknown: true, Reasons: []string{path + " exists and cannot be read: " + err.Error()}}, nil
	}
	if file.Sum != file.sum() {
		file.Unknown = true
		file.Reasons = append(file.Reasons, path+" is damaged or was edited: the facts and the spend that it records may be wrong")
	}
	return file, nil
}

// ClearBlind removes blind.json from a data folder whose log is in factsDir. "log
// accept-loss" calls it once the unproven money is booked, and "log repair" once the
// facts are back. No log may be open there.
func ClearBlind(dir, factsDir string) error { return clearBlind(osDisk{}, dir, factsDir) }

func clearBlind(d disk, dir, factsDir string) error {
	if err := noteBlind(d, factsDir, false); err != nil {
		return err
	}
	if err := d.Remove(filepath.Join(dir, blindName)); err != nil && !isGone(err) {
		return fmt.Errorf("cannot remove %s: %w", blindName, err)
	}
	return d.SyncDir(dir)
}

// WriteBlind makes a data folder whose log is in factsDir blind for money before it
// is used; "restore" does so, because facts may have been seen that are not in the backup.
func WriteBlind(dir, factsDir, reason string, seen uint64, now time.Time) error {
	d := osDisk{}
	if err := writeBlindFile(d, dir, &Blind{V: 1, Since: now.UTC(), Reasons: []string{reason}, Seen: seen, Unknown: true}); err != nil {
		return err
	}
	return noteBlind(d, factsDir, true)
}

func writeBlindFile(d disk, dir string, file *Blind) error {
	file.Sum = file.sum()
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(d, filepath.Join(dir, blindName), func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// goBlind records that facts are missing, before any view that had applied them
// is restored to an earlier position. The views' witnesses are stored once,
// with the first reason.
func (l *Log) goBlind(reason string, about View) error {
	l.blind.mu.Lock()
	defer l.blind.mu.Unlock()
	file := l.blind.file
	if file == nil {
		file = &Blind{V: 1, Since: l.o.Now().UTC()}
	}
	if slices.Contains(file.Reasons, reason) {
		return nil
	}
	next := *file
	if !slices.Contains(next.Reasons, reason) {
		next.Reasons = append(next.Reasons[:len(next.Reasons):len(next.Reasons)], reason)
	}
	next.Seen = max(next.Seen, l.Last().Seq, l.seen)
	for _, v := range l.o.Views {
		next.Seen = max(next.Seen, v.Position().Seq)
	}
	views := l.o.Views
	if about != nil {
		views = []View{about}
	}
	for _, v := range views {
		if err := next.note(v); err != nil {
			return err
		}
	}
	if err := writeBlindFile(l.o.disk, l.o.Dir, &next); err != nil {
		return err
	}
	l.blind.file = &next
	l.o.Logger.Error("facts that had been seen are missing; bidding stops", zap.String("why", reason), zap.Uint64("seen_seq", next.Seen))
	return nil
}

// note adds a view's position and witness, unless they are stored already.
func (b *Blind) note(v View) error {
	pos := v.Position()
	for i := range b.Views {
		if b.Views[i].Name == v.Name() {
			return nil
		}
	}
	n := BlindView{Name: v.Name(), Seq: pos.Seq, H: pos.Hash}
	if w, ok := v.(Witness); ok && pos.Seq > 0 {
		text, err := w.Witness()
		if err != nil {
			return fmt.Errorf("cannot store witness of view %s: %w", v.Name(), err)
		}
		n.Witness = text
	}
	b.Views = append(b.Views[:len(b.Views):len(b.Views)], n)
	return nil
}

// BlindReason returns why the bidder must not spend money although the log can
// be read and written; empty if it may.
func (l *Log) BlindReason() string {
	if why := l.blind.why(); why != "" {
		return why
	}
	if l.start.damage != nil {
		return l.start.damage.Error()
	}
	if l.fleet != nil {
		return l.fleet.why()
	}
	return ""
}
