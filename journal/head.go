package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"rebound/events"
)

// head is the last recorded end of the log. A log that is shorter has lost
// facts that were on disk.
type head struct {
	V     int         `json:"v"`
	Log   string      `json:"log"`
	Seq   uint64      `json:"seq"`
	H     events.Hash `json:"h,omitzero"`
	TS    time.Time   `json:"ts,omitzero"`
	Clean bool        `json:"clean"`           // the log was closed
	Blind bool        `json:"blind,omitempty"` // blind.json exists
	Sum   string      `json:"sum,omitempty"`
}

// sum returns the checksum that detects a changed digit in a head.
func (h head) sum() string {
	h.Sum = ""
	return events.Checksum(h)
}

// readHead reads the recorded end of the log; ok is false if there is none or it is damaged.
func readHead(c *catalog) (h head, ok bool, err error) {
	b, err := readWhole(c.d, c.path(headName))
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, fmt.Errorf("cannot read the head of the log: %w", err)
	}
	if json.Unmarshal(b, &h) != nil || h.Sum != h.sum() {
		return head{}, false, nil
	}
	return h, true, nil
}

// writeHead records the end of the log.
func (l *Log) writeHead(clean bool) error {
	p := l.Last()
	h := head{V: 1, Log: l.id, Seq: p.Seq, H: p.Hash, TS: p.Time, Clean: clean, Blind: l.blind.why() != ""}
	if l.start.noted == h {
		return nil
	}
	if err := h.write(l.files); err != nil {
		return err
	}
	l.start.noted = h
	return nil
}

// write replaces the head of a folder of facts.
func (h head) write(c *catalog) error {
	h.Sum = h.sum()
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return writeWhole(c.d, c.path(headName), func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// noteBlind records in the head of a folder of facts, if it has one, whether
// blind.json exists, so that its loss is detected.
func noteBlind(d disk, factsDir string, blind bool) error {
	c := &catalog{d: d, dir: factsDir}
	h, known, err := readHead(c)
	if err != nil || !known || h.Blind == blind {
		return err
	}
	h.Blind = blind
	return h.write(c)
}
