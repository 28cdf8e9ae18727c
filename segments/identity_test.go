package segments

import (
	"fmt"
	"testing"
	"time"

	"rebound/events"
	"rebound/internal/conformance"
	"rebound/rtb"
)

var noSecret = &rtb.Keyring{}

func TestFindTakesTheIdentifiersInOrder(t *testing.T) {
	conformance.Covers(t, "I1", "I2")
	l, s := newLog(), inMemory(t)
	for _, v := range []string{"uid", "eid", "ifa", "matched"} {
		l.event(visitorOf(v), "view_item", 0)
	}
	l.link(visitorOf("eid"), "eid:id.example", noSecret.Key(rtb.IDEID, "id.example", []byte("E")))
	l.link(visitorOf("ifa"), "ifa", noSecret.Key(rtb.IDIFA, "", []byte("aa-01")))
	l.link(visitorOf("matched"), "b:demo", noSecret.Key(rtb.IDExchange, "demo", []byte("X")))
	l.link(visitorOf("linked only"), "b:demo", noSecret.Key(rtb.IDExchange, "demo", []byte("Y")))
	apply(t, s, l.take())

	id := func(kind rtb.IDKind, scope, value string) rtb.ExternalID {
		return rtb.ExternalID{Kind: kind, Scope: []byte(scope), Value: []byte(value)}
	}
	uid, eid, ifa, match := id(rtb.IDVisitor, "", "uid"), id(rtb.IDEID, "id.example", "E"), id(rtb.IDIFA, "", "AA-01"), id(rtb.IDExchange, "", "X")
	is := func(want string, ids ...rtb.ExternalID) {
		t.Helper()
		if v := find(t, s, ids, rtb.NoBidNone); v.Key != visitorOf(want) {
			t.Errorf("found another visitor than %s", want)
		}
	}
	is("matched", match)
	is("ifa", match, ifa)
	is("eid", match, ifa, eid)
	is("uid", match, ifa, eid, uid)
	is("matched", match, id(rtb.IDVisitor, "", "stranger"), id(rtb.IDEID, "id.other", "E"))

	not := func(want rtb.NoBidReason, ids ...rtb.ExternalID) {
		t.Helper()
		find(t, s, ids, want)
	}
	not(rtb.NoBidNoID)
	not(rtb.NoBidNoID, id(rtb.IDVisitor, "", ""), id(rtb.IDIFA, "", "00000000-0000-0000-0000-000000000000"), id(rtb.IDEmail, "shop", "x"))
	not(rtb.NoBidUnknownVisitor, id(rtb.IDExchange, "", "Y")) // linked, and nothing known
	not(rtb.NoBidUnknownVisitor, id(rtb.IDExchange, "", "uid"), id(rtb.IDVisitor, "", "X"))
	if v := (&rtb.Visitor{}); s.Find("demo-first", []rtb.ExternalID{match}, v, nil) != rtb.NoBidUnknownVisitor {
		t.Error("an id of one exchange named a visitor on another")
	}
	if k, ok := s.Linked(noSecret.Key(rtb.IDIFA, "", []byte("AA-01"))); !ok || k != visitorOf("ifa") {
		t.Error("Linked does not know the ifa's visitor")
	}
	if _, ok := s.Linked(visitorOf("stranger")); ok {
		t.Error("Linked knows a stranger")
	}
	links, err := s.Links(visitorOf("matched"))
	if err != nil || len(links) != 1 || links[0].KeyKind != "b:demo" {
		t.Errorf("links %v, %v", links, err)
	}
}

func TestADevicesIdentifierBelongsToItsLatestVisitor(t *testing.T) {
	l, s, k := newLog(), inMemory(t), noSecret.Key(rtb.IDExchange, "demo", []byte("X"))
	l.event(visitorOf("a"), "view_item", 0)
	l.event(visitorOf("b"), "view_item", 0)
	l.link(visitorOf("a"), "b:demo", k)
	apply(t, s, l.take())
	ids := []rtb.ExternalID{{Kind: rtb.IDExchange, Value: []byte("X")}}
	if v := find(t, s, ids, rtb.NoBidNone); v.Key != visitorOf("a") {
		t.Error("not a")
	}
	s.cache.entries.Wait() // the link is in the cache and must be evicted
	l.link(visitorOf("b"), "b:demo", k)
	apply(t, s, l.take())
	if v := find(t, s, ids, rtb.NoBidNone); v.Key != visitorOf("b") {
		t.Error("not b, the latest")
	}
	if links, _ := s.Links(visitorOf("a")); len(links) != 0 {
		t.Errorf("a still has %v", links)
	}

	l.now = start.Add(89 * 24 * time.Hour)
	l.link(visitorOf("b"), "b:demo", k)
	l.now = start.Add(178 * 24 * time.Hour)
	l.add(events.Fact{Kind: events.KindTick})
	apply(t, s, l.take())
	find(t, s, ids, rtb.NoBidNone)
	l.now = start.Add(179*24*time.Hour + time.Minute)
	l.add(events.Fact{Kind: events.KindTick})
	apply(t, s, l.take())
	find(t, s, ids, rtb.NoBidUnknownVisitor)
	l.now = l.now.Add(30*24*time.Hour + time.Minute)
	l.add(events.Fact{Kind: events.KindTick})
	apply(t, s, l.take())
	if links, _ := s.Links(visitorOf("b")); len(links) != 0 {
		t.Errorf("expired links %v are left", links)
	}
}

func TestLinksAreBounded(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	for i := range 20 {
		l.link(v, "b:demo", rtb.Key{1, byte(i)})
		l.link(v, "eid:x", rtb.Key{2, byte(i)})
		l.link(visitorOf(fmt.Sprint("device", i)), "em", rtb.Key{3})
	}
	apply(t, s, l.take())
	kinds := map[string]int{}
	links, err := s.Links(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range links {
		kinds[k.KeyKind]++
	}
	if kinds["b:demo"] != maxExchanges || kinds["eid:x"] != maxOthers {
		t.Errorf("links %v", kinds)
	}
	if got := s.Stats().Overlinked; got != 20-maxExchanges+20-maxOthers+20-maxDevices {
		t.Errorf("%d over the bounds were counted", got)
	}
}

// An identifier that more visitors claim than a person has devices is linked to none of
// them, for as long as it is seen.
func TestASharedIdentifierNamesNobody(t *testing.T) {
	for _, kind := range []string{"em", "xid", "ifa", "b:demo", "eid:x"} {
		l, s, k := newLog(), inMemory(t), noSecret.Key(rtb.IDIFA, "", []byte("aa-01"))
		device := func(i int) rtb.Key { return visitorOf(fmt.Sprint("device", i)) }
		for range 3 { // repeated claims of the same visitors do not count again
			for i := range maxDevices {
				l.event(device(i), "view_item", 0, "sku1")
				l.link(device(i), kind, k)
			}
		}
		apply(t, s, l.take())
		if v, ok := s.Linked(k); !ok || v != device(maxDevices-1) || s.Stats().Shared != 0 {
			t.Fatalf("%s: got %v %v, %+v; want the latest of %d devices", kind, v, ok, s.Stats(), maxDevices)
		}
		l.link(device(maxDevices), kind, k)
		l.link(device(0), kind, k)
		apply(t, s, l.take())
		if v, ok := s.Linked(k); !ok || !v.IsZero() || s.Stats().Shared != 1 {
			t.Errorf("%s: got %v %v, %d shared; want it linked to nobody", kind, v, ok, s.Stats().Shared)
		}
		find(t, s, []rtb.ExternalID{{Kind: rtb.IDIFA, Value: []byte("aa-01")}}, rtb.NoBidUnknownVisitor)
		for i := range maxDevices + 1 {
			if links, _ := s.Links(device(i)); len(links) != 0 {
				t.Errorf("%s: device %d still has the links %v", kind, i, links)
			}
		}
		l.add(events.Fact{Kind: events.KindErase, Keys: []events.LinkKey{{KeyKind: kind, Key: k}}})
		l.now = l.now.Add(91 * 24 * time.Hour)
		l.add(events.Fact{Kind: events.KindTick})
		l.link(device(3), kind, k)
		apply(t, s, l.take())
		if v, ok := s.Linked(k); !ok || v != device(3) {
			t.Errorf("%s: got %v %v; want it linked again after it was not seen for 90 days", kind, v, ok)
		}
	}
}

func TestOptOut(t *testing.T) {
	conformance.Covers(t, "I10")
	dir := t.TempDir()
	l, v := newLog(), visitorOf("v")
	s := open(t, Options{Dir: dir})
	ifa, email := noSecret.Key(rtb.IDIFA, "", []byte("aa-01")), rtb.Key{9}
	l.event(v, "view_item", 0, "sku1")
	l.link(v, "ifa", ifa)
	l.link(v, "em", email)
	l.event(visitorOf("second device"), "view_item", 0)
	l.link(visitorOf("second device"), "em", email)
	apply(t, s, l.take())
	byIFA := []rtb.ExternalID{{Kind: rtb.IDIFA, Value: []byte("AA-01")}}
	find(t, s, byUID("v"), rtb.NoBidNone)

	// At once, before the fold, by any of the ids that are offered.
	s.OptOutNow(v)
	find(t, s, byUID("v"), rtb.NoBidPrivacyOptedOut)
	find(t, s, byIFA, rtb.NoBidPrivacyOptedOut)
	s.OptOutNow(visitorOf("stranger"))
	find(t, s, append(byUID("second device"), byUID("stranger")...), rtb.NoBidPrivacyOptedOut)

	// Then in the view: profile and links are deleted, and later facts are not kept.
	l.add(events.Fact{Kind: events.KindOptOut, Visitor: v})
	l.event(v, "view_item", 0, "sku1")
	l.link(v, "b:demo", rtb.Key{5})
	l.link(visitorOf("third"), "ifa", ifa)
	apply(t, s, l.take())
	check := func() {
		t.Helper()
		find(t, s, byUID("v"), rtb.NoBidPrivacyOptedOut)
		find(t, s, byIFA, rtb.NoBidPrivacyOptedOut)
		find(t, s, byUID("second device"), rtb.NoBidNone)
		p := profile(t, s, v)
		if !p.OptedOut || len(p.Segments)+len(p.Products) > 0 {
			t.Errorf("profile %+v", p)
		}
		if links, _ := s.Links(v); len(links) != 0 {
			t.Errorf("links %v are left", links)
		}
		if st := s.Stats(); st.Visitors != 1 || st.OptOuts != 3 {
			t.Errorf("%d visitors, %d opt-outs", st.Visitors, st.OptOuts)
		}
	}
	check()
	if s.pending.has(v) || !s.pending.has(visitorOf("stranger")) {
		t.Error("pending opt-outs: want the folded one gone, the other kept")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	check()

	// Opting out by a person's key means all its devices.
	l.add(events.Fact{Kind: events.KindOptOut, Keys: []events.LinkKey{{KeyKind: "em", Key: email}}})
	apply(t, s, l.take())
	find(t, s, byUID("second device"), rtb.NoBidPrivacyOptedOut)
}

func TestErase(t *testing.T) {
	conformance.Covers(t, "I10")
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	ifa := noSecret.Key(rtb.IDIFA, "", []byte("aa-01"))
	l.event(v, "view_item", 0, "sku1")
	l.link(v, "ifa", ifa)
	l.event(visitorOf("w"), "view_item", 0)
	apply(t, s, l.take())
	find(t, s, byUID("v"), rtb.NoBidNone)
	l.add(events.Fact{Kind: events.KindErase, Keys: []events.LinkKey{{KeyKind: "ifa", Key: ifa}}})
	l.notice(events.KindBill, v, 1) // a late impression creates no profile
	apply(t, s, l.take())
	find(t, s, byUID("v"), rtb.NoBidUnknownVisitor)
	find(t, s, []rtb.ExternalID{{Kind: rtb.IDIFA, Value: []byte("aa-01")}}, rtb.NoBidUnknownVisitor)
	find(t, s, byUID("w"), rtb.NoBidNone)
	for k := range dump(t, s) {
		if k[0] != dueSpace && k[0] != seenSpace && len(k) > 1 && (k[1:] == string(v[:]) || k[1:] == string(ifa[:])) {
			t.Errorf("%q is left", k)
		}
	}
	l.event(v, "view_item", 0) // an erased visitor may become known again
	apply(t, s, l.take())
	find(t, s, byUID("v"), rtb.NoBidNone)
}
