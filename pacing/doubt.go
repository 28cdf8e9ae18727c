package pacing

import (
	"maps"
	"math"
	"slices"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// A loss notice is a claim, not a proof. It moves the cost of its bid from reserved
// to doubted until the reservation would have expired. How much of the doubted
// money stays covered depends on how many of the exchange's earlier losses were
// billed.
const (
	provenLosses = 500   // matured losses; with fewer of them doubted money counts in full
	recentLosses = 50000 // above this count, older losses count half
	upperBound   = 2.326 // standard deviations: one-sided 99 %
)

// lossClaims counts the outcomes of one exchange's losses. It is stored with the
// controllers: losing it means that doubted money counts in full again.
type lossClaims struct {
	Matured float64 `json:"matured"` // losses whose reservation has ended, or which were billed
	Billed  float64 `json:"billed"`  // those of them that were billed after all
	// Bills decides whether the exchange is stopped; the zero value in what earlier versions stored.
	Bills lossBills `json:"bills,omitzero"`

	doubted rtb.Micros // cost of this run's doubted bids, each counted once
	share   float64    // share of doubted money that stays covered, as applied to the accounts
	moved   bool       // the share must be recomputed
}

// doubtedShare is the upper 99 % bound (Wilson) of the share of losses that are billed
// after all.
func (c *lossClaims) doubtedShare() float64 {
	n := c.Matured
	if n < provenLosses {
		return 1
	}
	k := min(c.Billed, n) / n
	const z2 = upperBound * upperBound
	bound := (k + z2/(2*n) + upperBound*math.Sqrt(k*(1-k)/n+z2/(4*n*n))) / (1 + z2/n)
	return min(bound, 1)
}

func (c *lossClaims) matured(billed bool) {
	if c.Matured >= recentLosses {
		c.Matured, c.Billed = c.Matured/2, c.Billed/2
	}
	c.Matured++
	if billed {
		c.Billed++
	}
	c.moved = true
}

// doubt is an account's doubted money for one reason, and the part of it that stays covered.
type doubt struct {
	sum, kept rtb.Micros
	expected  float64 // what the bids were expected to cost when they were made
	squares   float64 // the same, times the cost of each bid
}

// keeper determines the part of doubted money that stays covered: *lossClaims does for bids
// reported lost, *overdueBids for overdue bids. It is the key of account.doubts.
type keeper interface{ keep(*doubt) rtb.Micros }

// keep returns the part of the money of losses that stays covered.
func (c *lossClaims) keep(d *doubt) rtb.Micros {
	return min(rtb.Micros(math.Ceil(float64(d.sum)*c.share)), d.sum)
}

// addDoubt adds a reservation to the doubted money, or removes it if sign is -1. p.mu is
// held.
func (a *account) addDoubt(k keeper, r *reservation, sign rtb.Micros) {
	if a.doubts == nil {
		a.doubts = map[keeper]doubt{}
	}
	d := a.doubts[k]
	cost := r.costOf(a)
	expected := math.Ceil(float64(cost) * float64(r.chance()) / float64(rtb.ImpressionUnit)) // whole numbers, so that sums stay exact
	d.sum += sign * cost
	d.expected += float64(sign) * expected
	d.squares += float64(sign) * expected * float64(cost)
	a.doubted.Add(sign * cost)
	a.coverDoubt(k, d)
}

// coverDoubt applies what stays covered of doubted money.
func (a *account) coverDoubt(k keeper, d doubt) {
	kept := k.keep(&d)
	a.available.Add(d.kept - kept)
	a.kept.Add(kept - d.kept)
	if d.kept = kept; d.sum == 0 {
		delete(a.doubts, k)
		return
	}
	a.doubts[k] = d
}

// claims returns the counts of an exchange's losses, creating them if necessary. p.mu is held.
func (p *Pacer) claims(exchange string) *lossClaims {
	c := p.losses[exchange]
	if c == nil {
		c = &lossClaims{share: 1}
		p.losses[exchange] = c
	}
	return c
}

// doubt moves a reservation's money from reserved to doubted. p.mu and the
// reservation's shard are held.
func (p *Pacer) doubt(r *reservation) {
	c := p.claims(r.exchange)
	c.doubted += r.cost
	for _, a := range r.accounts() {
		a.addDoubt(c, r, 1) // first, so that no bid takes the money that is kept
	}
	r.give()
	r.won = r.state == resWon
	r.state, r.claimed = resDoubted, true
}

// resolve ends the doubt about a reservation: it was billed, or can no longer
// be billed in time. p.mu and the reservation's shard are held.
func (p *Pacer) resolve(r *reservation, billed bool) {
	c := p.claims(r.exchange)
	c.doubted -= r.cost
	c.matured(billed)
	for _, a := range r.accounts() {
		a.addDoubt(c, r, -1)
	}
}

// billedLoss reports a bill of a bid that was reported lost.
func (p *Pacer) billedLoss(n *events.Notice) {
	p.counts.billedLosses.Add(1)
	c := p.claims(n.Exchange)
	p.o.Logger.Error("a bid was billed after its loss notice; from now on loss notices of this exchange release less money", zap.String("exchange", n.Exchange),
		zap.Stringer("bid", n.BidID), zap.Stringer("charge", n.Charge), zap.Float64("losses", c.Matured), zap.Float64("billed", c.Billed),
		zap.String("remedy", "ask the exchange why it sends lurl for impressions that it bills; until it stops, their money stays reserved"))
}

// judgeLosses applies each exchange's current share to the doubted money of every
// account. p.mu is held.
func (p *Pacer) judgeLosses() {
	for _, c := range p.losses {
		if !c.moved {
			continue
		}
		c.moved = false
		share := c.doubtedShare()
		if share == c.share {
			continue
		}
		c.share = share
		p.coverAgain(c)
	}
}

// coverAgain applies what stays covered of doubted money to every account. p.mu is held.
func (p *Pacer) coverAgain(k keeper) {
	for _, a := range p.sortedAccounts() {
		if d, ok := a.doubts[k]; ok {
			a.coverDoubt(k, d)
		}
	}
}

// Doubted is the money of bids that an exchange reported lost and could still bill.
type Doubted struct {
	Exchange string
	Amount   rtb.Micros // micros of the advertisers' currencies, added without conversion
	Matured  float64    // losses whose outcome is known; older ones count less
	Billed   float64    // those of them that were billed after all
	Share    float64    // share of doubted money that stays reserved, 0 to 1
}

// doubtsByExchange lists the exchanges' figures. p.mu is held.
func (p *Pacer) doubtsByExchange() []Doubted {
	var list []Doubted
	for _, id := range slices.Sorted(maps.Keys(p.losses)) {
		c := p.losses[id]
		list = append(list, Doubted{Exchange: id, Matured: c.Matured, Billed: c.Billed, Share: c.share, Amount: c.doubted})
	}
	return list
}
