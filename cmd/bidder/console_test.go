package main

import (
	"path/filepath"
	"regexp"
	"testing"

	"rebound/collect"
	"rebound/config"
)

// The start-up hint names an advertiser, an event and a product that the loaded
// configuration has.
func TestTryHintFitsTheConfiguration(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own")
	if status, _, errs := run(t, "init", own); status != 0 {
		t.Fatal(errs)
	}
	for _, file := range []string{"../../examples/shop/rebound.yaml", "../../examples/day/even.yaml", "../../examples/targeting/rebound.yaml", filepath.Join(own, "rebound.yaml")} {
		s, err := config.Load(file, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		hint := tryHint(s, "127.0.0.1:8081")
		m := regexp.MustCompile(`/v1/px\?([^']*)'`).FindStringSubmatch(hint)
		if m == nil {
			t.Errorf("%s: got the hint %q", file, hint)
			continue
		}
		in := collect.ParsePixel([]byte(m[1]), func(r collect.Reject) { t.Errorf("%s: %s: %s", file, hint, r) })
		known := false
		for _, adv := range s.Index.Advertisers() {
			known = known || adv.ID == in.Advertiser && (adv.Feed == nil || len(in.Items) == 1 && adv.Feed.Product(in.Items[0].ID) != nil)
		}
		heard := false
		for _, event := range s.AudienceSet.Events() {
			heard = heard || event == in.Event
		}
		if !known || !heard || in.Consent == nil || in.Consent.GDPR != "0" {
			t.Errorf("%s: the hint %q does not fit", file, hint)
		}
	}
}
