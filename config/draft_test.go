package config

import (
	"strings"
	"testing"
	"time"
)

func TestDraft(t *testing.T) {
	s, err := Load("../examples/shop/rebound.yaml", Options{Now: time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	f := func(id, text, want string) {
		t.Helper()
		set, err := s.Draft("shop", id, []byte(text))
		if want == "" {
			if err != nil || set.Audience(id) == nil || set.Audience("buyers") == nil {
				t.Errorf("%s: got %v; want the draft and the other audiences", text, err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %s", text, err, want)
		}
	}
	f("new", "include: {event: search}", "")
	f("new", `{"include": {"audience": "buyers"}}`, "")
	f("product_viewers", "include: {event: search}", "")
	f("new", "id: buyers\nadvertiser: somebody\ninclude: {event: search}", "") // the caller says what it is and whose
	f("new", "recipe: crm", "list")
	f("new", "include: {evnt: search}", "draft:1: include.evnt")
	f("new", "include: {audience: nobody}", "include.audience")
	f("new", "include: /etc/passwd", "include")
	f("new", "include: [rebound.yaml]", "include")
	f("new", "include: {event: search}\nttl: 1m", "ttl")
	f("new", "", "a mapping")
	f("new", "[", "syntax error")
	if p := s.AudienceSet.Audience("new"); p != nil {
		t.Error("the snapshot has the draft")
	}
}
