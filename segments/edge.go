package segments

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"rebound/events"
	"rebound/rtb"
)

// Bounds of the identity graph. Links beyond them are not created, but counted:
// shared machines, robots and test@test.com would merge unrelated people.
const (
	maxDevices   = 16 // visitors that may claim one identifier; the next one unlinks them all
	maxExchanges = 8  // exchange ids of one visitor
	maxOthers    = 16 // other identifiers of one visitor
	maxKind      = 80 // bytes of a kind

	edgeVersion2 = 2 // without the owner
	edgeVersion  = 3
	edgeLife     = 90 * daySpan // seconds since the identifier was last seen
)

// edge holds the visitors to which an external identifier belongs. A device's
// identifier has one; an e-mail address, a phone number or a customer id may
// have several, the latest seen last. An identifier that more than maxDevices
// visitors claimed is shared: its only device is the zero visitor until it
// expires.
type edge struct {
	kind    string
	owner   string   // of a person's identifier: the advertiser who linked it
	former  []uint32 // for a device's identifier: the visitors that it was linked to before
	devices []device
}

type device struct {
	visitor rtb.Key
	seen    rtb.Second
}

// claimant is an edge's record of a visitor that it was linked to before.
func claimant(visitor rtb.Key) uint32 { return binary.LittleEndian.Uint32(visitor[:]) }

func (e *edge) shared() bool { return len(e.devices) == 1 && e.devices[0].visitor.IsZero() }

// person reports whether identifiers of the kind identify a person rather than a device.
func person(kind string) bool { return kind == "em" || kind == "ph" || kind == "xid" }

func (e *edge) append(b []byte) []byte {
	b = append(b, edgeVersion)
	b = appendText(b, e.kind)
	b = appendText(b, e.owner)
	b = append(b, byte(len(e.former)))
	for _, c := range e.former {
		b = binary.LittleEndian.AppendUint32(b, c)
	}
	for _, d := range e.devices {
		b = append(b, d.visitor[:]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(d.seen))
	}
	return b
}

var errEdge = errors.New("cannot read link: got damaged bytes; want what edge.append wrote")

func decodeEdge(b []byte) (edge, error) {
	var e edge
	r := reader{b: b}
	version := r.byte()
	if version != edgeVersion && version != edgeVersion2 {
		return e, errEdge
	}
	e.kind = strings.Clone(r.text(maxKind))
	if version == edgeVersion {
		e.owner = strings.Clone(r.text(maxName))
	}
	for n := r.byte(); n > 0 && !r.bad; n-- {
		e.former = append(e.former, r.fixed32())
	}
	for !r.bad && len(r.b) > 0 {
		d := device{seen: 0}
		copy(d.visitor[:], r.take(16))
		d.seen = rtb.Second(r.fixed32())
		e.devices = append(e.devices, d)
	}
	if r.bad || len(e.devices) > maxDevices || len(e.former) > maxDevices {
		return edge{}, errEdge
	}
	return e, nil
}

// latestDevice returns the visitor that was last seen with the identifier,
// without allocating; false if the link has expired at now or is damaged.
func latestDevice(b []byte, now rtb.Second) (rtb.Key, bool) {
	const size = 16 + 4
	r := reader{b: b}
	version := r.byte()
	if version != edgeVersion && version != edgeVersion2 {
		return rtb.Key{}, false
	}
	r.text(maxKind)
	if version == edgeVersion {
		r.text(maxName)
	}
	r.take(4 * int(r.byte()))
	if r.bad || len(r.b) == 0 || len(r.b)%size != 0 {
		return rtb.Key{}, false
	}
	last := r.b[len(r.b)-size:]
	seen := binary.LittleEndian.Uint32(last[16:])
	return rtb.Key(last[:16]), uint64(seen)+edgeLife > uint64(now)
}

// see makes visitor the most recent device of the edge.
func (e *edge) see(visitor rtb.Key, now rtb.Second) {
	e.remove(visitor)
	e.devices = append(e.devices, device{visitor, now})
	slices.SortStableFunc(e.devices, func(a, b device) int { return cmp.Compare(a.seen, b.seen) })
}

func (e *edge) has(visitor rtb.Key) bool {
	return slices.ContainsFunc(e.devices, func(d device) bool { return d.visitor == visitor })
}

func (e *edge) remove(visitor rtb.Key) {
	e.devices = slices.DeleteFunc(e.devices, func(d device) bool { return d.visitor == visitor })
}

// link folds a link fact.
func (t *batch) link(f *events.Fact) error {
	if f.Link == nil || f.Visitor.IsZero() {
		return nil
	}
	return t.linkTo(f, f.Link.KeyKind, f.Link.Key)
}

// linkTo links an identifier to the fact's visitor.
func (t *batch) linkTo(f *events.Fact, kind string, k rtb.Key) error {
	if k.IsZero() || k == f.Visitor || kind == "" || len(kind) > maxKind || len(f.Advertiser) > maxName {
		return nil
	}
	for _, id := range []rtb.Key{f.Visitor, k} {
		if gone, err := t.optedOut(id); gone || err != nil {
			return err
		}
	}
	e, exists, err := t.edge(k)
	if err != nil {
		return err
	}
	if !exists {
		e.kind = kind
	}
	if person(kind) && f.Advertiser != "" {
		e.owner = f.Advertiser
	}
	switch {
	case e.shared():
		t.s.count.overlinked.Add(1)
		e.devices[0].seen = t.now
		return t.setEdge(k, &e)
	case e.crowded(f.Visitor):
		return t.share(k, &e)
	}
	fresh := !e.has(f.Visitor)
	if fresh {
		if ok, err := t.room(&e, f.Visitor); !ok || err != nil {
			return err
		}
		if err := t.join(&e, k, f.Visitor); err != nil {
			return err
		}
	}
	e.see(f.Visitor, t.now)
	if err := t.setEdge(k, &e); err != nil || !fresh {
		return err
	}
	if err := t.shareWith(&e, f.Visitor, f.Seq); err != nil {
		return err
	}
	return t.enrollAll(f.Visitor, k, f.Seq)
}

// crowded reports whether a claim by visitor means that more than maxDevices visitors
// claim the identifier.
func (e *edge) crowded(visitor rtb.Key) bool {
	return !e.has(visitor) && !slices.Contains(e.former, claimant(visitor)) && len(e.former)+len(e.devices) >= maxDevices
}

// share unlinks an identifier from all its visitors, because an identifier with
// so many claimants identifies no one.
func (t *batch) share(k rtb.Key, e *edge) error {
	t.s.count.overlinked.Add(1)
	t.s.count.shared.Add(1)
	for _, d := range e.devices {
		r := reverseKey(d.visitor, k)
		if err := t.b.Delete(r[:]); err != nil {
			return err
		}
	}
	e.former, e.devices = nil, []device{{seen: t.now}}
	return t.setEdge(k, e)
}

// room reports whether one more link is within the bounds.
func (t *batch) room(e *edge, visitor rtb.Key) (bool, error) {
	ids, err := t.linked(visitor)
	if err != nil {
		return false, err
	}
	exchanges := 0
	for _, l := range ids {
		if strings.HasPrefix(l.KeyKind, "b:") {
			exchanges++
		}
	}
	full := len(ids)-exchanges >= maxOthers
	if strings.HasPrefix(e.kind, "b:") {
		full = exchanges >= maxExchanges
	}
	if full {
		t.s.count.overlinked.Add(1)
	}
	return !full, nil
}

// join writes the reverse link from visitor to k. A device's identifier that
// belonged to another visitor moves to this one: the latest link applies.
func (t *batch) join(e *edge, k, visitor rtb.Key) error {
	if !person(e.kind) {
		for _, d := range e.devices {
			r := reverseKey(d.visitor, k)
			if err := t.b.Delete(r[:]); err != nil {
				return err
			}
			e.former = append(e.former, claimant(d.visitor))
		}
		e.devices = e.devices[:0]
		e.former = slices.DeleteFunc(e.former, func(c uint32) bool { return c == claimant(visitor) })
	}
	r := reverseKey(visitor, k)
	return t.b.Set(r[:], []byte(e.kind))
}

// unlink removes visitor from the edge of k.
func (t *batch) unlink(k, visitor rtb.Key) error {
	r := reverseKey(visitor, k)
	if err := t.b.Delete(r[:]); err != nil {
		return err
	}
	e, exists, err := t.edge(k)
	if !exists || err != nil {
		return err
	}
	e.remove(visitor)
	return t.setEdge(k, &e)
}

// setEdge writes an edge, or deletes it if no device is left.
func (t *batch) setEdge(k rtb.Key, e *edge) error {
	t.touched = append(t.touched, k)
	key := spaceKey(edgeSpace, k)
	if len(e.devices) == 0 {
		return t.b.Delete(key[:])
	}
	t.added = append(t.added, k)
	return t.b.Set(key[:], e.append(nil))
}

// edge returns an edge, including the changes of the batch.
func (t *batch) edge(k rtb.Key) (e edge, exists bool, err error) {
	key := spaceKey(edgeSpace, k)
	value, exists, err := t.b.Get(key[:])
	if !exists || err != nil {
		return edge{}, false, err
	}
	e, err = decodeEdge(value)
	return e, err == nil, err
}

// linked lists the identifiers of a visitor, including the changes of the batch.
func (t *batch) linked(visitor rtb.Key) ([]events.LinkKey, error) {
	return readLinked(t.b, visitor)
}
