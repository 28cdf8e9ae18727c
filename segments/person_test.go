package segments

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

func keyOf(kind rtb.IDKind, scope, value string) rtb.Key {
	return (&rtb.Keyring{}).Key(kind, scope, []byte(value))
}

// TestErasedFromTheFiles erases a person by an e-mail address and searches all files of
// the view for the keys.
func TestErasedFromTheFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	gone, stays := visitorOf("gone"), visitorOf("stays")
	em, ifa := keyOf(rtb.IDEmail, "shop", "mail"), keyOf(rtb.IDIFA, "", "ifa")
	l := newLog()
	for _, v := range []rtb.Key{gone, stays} {
		l.event(v, "view_item", 0, "SKU1")
	}
	l.link(gone, "em", em)
	l.link(gone, "ifa", ifa)
	apply(t, s, l.take())

	named := []events.LinkKey{{KeyKind: "em", Key: em}}
	p, err := s.Person(named)
	if err != nil || !slices.Equal(p.Visitors, []rtb.Key{gone}) || len(p.Links) != 2 || p.Profiles != 1 {
		t.Fatalf("got %+v, %v; want one visitor with two identifiers and a profile", p, err)
	}
	keys, err := s.Keys(p)
	if err != nil || len(keys) != 3 {
		t.Fatalf("got %v, %v; want three keys", keys, err)
	}
	l.now = l.now.Add(time.Hour)
	l.add(events.Fact{Kind: events.KindErase, Keys: append(named, events.LinkKey{KeyKind: events.VisitorKind, Key: gone})})
	apply(t, s, l.take())
	if err := s.Scrub(t.Context(), events.NewKeySet(keys...)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[rtb.Key]bool{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range append(keys, stays) {
			if bytes.Contains(b, k[:]) {
				found[k] = true
			}
		}
	}
	if len(found) != 1 || !found[stays] {
		t.Errorf("got keys %v in the files; want that of the visitor who stays, %v", found, stays)
	}
	find(t, s, byUID("gone"), rtb.NoBidUnknownVisitor)
	find(t, s, byUID("stays"), rtb.NoBidNone)

	l.event(gone, "view_item", 0, "SKU2") // an erasure is no opt-out
	apply(t, s, l.take())
	find(t, s, byUID("gone"), rtb.NoBidNone)
	if err := s.Scrub(t.Context(), events.NewKeySet(keys...)); err != nil {
		t.Fatal(err)
	}
	l.now = l.now.Add((profileLife + 2*hourSpan) * time.Second)
	l.event(stays, "view_item", 0, "SKU1")
	l.event(stays, "view_item", 0, "SKU1")
	apply(t, s, l.take())
	find(t, s, byUID("gone"), rtb.NoBidUnknownVisitor)
}

// TestSharedIdentifierStays erases one of two people with the same e-mail address.
func TestSharedIdentifierStays(t *testing.T) {
	s := inMemory(t)
	a, b, em := visitorOf("a"), visitorOf("b"), keyOf(rtb.IDEmail, "shop", "family")
	l := newLog()
	l.event(a, "view_item", 0, "SKU1")
	l.event(b, "view_item", 0, "SKU1")
	l.link(a, "em", em)
	l.link(b, "em", em)
	apply(t, s, l.take())
	p, err := s.Person([]events.LinkKey{{KeyKind: events.VisitorKind, Key: a}})
	if err != nil || !slices.Equal(p.Visitors, []rtb.Key{a}) {
		t.Fatalf("got %+v, %v; want one visitor: the other one was not named", p, err)
	}
	if keys, err := s.Keys(p); err != nil || !slices.Equal(keys, []rtb.Key{a}) {
		t.Errorf("got %v, %v; want the visitor's own key: the address is somebody else's too", keys, err)
	}
	l.add(events.Fact{Kind: events.KindErase, Visitor: a})
	apply(t, s, l.take())
	if got, ok := s.Linked(em); !ok || got != b {
		t.Errorf("got %v, %v; want the address linked to the other one", got, ok)
	}
}

func TestOptInTakesBackTheWholeOptOut(t *testing.T) {
	s := inMemory(t)
	visitor, ifa := visitorOf("v"), keyOf(rtb.IDIFA, "", "device")
	l := newLog()
	l.event(visitor, "view_item", 0, "SKU1")
	l.link(visitor, "ifa", ifa)
	l.add(events.Fact{Kind: events.KindOptOut, Visitor: visitor})
	l.event(visitor, "view_item", 0, "SKU1") // not remembered
	apply(t, s, l.take())
	byIFA := []rtb.ExternalID{{Kind: rtb.IDIFA, Value: []byte("device")}}
	find(t, s, byUID("v"), rtb.NoBidPrivacyOptedOut)
	find(t, s, byIFA, rtb.NoBidPrivacyOptedOut)
	if got := s.Stats().OptOuts; got != 2 {
		t.Errorf("got %d opt-outs; want 2", got)
	}
	l.add(events.Fact{Kind: events.KindOptIn, Visitor: visitor})
	apply(t, s, l.take())
	find(t, s, byUID("v"), rtb.NoBidUnknownVisitor) // nothing was kept
	find(t, s, byIFA, rtb.NoBidUnknownVisitor)
	if got := s.Stats().OptOuts; got != 0 {
		t.Errorf("got %d opt-outs; want none", got)
	}
	l.event(visitor, "view_item", 0, "SKU1")
	apply(t, s, l.take())
	find(t, s, byUID("v"), rtb.NoBidNone)
}
