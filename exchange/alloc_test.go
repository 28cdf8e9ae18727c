package exchange

import (
	"testing"

	"rebound/rtb"
)

// The bid path does not allocate in the steady state.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	check := func(name string, f func()) {
		t.Helper()
		f() // the first request makes the memory that the others use
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times; want 0", name, n)
		}
	}
	p := testProfile(t, nil)
	var d Decoder
	var o rtb.Opportunity
	bodies := map[string][]byte{"R0": []byte(requestR0), "escapes": root0(`"user":{"buyeruid":"a\u0062c","keywords":"\u00e9,b"},"device":{"ifa":"AB-12"}`),
		"odd": imp0(`"banner":{"w":"300","h":250.5},"bidfloor":"0.5e1","secure":"1.0"`), "malformed": []byte(`{"id":`), "personal": []byte(personal)}
	for _, shape := range benchShapes {
		bodies[shape] = benchBody(t, shape)
	}
	for name, body := range bodies {
		check(name+" head", func() { _ = d.Head(body, p, &o) })
		check(name+" head and rest", func() {
			if d.Head(body, p, &o) == nil {
				_ = d.Rest(p, &o, rtb.AllParts)
			}
		})
		out, k := make([]byte, 0, 2*len(body)+1024), rtb.NewKeyring([32]byte{1})
		check(name+" redacted", func() {
			if d.Head(body, p, &o) == nil {
				_, _ = d.AppendRedacted(out[:0], p, k)
			}
		})
	}
	offers := []rtb.Offer{sampleOffer()}
	setMarkup(&offers[0], "<b>\u2028é\"\xff</b>")
	one := r0Opportunity()
	dst := make([]byte, 0, 4096)
	check("response", func() { dst = AppendResponse(dst[:0], p, one, &Response{ID: rtb.BidID{1}, Offers: offers}) })
	check("no-bid", func() { dst = p.AppendNoBid(dst[:0], one, rtb.NoBidFloor, 0) })
	check("macros", func() { dst = p.AppendMacros(dst[:0], rtb.NoticeBill) })
	check("fits", func() { p.Fits(&offers[0]) })
	price := []byte("2.31")
	check("price", func() { p.ParsePrice(price) })
}

// Memory that one huge request needed is released.
func TestDecoderGivesMemoryBack(t *testing.T) {
	p := testProfile(t, nil)
	var d Decoder
	var o rtb.Opportunity
	big := []byte(`{"id":"r","site":{},"imp":[{"id":"1","banner":{}}],"badv":["a"`)
	for range 20_000 {
		big = append(big, `,"a\u0062"`...)
	}
	big = append(big, `]}`...)
	if err := d.Head(big, p, &o); err != nil {
		t.Fatal(err)
	}
	if err := d.Rest(p, &o, rtb.AllParts); err != nil || len(o.BAdv) != 20_001 {
		t.Fatal(err, len(o.BAdv))
	}
	if err := d.Head([]byte(requestR0), p, &o); err != nil {
		t.Fatal(err)
	}
	if cap(d.texts) > keepTexts || cap(d.s.buf) > keepBytes {
		t.Errorf("the decoder keeps %d texts and %d bytes", cap(d.texts), cap(d.s.buf))
	}
}
