package pacing

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/rtb"
)

// A bid whose notice has not come within the usual delay of its exchange and format is
// overdue: it has most likely lost, which few exchanges report. Its money is doubted, as
// after a loss notice, until the promise made to the exchange ends. What stays covered is
//
//   - the share of the overdue bids that were billed or won after all (upper 99 % bound),
//     and the deviations from it that chance may bring;
//   - what the bids would cost if the notices of the exchange had stopped before they
//     became overdue, up to the number of impressions after which that is noticed.
//
// A bid that turns out to be won is covered in full again. Below provenLosses outcomes all of
// the money stays covered.
const (
	shorterLife    = 0.75 // the usual delay is lowered when the measured one is below this share of it
	chanceMargin   = 1.5  // factor on the bids' own expectation, which may be too low
	deviations     = 3.0  // standard deviations of the number of billed bids that stay covered
	quietAfter     = 12.0 // missing notices after which an exchange is quiet
	quietShare     = 0.5  // of the expected notices; with more of them an exchange is not quiet
	quietCover     = 20.0 // impressions that may be bought before that is noticed
	excessBills    = 12.0 // bills of overdue bids beyond twice their share, after which it is learned again
	usualNotices   = 2000 // notices beyond which older ones count half
	noticesAtFirst = 50.0 // expected notices that count as having come, before any is known
)

// overdueBids is what is known of the overdue bids of one source. It is stored with the
// controllers: losing it means that bids are held in full again.
type overdueBids struct {
	lossClaims            // Matured and Billed
	Life       rtb.Second `json:"life"` // age at which bids are overdue; 0: never
	// Foretold are the notices that bids foretold within Life, and Heard those that came.
	Foretold float64 `json:"foretold"`
	Heard    float64 `json:"heard"`
	// Quiet is set while fewer notices come than usual: no bid becomes overdue.
	Quiet bool `json:"quiet,omitempty"`

	foretold, heard float64 // the same of the current window
	excess          float64 // bills of overdue bids beyond twice their share
}

// keep returns the part of overdue money that stays covered.
func (o *overdueBids) keep(d *doubt) rtb.Micros {
	if o.share >= 1 || d.expected <= 0 || d.squares <= 0 {
		return d.sum
	}
	one := d.squares / d.expected // cost of an impression
	usual := float64(d.sum) * o.share
	worst := chanceMargin * d.expected
	worst = min(worst+deviations*math.Sqrt(worst*one)+one, quietCover*one)
	return min(d.sum, rtb.Micros(math.Ceil(usual+deviations*math.Sqrt(usual*one)+worst)))
}

// adopt adopts a measured delay: a longer one at once, a shorter one when it differs
// enough to measure the share of the overdue bids again.
func (o *overdueBids) adopt(measured rtb.Second) {
	switch {
	case measured > o.Life && o.Life > 0:
		o.Life = measured
	case measured > 0 && float64(measured) < shorterLife*float64(o.Life) || o.Life == 0 && measured > 0:
		o.Life = measured
		o.forget()
	}
}

// forget has the share learned again: until then overdue money counts in full.
func (o *overdueBids) forget() {
	o.Matured, o.Billed, o.excess, o.moved = 0, 0, 0, true
}

// coveredShare returns the share of overdue money that stays covered.
func (o *overdueBids) coveredShare() float64 {
	if o.Quiet {
		return 1
	}
	return o.doubtedShare()
}

// count counts a bid whose notice came or is overdue, and reports whether the source became
// quiet or stopped being quiet.
func (o *overdueBids) count(chance float64, came bool) (changed bool) {
	o.foretold += chance
	if came {
		o.heard++
	}
	expected := o.foretold * (o.Heard + noticesAtFirst) / (o.Foretold + noticesAtFirst)
	switch {
	case o.Quiet:
		if expected < quietAfter {
			return false
		}
		o.Quiet = o.heard < quietShare*expected
		o.foretold, o.heard = 0, 0
		return !o.Quiet
	case expected-o.heard > quietAfter && o.heard < quietShare*expected:
		o.Quiet, o.foretold, o.heard = true, 0, 0
		return true
	case expected >= 2*quietAfter:
		o.foretold, o.heard = o.foretold/2, o.heard/2
		if o.Heard >= usualNotices {
			o.Foretold, o.Heard = o.Foretold/2, o.Heard/2
		}
		o.Foretold, o.Heard = o.Foretold+o.foretold, o.Heard+o.heard
		o.heard = min(o.heard, expected/2)
	}
	return false
}

// ended counts the outcome of an overdue bid, and reports whether more of them are billed
// than the share that stays covered allows for.
func (o *overdueBids) ended(billed bool) (tooMany bool) {
	o.matured(billed)
	if o.excess = max(o.excess-2*o.share, 0); billed {
		o.excess++
	}
	return o.excess > excessBills && o.share < 1
}

// sourceOf returns the source of the notices of a bid.
func sourceOf(r *reservation) sourceKey { return sourceKey{r.exchange, r.format.String()} }

// adoptDelays applies the measured delays, and publishes the shortest. p.mu is held.
func (p *Pacer) adoptDelays() {
	for _, key := range p.changed.delays {
		measured := p.delays[key].usual()
		o := p.overdue[key]
		if o == nil {
			o = &overdueBids{lossClaims: lossClaims{share: 1}}
			p.overdue[key] = o
		}
		o.adopt(measured)
	}
	p.publishLives()
}

func (p *Pacer) publishLives() {
	shortest := rtb.Second(0)
	for _, o := range p.overdue {
		if o.Life > 0 && (shortest == 0 || o.Life < shortest) {
			shortest = o.Life
		}
	}
	p.shortest.Store(shortest)
}

// lookEarly looks at a bid before its promise ends. At the age at which its notice is
// overdue it counts for its source, and if nothing was heard of it, its money is doubted.
// p.mu and the reservation's shard are held.
func (p *Pacer) lookEarly(r *reservation) {
	now := rtb.SecondOf(p.now)
	r.due = r.winExpiry
	if r.state == resSettled {
		r.due = max(r.winExpiry, after(now, settledMemory))
	}
	if r.day == nil || r.expected <= 0 || r.exchange == "" {
		return
	}
	key := sourceOf(r)
	o := p.overdue[key]
	if o == nil || o.Life == 0 {
		return
	}
	if at := r.issued + o.Life; at >= now {
		r.due = min(at, r.due)
		return
	}
	p.heard(key, o, r, r.state == resWon || r.state == resSettled)
	if o.Quiet || r.state != resBid {
		return
	}
	o.doubted += r.cost
	for _, a := range r.accounts() {
		a.addDoubt(o, r, 1)
	}
	r.give()
	r.state = resOverdue
}

// heard counts a bid whose notice came or is overdue. p.mu is held.
func (p *Pacer) heard(key sourceKey, o *overdueBids, r *reservation, came bool) {
	if !o.count(r.foretold(), came) {
		return
	}
	o.moved = true
	if o.Quiet {
		p.o.Logger.Warn("fewer notices of an exchange come in their usual time: bids are held until their promise ends", zap.String("exchange", key.exchange), zap.String("format", key.format))
	} else {
		p.o.Logger.Info("the notices of an exchange come in their usual time again", zap.String("exchange", key.exchange), zap.String("format", key.format))
	}
}

// endOverdue ends the doubt about an overdue bid: it was won or billed after all, or it
// was reported lost, or its promise has ended. p.mu and the reservation's shard are held.
func (p *Pacer) endOverdue(r *reservation, billed bool) {
	key := sourceOf(r)
	o := p.overdue[key]
	o.doubted -= r.cost
	if o.ended(billed) {
		p.o.Logger.Error("more overdue bids of an exchange are billed than usual: bids are held until their promise ends", zap.String("exchange", key.exchange), zap.String("format", key.format),
			zap.Float64("overdue", o.Matured), zap.Float64("billed", o.Billed),
			zap.String("remedy", "ask the exchange why its notices take longer; their new delay is learned"))
		o.forget()
		o.Quiet, o.foretold, o.heard = true, 0, 0
	}
	for _, a := range r.accounts() {
		a.addDoubt(o, r, -1)
	}
}

// takeBack covers an overdue bid in full again, because it has won. p.mu and the
// reservation's shard are held.
func (p *Pacer) takeBack(r *reservation) {
	p.endOverdue(r, true)
	p.recover(r)
}

// recover reserves the cost of a bid that was overdue again.
func (p *Pacer) recover(r *reservation) {
	for _, a := range r.accounts() {
		a.give(-r.costOf(a))
	}
	r.line.reserved.Add(r.cost)
	r.state = resBid
}

// distrustNotices has what is known of the overdue bids of an exchange learned again. p.mu is
// held.
func (p *Pacer) distrustNotices(exchange string) {
	for key, o := range p.overdue {
		if key.exchange == exchange {
			o.forget()
		}
	}
}

// judgeOverdue applies the current shares to the overdue money of every account. p.mu is held.
func (p *Pacer) judgeOverdue() {
	for _, o := range p.overdue {
		if !o.moved {
			continue
		}
		o.moved = false
		share := o.coveredShare()
		if share == o.share {
			continue
		}
		o.share = share
		p.coverAgain(o)
	}
}

// Overdue contains what is known of the bids on one format of an exchange whose notices
// are overdue.
type Overdue struct {
	Exchange string
	Format   string
	Life     time.Duration // from a bid until it is overdue; 0 if that is not known yet
	Amount   rtb.Micros    // micros of the advertisers' currencies, added without conversion
	Matured  float64       // overdue bids whose outcome is known; older ones count less
	Billed   float64       // those of them that were won or billed after all
	Share    float64       // share of them for which money stays reserved, 0 to 1
	Quiet    bool          // fewer notices come than usual, so bids are held in full
}

// overdueBySource lists what is known of every source. p.mu is held.
func (p *Pacer) overdueBySource() []Overdue {
	var list []Overdue
	for key, o := range p.overdue {
		list = append(list, Overdue{
			Exchange: key.exchange, Format: key.format, Life: time.Duration(o.Life) * time.Second, Amount: o.doubted,
			Matured: o.Matured, Billed: o.Billed, Share: o.share, Quiet: o.Quiet,
		})
	}
	slices.SortFunc(list, func(a, b Overdue) int {
		return cmp.Or(strings.Compare(a.Exchange, b.Exchange), strings.Compare(a.Format, b.Format))
	})
	return list
}

// loadOverdue takes what is known of overdue bids from the stored state.
func (p *Pacer) loadOverdue(stored map[string]*overdueBids) {
	for name, o := range stored {
		key, ok := parseSource(name)
		if o == nil || !ok || !(o.Matured >= 0 && o.Billed >= 0 && o.Foretold >= 0 && o.Heard >= 0) {
			continue
		}
		o.share = o.coveredShare()
		p.overdue[key] = o
	}
	p.publishLives()
}

// storedOverdue is what loadOverdue reads.
func (p *Pacer) storedOverdue() map[string]*overdueBids {
	stored := map[string]*overdueBids{}
	for key, o := range p.overdue {
		stored[key.String()] = o
	}
	return stored
}
