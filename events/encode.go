package events

import (
	"fmt"
	"slices"
	"time"

	"rebound/rtb"
)

func (e *encoder) str(name, v string) {
	if v != "" {
		e.b = rtb.AppendQuoted(append(e.b, name...), v)
	}
}

func (e *encoder) int(name string, v int64) {
	if v != 0 {
		e.b = rtb.AppendInt(append(e.b, name...), v)
	}
}

func (e *encoder) uint(name string, v uint64) {
	if v != 0 {
		e.b = rtb.AppendUint(append(e.b, name...), v)
	}
}

func (e *encoder) bool(name string, v bool) {
	if v {
		e.b = append(append(e.b, name...), "true"...)
	}
}

func (e *encoder) cpm(name string, v rtb.CPM) {
	if v != 0 {
		e.b = v.AppendDecimal(append(e.b, name...))
	}
}

func (e *encoder) key(name string, k rtb.Key) {
	if !k.IsZero() {
		e.b = append(append(e.b, name...), '"')
		e.b, _ = k.AppendText(e.b) // never fails
		e.b = append(e.b, '"')
	}
}

func (e *encoder) currency(name string, c rtb.Currency) {
	if !c.IsZero() {
		e.b = rtb.AppendQuoted(append(e.b, name...), string(c[:]))
	}
}

func (e *encoder) day(d rtb.Day) {
	if d != 0 {
		e.b = append(e.b, `,"day":`...)
		e.b = rtb.AppendQuoted(e.b, d.String())
	}
}

// The first and the last second that RFC 3339 can name, since 1970.
var (
	firstSecond = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	lastSecond  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

func (e *encoder) time(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	t = t.UTC()
	if at := t.Unix(); at < firstSecond || at > lastSecond {
		e.err = fmt.Errorf("cannot write time: got year %d; want 0 to 9999", t.Year())
		return
	}
	e.b = append(append(e.b, name...), '"')
	e.b = t.AppendFormat(e.b, time.RFC3339Nano)
	e.b = append(e.b, '"')
}

func (e *encoder) strs(name string, v []string) {
	if len(v) == 0 {
		return
	}
	e.b = append(append(e.b, name...), '[')
	for i, s := range v {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = rtb.AppendQuoted(e.b, s)
	}
	e.b = append(e.b, ']')
}

func (e *encoder) hashes(name string, v []uint32) {
	for i, h := range v {
		if i == 0 {
			e.b = append(append(e.b, name...), '[')
		} else {
			e.b = append(e.b, ',')
		}
		e.b = rtb.AppendUint(e.b, uint64(h))
	}
	if len(v) > 0 {
		e.b = append(e.b, ']')
	}
}

// strMap writes the entries sorted by key.
func (e *encoder) strMap(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	var stack [16]string
	keys := stack[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.b = append(append(e.b, name...), '{')
	for i, k := range keys {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = append(rtb.AppendQuoted(e.b, k), ':')
		e.b = rtb.AppendQuoted(e.b, m[k])
	}
	e.b = append(e.b, '}')
}

// list writes the fields of a list that identify no one.
func (e *encoder) list(v *List) {
	e.str(`,"list":`, v.List)
	e.str(`,"job":`, v.Job)
	e.str(`,"mode":`, v.Mode)
	e.str(`,"action":`, v.Action)
	e.str(`,"norm":`, v.Norm)
	e.str(`,"purpose":`, v.Purpose)
	e.int(`,"ttl_s":`, v.TTL)
	e.int(`,"rows":`, v.Rows)
	e.int(`,"accepted":`, v.Accepted)
}
