package exchange

import (
	"slices"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// A profile whose bids the exchange would drop is reported when the configuration is
// loaded.
func TestDemandsOfAnExchange(t *testing.T) {
	conformance.Covers(t, "M20", "R3")
	for _, c := range []struct {
		name, path string
		change     func(*ProfileSpec)
	}{
		{"nothing is demanded", "", func(s *ProfileSpec) { s.PriceIn = []string{"win"} }},
		{"the price macro in bill or imp, and it is there", "", func(s *ProfileSpec) { s.PriceMacroRequired = []string{"bill", "imp"} }},
		{"the price macro in bill or imp, and it is in win", "price_in", func(s *ProfileSpec) { s.PriceMacroRequired, s.PriceIn = []string{"bill", "imp"}, []string{"win"} }},
		{"one form of the price macro", "price_macro", func(s *ProfileSpec) { s.PriceMacroForms = []string{"${AUCTION_PRICE:OXCRYPT}"} }},
		{"that form", "", func(s *ProfileSpec) {
			s.PriceMacroForms, s.PriceMacro = []string{"${AUCTION_PRICE:OXCRYPT}"}, "${AUCTION_PRICE:OXCRYPT}"
		}},
		{"a click macro", "click_macro", func(s *ProfileSpec) { s.ClickMacroRequired = true }},
		{"a seat of digits", "seat", func(s *ProfileSpec) { s.SeatNumeric = true }},
	} {
		s := ProfileSpec{ID: "demo", Seat: "seat-1"}
		c.change(&s)
		_, problems := s.Compile()
		var paths []string
		for _, p := range problems {
			paths = append(paths, p.Path)
		}
		if c.path == "" && len(paths) > 0 || c.path != "" && !slices.Contains(paths, c.path) {
			t.Errorf("%s: got problems at %v; want %q", c.name, paths, c.path)
		}
	}
	if _, problems := (&ProfileSpec{ID: "demo", Seat: "4711", SeatNumeric: true, DefaultCur: rtb.USD}).Compile(); len(problems) > 0 {
		t.Errorf("a seat of digits: got %v", problems)
	}
}
