package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"rebound/events"
)

// acceptedName is the file that lists the losses that an operator accepted, for
// readers that reach the damage before the accept_loss fact.
const acceptedName = "accepted.json"

func (c *catalog) acceptedNow() []skip {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accepted
}

func (c *catalog) readAccepted() ([]skip, error) {
	b, err := readWhole(c.d, c.path(acceptedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []skip
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read which losses were accepted: %s: %w", c.path(acceptedName), err)
	}
	return list, nil
}

func (c *catalog) writeAccepted(list []skip) error {
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	err = writeWhole(c.d, c.path(acceptedName), func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
	if err == nil {
		c.mu.Lock()
		c.accepted = list
		c.mu.Unlock()
	}
	return err
}

// isAccepted reports whether an accepted loss covers a range.
func (c *catalog) isAccepted(from, to uint64) bool {
	for _, s := range c.acceptedNow() {
		if s.From <= from && to <= s.To {
			return true
		}
	}
	return false
}

// AcceptDamage gives up the facts of every damaged place and every gap that a
// folder of facts has, so that views continue after them. It returns the ranges
// that were given up, for the accept_loss facts that the caller appends. No
// other process may use the folder.
func AcceptDamage(factsDir string) ([]events.AcceptLoss, error) {
	return acceptDamage(osDisk{}, factsDir)
}

func acceptDamage(d disk, factsDir string) ([]events.AcceptLoss, error) {
	c, err := openDamaged(d, factsDir)
	if err != nil {
		return nil, err
	}
	var given []events.AcceptLoss
	give := func(s skip) error {
		given = append(given, events.AcceptLoss{From: s.From, To: s.To})
		return c.writeAccepted(append(c.acceptedNow(), s))
	}
	if c.beginning() != "" {
		files, _ := c.snapshot()
		h := &files[0].header
		if err := give(skip{From: 1, To: h.After, H: h.Previous}); err != nil {
			return given, err
		}
	}
	for range maxDamage * maxDamage {
		bad := c.firstDamage(c.lastStated())
		if bad == nil {
			if err := c.acceptEnd(give); err != nil {
				return given, err
			}
			return given, c.acceptGaps(give)
		}
		s, err := c.behind(bad)
		if err == nil {
			err = give(s)
		}
		if err != nil {
			return given, err
		}
	}
	return given, fmt.Errorf("cannot accept loss: got more than %d damaged places; restore the log from a backup", maxDamage*maxDamage)
}

// acceptEnd gives up the facts that were recorded as being on disk and are
// missing at the end of the log.
func (c *catalog) acceptEnd(give func(skip) error) error {
	files, _ := c.snapshot()
	noted, _, err := readHead(c)
	if err != nil || len(files) == 0 {
		return err
	}
	e, err := c.readEnd(&files[len(files)-1], 0, nil)
	if err != nil {
		return err
	}
	from := max(e.good.Seq+1, files[len(files)-1].header.First)
	if noted.Seq < from || c.isAccepted(from, noted.Seq) {
		return nil
	}
	return give(skip{From: from, To: noted.Seq, H: noted.H})
}

// acceptGaps gives up the sequences that the headers skip.
func (c *catalog) acceptGaps(give func(skip) error) error {
	files, _ := c.snapshot()
	for i := range files {
		h := &files[i].header
		if h.First > h.After+1 && !c.isAccepted(h.After+1, h.First-1) {
			if err := give(skip{From: h.After + 1, To: h.First - 1}); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstDamage reads the log up to a fact and returns the first place that breaks the chain.
func (c *catalog) firstDamage(last uint64) *DamageError {
	files, _ := c.snapshot()
	if len(files) == 0 {
		return nil
	}
	from := events.Position{Seq: files[0].header.After, Hash: files[0].header.Previous}
	var bad *DamageError
	if err := c.walk(from, last, func(*events.Line) error { return nil }); errors.As(err, &bad) {
		return bad
	}
	return nil
}

// lastStated returns the highest sequence in the newest file that the chain supports.
func (c *catalog) lastStated() uint64 {
	files, _ := c.snapshot()
	if len(files) == 0 {
		return 0
	}
	f := &files[len(files)-1]
	e, err := c.readEnd(f, 0, nil)
	if err != nil {
		return f.header.After
	}
	return max(e.good.Seq, e.end.Seq)
}

// behind returns the place after damage from which the chain is valid again.
func (c *catalog) behind(bad *DamageError) (skip, error) {
	files, _ := c.snapshot()
	s := skip{From: bad.Seq}
	for i := range files {
		f := &files[i]
		if i+1 < len(files) && files[i+1].header.After < bad.Seq {
			continue
		}
		if f.header.After >= bad.Seq { // a file is missing before this one
			s.To, s.H = f.header.After, f.header.Previous
			return s, nil
		}
		if to, h, ok := c.fitsAgain(f, bad.Seq); ok {
			s.To, s.H = to, h
			return s, nil
		}
	}
	return s, fmt.Errorf("cannot accept loss: no valid line follows %s:%d", bad.File, bad.Line)
}

// fitsAgain returns the first line of a file at or after a sequence whose
// stated hash is continued by the next line.
func (c *catalog) fitsAgain(f *logFile, from uint64) (uint64, events.Hash, bool) {
	r, err := c.open(f.name(), 0)
	if err != nil {
		return 0, events.Hash{}, false
	}
	defer r.close()
	var seq uint64
	var hash events.Hash
	for {
		text, err := r.next()
		if err != nil && !errors.Is(err, errTooLong) {
			return 0, hash, false
		}
		l, err := events.ParseLine(text)
		if err != nil || l.Seq < from {
			continue
		}
		if seq > 0 && l.Seq == seq+1 && l.Follows(hash) {
			return seq, hash, true
		}
		seq, hash = l.Seq, l.Hash
	}
}
