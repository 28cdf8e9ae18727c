package bidder

import (
	"unsafe"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/rtb"
)

// Limits of one decision, whatever a request holds. What is beyond them is not
// bid on, and counted in [Outcome.Lost].
const (
	maxOptions = 4096  // lines on impressions, openly or under a deal
	maxQuotes  = 16384 // of them that are priced before the best are kept
	maxDrops   = 1024  // lines noted that did not bid
	maxWays    = 32    // of one line into one pod
)

// lateEvery is how many steps of work are done between two looks at the clock: a
// line, an impression, a deal, or an entry of a list is one.
const lateEvery = 32

// Work that is worth more than one step: so many entries of an impression's own
// lists are one, and an offer with its reservation and links is so many.
const (
	entriesPerStep = 16
	offerSteps     = lateEvery / 2
)

// Lost counts what a decision left out because of its limits: ways to bid, or
// deals that nobody looked at any more, and notes of lines that did not bid.
type Lost struct{ Options, Drops int }

// work is the memory of one decision.
type work struct {
	index    campaigns.Scratch
	matched  []matched
	options  []option
	products []*creatives.Product
	text     []byte // URLs and markup of the offers
	macros   []byte // the exchange's click macros
	id       []byte // the bid's, as text
	fill     creatives.Markup
	blocked  []advertiserBlock
	verdicts map[verdictKey]verdict
	excluded map[sizedCreative]bool
	facts    campaigns.Facts
	refused  map[*creatives.Creative]struct{} // at the exchange; nil: none
	currency rtb.Currency                     // of the answer; set with the first line that matches
	quotes   int                              // options priced
	entries  int                              // of the request's lists that were read for creatives
	steps    int                              // of work so far
	look     int                              // the step at which the clock is looked at next
	late     bool                             // it was past the deadline
}

func (w *work) reset() {
	w.matched, w.options, w.products = w.matched[:0], w.options[:0], w.products[:0]
	w.text, w.blocked = w.text[:0], w.blocked[:0]
	if len(w.verdicts) > 0 {
		clear(w.verdicts)
	}
	if len(w.excluded) > 0 {
		clear(w.excluded)
	}
	w.quotes, w.entries, w.steps, w.look, w.late = 0, 0, 0, lateEvery, false
}

// pay counts steps of work and looks at the clock when enough have been done. It
// tells whether the decision is out of time.
func (out *Outcome) pay(in *Input, steps int) bool {
	w := &out.work
	if w.steps += steps; !w.late && w.steps >= w.look {
		w.look, w.late = w.steps+lateEvery, in.late()
	}
	return w.late
}

// size is how many bytes the slices of a decision hold on to.
func (out *Outcome) size() int {
	w := &out.work
	return held(w.options) + held(w.matched) + held(w.products) + held(w.blocked) + held(out.Drops) + held(out.Bids) +
		len(w.verdicts)*int(unsafe.Sizeof(verdictKey{})+unsafe.Sizeof(verdict{})) +
		len(w.excluded)*int(unsafe.Sizeof(sizedCreative{})+1)
}

func held[T any](s []T) int {
	var e T
	return cap(s) * int(unsafe.Sizeof(e))
}

// matched is a line that could bid on at least one impression.
type matched struct {
	line     *campaigns.Line
	match    campaigns.Match
	adjust   float64    // what the request makes of its price
	expected rtb.Micros // of its bid; 0 without one
}

// option is one line on one impression.
type option struct {
	match    int // index into matched
	imp      int
	creative *creatives.Creative
	products [2]int // range of work.products
	size     rtb.Size
	flex     rtb.FlexSize
	protocol int     // of a film or a sound
	floor    rtb.CPM // in the currency of the impression, or of the deal
	deal     int     // one more than the place among the impression's deals; 0: an open bid
	dealID   string  // the configuration's text of the deal's id; may be empty
	money    money
}

type advertiserBlock struct {
	advertiser *campaigns.Advertiser
	blocked    bool
}

// verdict is what the request's lists say of a creative, whatever the impression.
type verdict struct{ language, category bool } // it is refused for that

type verdictKey struct {
	creative   *creatives.Creative
	advertiser *campaigns.Advertiser
}

type sizedCreative struct {
	imp      *rtb.Impression
	creative *creatives.Creative
	size     rtb.Size
}

// verdict asks the lists of languages and categories, once per creative and
// request.
func (out *Outcome) verdict(in *Input, l *campaigns.Line, c *creatives.Creative) verdict {
	o, w := in.Opportunity, &out.work
	n := len(o.WLang) + len(o.WLangB) + len(o.BCat) + len(o.ACat)
	if n == 0 {
		return verdict{}
	}
	key := verdictKey{c, l.Advertiser}
	if v, ok := w.verdicts[key]; ok {
		return v
	}
	v := verdict{!languageFits(o, c.Language), categoryBlocked(o, catsOf(c, l.Advertiser))}
	if w.verdicts == nil {
		w.verdicts = map[verdictKey]verdict{}
	}
	w.verdicts[key] = v
	w.entries += n
	out.pay(in, n)
	return v
}

// excludes asks the list of creatives that the exchange excludes on an
// impression, once per impression, creative and size. One that could not be read
// excludes all.
func (out *Outcome) excludes(in *Input, imp *rtb.Impression, c *creatives.Creative, s rtb.Size) bool {
	list, w := imp.ExcludedCreativeIDs, &out.work
	if len(list) == 0 || imp.ExcludedBad {
		return imp.ExcludedBad
	}
	key := sizedCreative{imp, c, s}
	if excluded, ok := w.excluded[key]; ok {
		return excluded
	}
	if w.excluded == nil {
		w.excluded = map[sizedCreative]bool{}
	}
	w.excluded[key] = holds(list, c.CRIDOf(s))
	w.entries += len(list)
	out.pay(in, len(list))
	return w.excluded[key]
}

// entriesOf is how many entries an impression's own lists have.
func entriesOf(imp *rtb.Impression) int {
	b, v, a := &imp.Banner, &imp.Video, &imp.Audio
	return len(b.Mimes) + len(b.Sizes) + len(b.Flex) + len(b.BAttr) + len(v.Mimes) + len(v.BAttr) + len(a.Mimes) + len(a.BAttr)
}
