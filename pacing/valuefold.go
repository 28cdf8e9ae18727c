package pacing

import (
	"slices"

	"rebound/events"
	"rebound/rtb"
)

// showingOf returns what a notice says about the impression that was shown.
func showingOf(f *events.Fact) rtb.Showing {
	n := f.Notice
	s := rtb.Showing{
		Exchange: n.Exchange, Creative: n.Creative, Format: n.Format,
		Line: rtb.LineID{Advertiser: f.Advertiser, Campaign: n.Campaign, Line: n.Line},
	}
	s.Features.N = uint8(copy(s.Features.Hash[:], n.Features))
	return s
}

// billed learns from an impression that was charged for the first time. The gradient of
// the logistic loss, p - y, is taken in two parts: p when an impression is billed, and -1
// when it is clicked. An impression therefore never waits for its click, and needs no
// memory until then.
func (v *values) billed(f *events.Fact, at rtb.Second) error {
	s := showingOf(f)
	var x inputs
	x.set(&s)
	p := v.weights.predict(clickModel, &x)
	v.weights.step(clickModel, &x, p)
	v.observe(clickModel, s.Line, p, 0, at)
	if f.Visitor.IsZero() {
		return nil // no purchase can be credited to it
	}
	l := &v.line(s.Line).returns
	l.fade(at)
	l.Spend += float64(max(f.Notice.Charge, 0))
	return v.expose(viewModel, f, &x, at)
}

// clicked learns from the first click of a billed impression.
func (v *values) clicked(f *events.Fact, at rtb.Second) error {
	s := showingOf(f)
	var x inputs
	x.set(&s)
	v.weights.step(clickModel, &x, -1)
	v.observe(clickModel, s.Line, 0, 1, at)
	if f.Visitor.IsZero() {
		return nil
	}
	return v.expose(buyModel, f, &x, at)
}

// observe adds to the calibration of a model.
func (v *values) observe(m model, id rtb.LineID, predicted, observed float64, at rtb.Second) {
	for _, c := range [...]*calibration{&v.all[m], &v.line(id).calibrations[m]} {
		c.fade(m, at)
		c.Predicted += predicted
		c.Observed += observed
	}
	v.behind = true
}

// foldClick counts the first click of a bid. It is learned from once the bid is billed:
// anybody who has seen an ad can send its click, but not its bill.
func (p *Pacer) foldClick(f *events.Fact) error {
	if slices.Contains(f.Notice.Flags, flagExpired) {
		return nil
	}
	rec, err := p.notice(f.Notice.BidID)
	if err != nil || !rec.clicked.IsZero() {
		return err
	}
	rec.clicked = p.now
	if !rec.charged.IsZero() {
		return p.values.clicked(f, rtb.SecondOf(p.now))
	}
	return nil
}

// flagExpired is the flag of a notice that arrived after notice_ttl.
const flagExpired = "expired"

// learnBill learns from the first bill of a bid, and from a click that came before it.
func (p *Pacer) learnBill(f *events.Fact, rec *notice) error {
	err := p.values.billed(f, rtb.SecondOf(p.now))
	if err == nil && !rec.clicked.IsZero() {
		err = p.values.clicked(f, rtb.SecondOf(p.now))
	}
	return err
}

// publishValues updates the bid path's snapshot at a time of the log or of the clock.
func (p *Pacer) publishValues(at rtb.Second) {
	v := p.values
	if v.behind && (at >= v.published+publishEvery || at < v.published) || at >= v.published+idleEvery {
		p.values.published = at
		p.values.publish()
	}
}
