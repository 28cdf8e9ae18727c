package segments

import (
	"encoding/binary"
	"errors"
	"slices"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// maxRows bounds the rows of all lists that one identifier has.
const maxRows = 64

// listRow is a row of a list, stored under each of its identifiers. It waits there for
// visitors to whom the identifier is linked.
type listRow struct {
	advertiser, list string
	job              uint64
	at               rtb.Second
	traits           map[string]string
}

const rowsVersion = 1

var errRows = errors.New("cannot read rows of lists: got damaged bytes; want what appendRows wrote")

func appendRows(b []byte, rows []listRow) []byte {
	b = append(b, rowsVersion)
	for i := range rows {
		r := &rows[i]
		b = appendText(appendText(b, r.advertiser), r.list)
		b = binary.AppendUvarint(b, r.job)
		b = binary.LittleEndian.AppendUint32(b, uint32(r.at))
		b = binary.AppendUvarint(b, uint64(len(r.traits)))
		names := make([]string, 0, len(r.traits))
		for name := range r.traits {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			b = appendText(appendText(b, name), r.traits[name])
		}
	}
	return b
}

// maxTrait bounds the name and the value of a trait.
const maxTrait = 256

func decodeRows(b []byte) (rows []listRow, err error) {
	r := reader{b: b}
	if r.byte() != rowsVersion {
		return nil, errRows
	}
	for len(r.b) > 0 && !r.bad && len(rows) < maxRows {
		row := listRow{advertiser: r.text(maxName), list: r.text(maxName), job: r.uvarint(), at: rtb.Second(r.fixed32())}
		if n := r.count(maxTrait); n > 0 {
			row.traits = make(map[string]string, n)
			for range n {
				name := r.text(maxTrait)
				row.traits[name] = r.text(maxTrait)
			}
		}
		rows = append(rows, row)
	}
	if r.bad || len(r.b) > 0 {
		return nil, errRows
	}
	return rows, nil
}

// rows returns the rows that an identifier has, including the changes of the batch.
func (t *batch) rows(k rtb.Key) ([]listRow, error) {
	key := spaceKey(rowSpace, k)
	value, exists, err := t.b.Get(key[:])
	if err != nil || !exists {
		return nil, err
	}
	return decodeRows(value)
}

func (t *batch) setRows(k rtb.Key, rows []listRow) error {
	key := spaceKey(rowSpace, k)
	if len(rows) == 0 {
		return t.b.Delete(key[:])
	}
	return t.b.Set(key[:], appendRows(nil, rows))
}

// row folds one row of a job.
func (t *batch) row(f *events.Fact, id rtb.SegmentID, l *ListState) error {
	if l == nil || l.job(f.List.Job) == nil {
		t.s.count.strayRows.Add(1)
		return nil
	}
	job := l.job(f.List.Job)
	if job.Action == events.ListRemove {
		return t.removeRow(f, id)
	}
	row := listRow{advertiser: f.Advertiser, list: f.List.List, job: job.Seq, at: happened(f), traits: f.List.Traits}
	for _, k := range f.Keys {
		if gone, err := t.optedOut(k.Key); gone || err != nil {
			return err
		}
		if err := t.addRow(k.Key, l, row, id); err != nil {
			return err
		}
	}
	if !f.Visitor.IsZero() { // the row names a device
		if gone, err := t.optedOut(f.Visitor); gone || err != nil {
			return err
		}
		for _, k := range f.Keys {
			if err := t.linkTo(f, k.KeyKind, k.Key); err != nil {
				return err
			}
		}
		return t.enroll(f.Visitor, row, f.Seq)
	}
	for _, k := range f.Keys {
		e, _, err := t.edge(k.Key)
		if err != nil {
			return err
		}
		for _, d := range e.devices {
			if d.visitor.IsZero() {
				continue
			}
			if err := t.enroll(d.visitor, row, f.Seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRow stores a row under an identifier, instead of the one that the identifier had of
// the same list, unless that one is still in force.
func (t *batch) addRow(k rtb.Key, l *ListState, row listRow, id rtb.SegmentID) error {
	rows, err := t.rows(k)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(old listRow) bool {
		if old.list != row.list || old.advertiser != row.advertiser {
			return false
		}
		return row.job != l.Pending || !l.counts(&member{list: id, job: old.job, at: old.at}, t.now)
	})
	rows = append(rows, row)
	if n := len(rows) - maxRows; n > 0 {
		t.s.count.dropped.Add(uint64(n))
		rows = rows[n:]
	}
	return t.setRows(k, rows)
}

// enroll gives a visitor the segments of a row.
func (t *batch) enroll(visitor rtb.Key, row listRow, seq uint64) error {
	w, err := t.profile(visitor)
	if err != nil {
		return err
	}
	id := audiences.ListSegment(row.advertiser, row.list)
	l := t.listState(id)
	if l == nil || row.job != l.Pending && !l.counts(&member{list: id, job: row.job, at: row.at}, t.now) {
		return nil
	}
	w.members = slices.DeleteFunc(w.members, func(m member) bool {
		return m.list == id && (row.job != l.Pending && m.job <= row.job || m.job == row.job || !l.counts(&m, t.now))
	})
	m := audiences.Member{List: row.list, Purpose: l.Purpose, Traits: row.traits}
	t.ids = t.matcher.MatchMember(row.advertiser, &m, t.ids[:0])
	if !slices.Contains(t.ids, id) {
		t.ids = append(t.ids, id)
	}
	for _, segment := range t.ids {
		t.dict.segment(segment)
		w.members = append(w.members, member{segment: segment, list: id, job: row.job, at: row.at})
	}
	if n := len(w.members) - maxMembers; n > 0 {
		t.s.count.dropped.Add(uint64(n))
		w.members = slices.Delete(w.members, 0, n)
	}
	return t.keep(w, seq)
}

// enrollAll gives a visitor the rows of an identifier to which it was just linked.
func (t *batch) enrollAll(visitor, k rtb.Key, seq uint64) error {
	rows, err := t.rows(k)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := t.enroll(visitor, row, seq); err != nil {
			return err
		}
	}
	return nil
}

// removeRow takes a list from identifiers and from the visitors to whom they are linked.
func (t *batch) removeRow(f *events.Fact, id rtb.SegmentID) error {
	var visitors []rtb.Key
	if !f.Visitor.IsZero() {
		visitors = append(visitors, f.Visitor)
	}
	for _, k := range f.Keys {
		rows, err := t.rows(k.Key)
		if err != nil {
			return err
		}
		kept := slices.DeleteFunc(rows, func(r listRow) bool { return r.list == f.List.List && r.advertiser == f.Advertiser })
		if err := t.setRows(k.Key, kept); err != nil {
			return err
		}
		e, _, err := t.edge(k.Key)
		if err != nil {
			return err
		}
		for _, d := range e.devices {
			if !d.visitor.IsZero() && !slices.Contains(visitors, d.visitor) {
				visitors = append(visitors, d.visitor)
			}
		}
	}
	for _, v := range visitors {
		if err := t.leave(v, id, f.Seq); err != nil {
			return err
		}
	}
	return nil
}

// leave takes a list from a visitor, unless another identifier of the visitor is on it.
func (t *batch) leave(visitor rtb.Key, id rtb.SegmentID, seq uint64) error {
	w, err := t.profile(visitor)
	if err != nil || !w.exists {
		return err
	}
	w.members = slices.DeleteFunc(w.members, func(m member) bool { return m.list == id })
	ids, err := t.linked(visitor)
	if err != nil {
		return err
	}
	for _, k := range ids {
		if err := t.enrollAll(visitor, k.Key, seq); err != nil {
			return err
		}
	}
	return t.keep(w, seq)
}

// eraseRows deletes the rows of lists of identifiers that belong to no other visitor.
func (t *batch) eraseRows(keys []events.LinkKey) error {
	for _, k := range keys {
		e, exists, err := t.edge(k.Key)
		if err != nil {
			return err
		}
		if exists && !e.shared() {
			continue
		}
		key := spaceKey(rowSpace, k.Key)
		if _, exists, err := t.b.Get(key[:]); err != nil || !exists {
			if err != nil {
				return err
			}
			continue
		}
		if err := t.setRows(k.Key, nil); err != nil {
			return err
		}
	}
	return nil
}
