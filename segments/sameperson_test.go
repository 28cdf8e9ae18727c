package segments

import (
	"fmt"
	"testing"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// A purchase with one device counts for the other devices of the person, under the same
// advertiser, and no further.
func TestPurchasesAreSharedWithinAPerson(t *testing.T) {
	s, l := inMemory(t), newLog()
	phone, laptop, tablet := visitorOf("phone"), visitorOf("laptop"), visitorOf("tablet")
	em, xid := keyOf(rtb.IDEmail, "shop", "mail"), keyOf(rtb.IDXID, "shop", "42")
	link := func(advertiser string, visitor rtb.Key, kind string, k rtb.Key) {
		l.add(events.Fact{Kind: events.KindLink, Advertiser: advertiser, Visitor: visitor, Link: &events.Link{LinkKey: events.LinkKey{KeyKind: kind, Key: k}}})
	}
	count := func(visitor rtb.Key, rule string, want uint32) {
		t.Helper()
		l.now = l.now.Add(time.Minute)
		apply(t, s, l.take())
		if got := segment(t, s, visitor, rule).Count; got != want {
			t.Errorf("%s: got %d events; want %d", rule, got, want)
		}
	}
	for _, v := range []rtb.Key{phone, laptop, tablet} {
		l.event(v, "view_item", time.Hour, "SKU1")
	}
	link("shop", phone, "em", em)
	link("shop", laptop, "em", em)
	l.event(phone, "purchase", 0, "SKU1")
	count(phone, buyRule, 1)
	count(laptop, buyRule, 1)
	count(laptop, viewRule, 1) // only purchases are shared

	link("shop", laptop, "xid", xid) // late: the tablet has bought before
	l.event(tablet, "purchase", 0, "SKU1")
	count(laptop, buyRule, 1)
	link("shop", tablet, "xid", xid)
	count(laptop, buyRule, 2)
	count(tablet, buyRule, 1) // what the phone shared with the laptop stays there
	count(phone, buyRule, 1)
	link("shop", tablet, "xid", xid) // again
	count(laptop, buyRule, 2)
	l.event(laptop, "purchase", 0, "SKU1")
	count(phone, buyRule, 2)
	count(tablet, buyRule, 2)

	other := visitorOf("other")
	l.event(other, "view_item", time.Hour, "SKU1")
	shared := keyOf(rtb.IDEmail, "other", "mail")
	link("other", phone, "em", shared)
	link("other", other, "em", shared)
	l.event(phone, "purchase", 0, "SKU1")
	count(other, buyRule, 0) // another advertiser's link shares nothing of this one's
	if got := find(t, s, byUID("laptop"), rtb.NoBidNone); len(got.Products) != 1 {
		t.Errorf("got %d products; want the laptop's own", len(got.Products))
	}
}

// An impression counts for the other devices of the person in the caps of the advertiser
// who linked them, once however often they are linked, and for no one else.
func TestImpressionsAreSharedWithinAPerson(t *testing.T) {
	s, l := inMemory(t), newLog()
	phone, laptop, stranger := visitorOf("phone"), visitorOf("laptop"), visitorOf("stranger")
	for _, v := range []rtb.Key{phone, laptop, stranger} {
		l.event(v, "view_item", 0)
	}
	link := func(advertiser string, visitor rtb.Key, kind, id string) {
		l.add(events.Fact{Kind: events.KindLink, Advertiser: advertiser, Visitor: visitor,
			Link: &events.Link{LinkKey: events.LinkKey{KeyKind: kind, Key: keyOf(rtb.IDEmail, advertiser, id)}}})
	}
	count := func(visitor rtb.Key, want uint32) {
		t.Helper()
		apply(t, s, l.take())
		got := uint32(0)
		if f := profile(t, s, visitor).Scope(rtb.ScopeOf("line", "shop/autumn/cart")); f != nil {
			for _, b := range f.Buckets {
				got += b.Count
			}
		}
		if got != want {
			t.Errorf("got %d impressions; want %d", got, want)
		}
	}
	l.notice(events.KindImp, phone, 1)
	link("shop", phone, "em", "mail")
	link("shop", laptop, "em", "mail")
	link("shop", phone, "xid", "42")
	link("shop", laptop, "xid", "42")
	link("other", phone, "em", "mail")
	link("other", stranger, "em", "mail")
	count(laptop, 0) // the impression came before the link
	l.notice(events.KindImp, phone, 2)
	l.notice(events.KindBill, phone, 2)
	count(phone, 2)
	count(laptop, 1)
	count(stranger, 0)
	l.notice(events.KindBill, laptop, 3)
	count(phone, 3)
	count(laptop, 2)
}

// row adds a row of a list.
func (l *log) row(job string, visitor rtb.Key, keys ...events.LinkKey) {
	l.add(events.Fact{Kind: events.KindList, Advertiser: "shop", Visitor: visitor, Keys: keys, List: &events.List{List: "vip", Job: job, Mode: events.ListRow}})
}

func (l *log) listFact(v events.List) {
	v.List = "vip"
	l.add(events.Fact{Kind: events.KindList, Advertiser: "shop", List: &v})
}

const vipRule = `shop "@list" list eq "vip"`

func TestListMembers(t *testing.T) {
	s, l := inMemory(t), newLog()
	onList := func(id string, want bool) {
		t.Helper()
		apply(t, s, l.take())
		v := &rtb.Visitor{}
		s.Find("demo", byUID(id), v, nil)
		if got := v.Segment(audiences.SegmentOf(vipRule)) != nil; got != want {
			t.Errorf("%s: on the list %v; want %v", id, got, want)
		}
	}
	em := func(name string) events.LinkKey {
		return events.LinkKey{KeyKind: "em", Key: keyOf(rtb.IDEmail, "shop", name)}
	}
	l.row("j0", rtb.Key{}, em("anna")) // no such list
	l.listFact(events.List{Mode: events.ListDefine, Norm: "std", Purpose: "target", TTL: 10 * 86400})
	l.listFact(events.List{Mode: events.ListBegin, Job: "j1", Action: events.ListAppend})
	l.row("j1", rtb.Key{}, em("anna"))
	l.row("j1", rtb.Key{}, em("ben"))
	l.listFact(events.List{Mode: events.ListCommit, Job: "j1", Rows: 2, Accepted: 2})
	l.event(visitorOf("anna"), "view_item", 0, "SKU1")
	onList("anna", false)
	l.link(visitorOf("anna"), "em", em("anna").Key) // late
	onList("anna", true)
	l.event(visitorOf("ben"), "view_item", 0, "SKU1")
	l.link(visitorOf("ben"), "em", em("ben").Key)
	onList("ben", true)
	if got := s.Stats().StrayRows; got != 1 {
		t.Errorf("got %d stray rows; want that of the list that did not exist", got)
	}

	// A replacement takes effect as a whole.
	l.listFact(events.List{Mode: events.ListBegin, Job: "j2", Action: events.ListReplace})
	l.row("j2", rtb.Key{}, em("carl"))
	l.event(visitorOf("carl"), "view_item", 0, "SKU1")
	l.link(visitorOf("carl"), "em", em("carl").Key)
	onList("carl", false)
	onList("anna", true)
	l.listFact(events.List{Mode: events.ListCommit, Job: "j2", Rows: 1, Accepted: 1})
	onList("carl", true)
	onList("anna", false)

	l.listFact(events.List{Mode: events.ListBegin, Job: "j3", Action: events.ListRemove})
	l.row("j3", rtb.Key{}, em("carl"))
	l.listFact(events.List{Mode: events.ListCommit, Job: "j3", Rows: 1, Accepted: 1})
	onList("carl", false)
	if j := s.List("shop", "vip").Jobs; len(j) != 3 || j[2].State != "done" || j[2].Accepted != 1 {
		t.Errorf("jobs: %+v", j)
	}

	// A row that names a device finds it although it was never on the site.
	ifa := events.LinkKey{KeyKind: "ifa", Key: keyOf(rtb.IDIFA, "", "device")}
	l.listFact(events.List{Mode: events.ListBegin, Job: "j4", Action: events.ListAppend})
	l.row("j4", visitorOf("derived"), ifa)
	apply(t, s, l.take())
	byIFA := []rtb.ExternalID{{Kind: rtb.IDIFA, Value: []byte("device")}}
	if v := find(t, s, byIFA, rtb.NoBidNone); v.Segment(audiences.SegmentOf(vipRule)) == nil {
		t.Error("the device is not on the list")
	}
	// Rows end with the list, and before with its ttl.
	l.now = l.now.Add(11 * 24 * time.Hour)
	l.event(visitorOf("anna"), "view_item", 0, "SKU1")
	apply(t, s, l.take())
	if v := find(t, s, byIFA, rtb.NoBidNone); v.Segment(audiences.SegmentOf(vipRule)) != nil {
		t.Error("the device is on the list after the ttl of its row")
	}
	l.listFact(events.List{Mode: events.ListDrop})
	apply(t, s, l.take())
	if s.List("shop", "vip") != nil || len(s.Lists("")) > 0 {
		t.Error("the list was not dropped")
	}
}

// TestMembersDoNotDependOnBatches folds the same uploads and links in one batch and in many.
func TestMembersDoNotDependOnBatches(t *testing.T) {
	l := newLog()
	for job := range 4 {
		id := fmt.Sprint("j", job)
		l.listFact(events.List{Mode: events.ListDefine, Norm: "std", Purpose: "suppress", TTL: 86400})
		l.listFact(events.List{Mode: events.ListBegin, Job: id, Action: []string{events.ListAppend, events.ListReplace}[job%2]})
		for i := range 6 {
			name := fmt.Sprint("p", (i+job)%8)
			k := events.LinkKey{KeyKind: "em", Key: keyOf(rtb.IDEmail, "shop", name)}
			l.row(id, rtb.Key{}, k)
			l.event(visitorOf(name), "purchase", 0, "SKU1")
			l.add(events.Fact{Kind: events.KindLink, Advertiser: "shop", Visitor: visitorOf(fmt.Sprint("p", i)), Link: &events.Link{LinkKey: k}})
		}
		l.listFact(events.List{Mode: events.ListCommit, Job: id})
	}
	facts := l.take()
	one, many := inMemory(t), inMemory(t)
	apply(t, one, facts)
	for i := range facts {
		apply(t, many, facts[i:i+1])
	}
	sameDump(t, "one batch and many", dump(t, one), dump(t, many))
}

// An erasure takes the rows of lists with it, and leaves those of the others.
func TestEraseTakesRows(t *testing.T) {
	s, l := inMemory(t), newLog()
	anna, ben := keyOf(rtb.IDEmail, "shop", "anna"), keyOf(rtb.IDEmail, "shop", "ben")
	l.listFact(events.List{Mode: events.ListDefine, Purpose: "target", TTL: 86400})
	l.listFact(events.List{Mode: events.ListBegin, Job: "j", Action: events.ListAppend})
	for _, k := range []rtb.Key{anna, ben} {
		l.row("j", rtb.Key{}, events.LinkKey{KeyKind: "em", Key: k})
	}
	l.link(visitorOf("anna"), "em", anna)
	l.add(events.Fact{Kind: events.KindErase, Visitor: visitorOf("anna")})
	apply(t, s, l.take())
	for key := range dump(t, s) {
		if len(key) > 1 && key[0] == rowSpace && rtb.Key([]byte(key[1:])) != ben {
			t.Errorf("a row of %x is left", key)
		}
	}
	if _, ok := dump(t, s)[string(rowSpace)+string(ben[:])]; !ok {
		t.Error("the other's row is gone")
	}
	l.add(events.Fact{Kind: events.KindErase, Keys: []events.LinkKey{{KeyKind: "em", Key: ben}}})
	apply(t, s, l.take())
	if _, ok := dump(t, s)[string(rowSpace)+string(ben[:])]; ok {
		t.Error("the row of an address that was never seen on the site is left")
	}
}
