package creatives

import (
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// Rules BN1, BN2, BN3, BN4, BN9.
func TestSizes(t *testing.T) {
	conformance.Covers(t, "BN1", "BN2", "BN3", "BN4", "BN9")
	creative := &Creative{Sizes: []rtb.Size{{W: 300, H: 250}, {W: 728, H: 90}}}
	for _, c := range []struct {
		name   string
		imp    rtb.Impression
		device rtb.Device
		want   rtb.Size
		ok     bool
	}{
		{name: "exact", imp: rtb.Impression{Banner: rtb.Banner{Sizes: []rtb.Size{{W: 728, H: 90}}}}, want: rtb.Size{W: 728, H: 90}, ok: true},
		{name: "the sender's order", imp: rtb.Impression{Banner: rtb.Banner{Sizes: []rtb.Size{{W: 1, H: 1}, {W: 728, H: 90}, {W: 300, H: 250}}}}, want: rtb.Size{W: 728, H: 90}, ok: true},
		{name: "near is not it", imp: rtb.Impression{Banner: rtb.Banner{Sizes: []rtb.Size{{W: 300, H: 251}}}}},
		{name: "none", imp: rtb.Impression{}},
		{name: "interstitial", imp: rtb.Impression{Instl: true}, device: rtb.Device{W: 320, H: 480}, want: rtb.Size{W: 300, H: 250}, ok: true},
		{name: "interstitial, small screen", imp: rtb.Impression{Instl: true}, device: rtb.Device{W: 240, H: 320}},
		{name: "interstitial, unknown screen", imp: rtb.Impression{Instl: true}},
		{name: "ratio", imp: rtb.Impression{Banner: rtb.Banner{Flex: []rtb.FlexSize{{WRatio: 6, HRatio: 5, WMin: 200}}}}, want: rtb.Size{W: 300, H: 250}, ok: true},
		{name: "ratio, too narrow", imp: rtb.Impression{Banner: rtb.Banner{Flex: []rtb.FlexSize{{WRatio: 6, HRatio: 5, WMin: 301}}}}},
		{name: "range", imp: rtb.Impression{Banner: rtb.Banner{WMax: 320, HMax: 260}}, want: rtb.Size{W: 300, H: 250}, ok: true},
		{name: "range below", imp: rtb.Impression{Banner: rtb.Banner{WMin: 301, WMax: 800, HMax: 400}}, want: rtb.Size{W: 728, H: 90}, ok: true},
		{name: "formats win over a range", imp: rtb.Impression{Banner: rtb.Banner{Sizes: []rtb.Size{{W: 1, H: 1}}, WMax: 320, HMax: 260}}},
	} {
		got, _, ok := creative.sizeOn(&c.imp, &c.device)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: got %v, %v; want %v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}
