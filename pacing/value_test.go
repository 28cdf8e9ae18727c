package pacing

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// clickTruth is a synthetic world of impressions whose click rates are known. Its rates
// depend on more than the model is given: a property of the visitor that no feature
// shows, an interaction of line and device, and drift of the whole and of one line.
type clickTruth struct {
	r       *rand.Rand
	now     time.Time
	lines   []float64
	devices []float64
	domains []float64
	cross   [][]float64
	days    float64
}

func newClickTruth(seed uint64, lines, domains int, days float64) *clickTruth {
	c := &clickTruth{r: rand.New(rand.NewPCG(seed, 1)), now: noon, days: days}
	draw := func(n int, sd float64) []float64 {
		s := make([]float64, n)
		for i := range s {
			s[i] = sd * c.r.NormFloat64()
		}
		return s
	}
	c.lines, c.devices, c.domains = draw(lines, 0.5), draw(4, 0.4), draw(domains, 0.5)
	for range lines {
		c.cross = append(c.cross, draw(4, 0.2))
	}
	return c
}

// shown is one impression of the world, with its true click rate.
type shown struct {
	line, device, domain, recency, hour int
	p                                   float64
	clicked                             bool
	at                                  time.Time
}

func (c *clickTruth) next(step time.Duration) shown {
	c.now = c.now.Add(step)
	i := shown{line: c.r.IntN(len(c.lines)), device: c.r.IntN(4), recency: c.r.IntN(6), hour: c.now.Hour(), at: c.now}
	i.domain = min(int(math.Exp(c.r.Float64()*math.Log(float64(len(c.domains)))))-1, len(c.domains)-1) // Zipf
	day := c.now.Sub(noon).Hours() / 24
	score := math.Log(0.03) + c.lines[i.line] + c.devices[i.device] + c.domains[i.domain] + c.cross[i.line][i.device] -
		0.3*float64(i.recency) + 0.2*math.Sin(2*math.Pi*float64(i.hour)/24)
	score += 0.3 * c.r.NormFloat64()              // the visitor
	score += 0.3 * math.Sin(2*math.Pi*day/c.days) // the market
	if i.line == 0 && day > c.days/2 {
		score -= 0.5 // its creative wears out
	}
	i.p = sigmoid(score)
	i.clicked = c.r.Float64() < i.p
	return i
}

func (i *shown) showing() rtb.Showing {
	line := uint64(i.line)
	return rtb.Showing{
		Exchange: "demo", Creative: fmt.Sprint("c", i.line%3), Format: "banner",
		Line: rtb.LineID{Advertiser: "shop", Campaign: fmt.Sprint("k", i.line%2), Line: fmt.Sprint("l", i.line)},
		Features: rtb.Features{N: 6, Hash: [8]uint32{
			rtb.HashFeature(40, uint64(i.recency), 0), rtb.HashFeature(41, line, uint64(i.recency)), rtb.HashFeature(42, uint64(i.hour), 0),
			rtb.HashFeature(43, uint64(i.device), 0), rtb.HashFeature(44, 300, 250), rtb.HashFeature(45, uint64(i.domain), 0),
		}},
	}
}

// factOf returns the fact of a notice about a showing.
func factOf(kind events.Kind, s *rtb.Showing) *events.Fact {
	return &events.Fact{Kind: kind, Advertiser: s.Line.Advertiser, Notice: &events.Notice{
		Exchange: s.Exchange, Campaign: s.Line.Campaign, Line: s.Line.Line, Creative: s.Creative, Format: s.Format,
		Features: s.Features.Hash[:s.Features.N],
	}}
}

// tally adds up predictions and outcomes.
type tally struct{ predicted, clicks, truth, loss, entropy float64 }

func (t *tally) add(p float64, i *shown) {
	t.predicted += p
	t.truth += i.p
	y := 0.0
	if i.clicked {
		y = 1
	}
	t.clicks += y
	t.loss -= y*math.Log(p) + (1-y)*math.Log(1-p)
	t.entropy -= y*math.Log(i.p) + (1-y)*math.Log(1-i.p)
}

// emptyPacer returns a Pacer that only estimates.
func emptyPacer() *Pacer { return &Pacer{values: newValues(nil)} }

// runClicks trains on n impressions and returns the tallies of the last three quarters by segment.
func runClicks(c *clickTruth, n int) (*Pacer, map[string]*tally) {
	p := emptyPacer()
	tallies := map[string]*tally{}
	type click struct {
		f  *events.Fact
		at time.Time
	}
	var waiting []click
	goal := rtb.Goal{Kind: rtb.GoalCPC, Target: unit}
	step := time.Duration(c.days * 24 * float64(time.Hour) / float64(n))
	var e rtb.Estimate
	for k := range n {
		i := c.next(step)
		s := i.showing()
		p.Estimate(&e, &goal, &s)
		if k > n/4 {
			for _, name := range []string{"all", fmt.Sprint("line ", i.line), fmt.Sprint("device ", i.device), fmt.Sprint("domain ", i.domain), fmt.Sprint("recency ", i.recency), fmt.Sprint("day ", int(c.now.Sub(noon).Hours()/24))} {
				if tallies[name] == nil {
					tallies[name] = &tally{}
				}
				tallies[name].add(e.Click, &i)
			}
		}
		p.now = c.now
		p.values.billed(factOf(events.KindBill, &s), rtb.SecondOf(c.now))
		if i.clicked {
			waiting = append(waiting, click{factOf(events.KindClick, &s), c.now.Add(time.Minute)})
		}
		for len(waiting) > 0 && !waiting[0].at.After(c.now) {
			p.values.clicked(waiting[0].f, rtb.SecondOf(c.now))
			waiting = waiting[1:]
		}
		if k%20 == 0 {
			p.publishValues(rtb.SecondOf(p.now))
		}
	}
	return p, tallies
}

// Click estimates are calibrated overall and per segment, although the truth has
// features and drift that the model is not given. A segment's predictions are compared
// with its true rates, because 200 clicks alone vary by 7 %.
func TestClickCalibration(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, and one goroutine")
	}
	for seed := uint64(1); seed <= 2; seed++ {
		_, tallies := runClicks(newClickTruth(seed, 8, 60, 10), 200_000)
		all, worst := tallies["all"], 0.0
		for name, x := range tallies {
			if x.clicks < 200 {
				continue
			}
			r := x.predicted / x.truth
			worst = max(worst, math.Abs(r-1))
			if r < 0.9 || r > 1.1 {
				t.Errorf("seed %d: %s: %.0f clicks, calibration ratio %.3f; want 0.9 to 1.1", seed, name, x.clicks, r)
			}
		}
		t.Logf("seed %d: %.0f clicks, ratio %.3f to the truth, %.3f to the clicks, worst segment off by %.3f, log-loss %.4f of entropy",
			seed, all.clicks, all.predicted/all.truth, all.predicted/all.clicks, worst, all.loss/all.entropy)
		for _, r := range []float64{all.predicted / all.truth, all.predicted / all.clicks} {
			if r < 0.95 || r > 1.05 {
				t.Errorf("seed %d: calibration ratio %.3f; want 0.95 to 1.05", seed, r)
			}
		}
		if all.loss > 1.03*all.entropy {
			t.Errorf("seed %d: log-loss %.4f of the truth's entropy; want at most 1.03", seed, all.loss/all.entropy)
		}
	}
}

// valueClaims returns the claims of a bid with features.
func (w *world) valueClaims(visitor uint64, hashes ...uint32) *rtb.Claims {
	c := w.bid(1_000_000)
	c.Format, c.Creative = rtb.FormatBanner, "card"
	binary.BigEndian.PutUint64(c.Visitor[:], visitor)
	c.Features.N = uint8(copy(c.Features.Hash[:], hashes))
	return c
}

// tell appends a notice of a bid as tracking does.
func (w *world) tell(kind rtb.NoticeKind, c *rtb.Claims) {
	f := events.NoticeFact(kind, c, w.now)
	f.ID += fmt.Sprint(len(w.facts)) // a repeat that the log did not notice
	if f.Bills = kind == rtb.NoticeBill; f.Bills {
		f.Charge = c.Reserved
	}
	w.must(f)
}

// estimate returns the estimate of a click for the features of a bid.
func (w *world) estimate(p *Pacer, c *rtb.Claims, prior rtb.CPM) (e rtb.Estimate) {
	w.pass(2 * time.Second)
	p.Estimate(&e, &rtb.Goal{Kind: rtb.GoalCPC, Target: unit, Prior: prior}, &rtb.Showing{
		Exchange: c.Exchange, Creative: c.Creative, Format: c.Format.String(), Features: c.Features, Draw: 0.5,
		Line: rtb.LineID{Advertiser: c.Advertiser, Campaign: c.Campaign, Line: c.Line}})
	return e
}

// A click teaches once, whatever its order, repetition or kind, and only where the bid
// was billed.
func TestClicksTeachOnce(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "")
	learned := func() calibration { return p.values.all[clickModel] }
	c := w.valueClaims(1, 7)
	w.tell(rtb.NoticeClick, c)
	w.tell(rtb.NoticeClick, c)
	if got := learned(); got.Observed != 0 || got.Predicted != 0 {
		t.Fatalf("a click without a bill: got %+v; want nothing learned", got)
	}
	w.tell(rtb.NoticeBill, c)
	if got := learned(); got.Observed != 1 || got.Predicted == 0 {
		t.Fatalf("its bill: got %+v; want one click of one impression", got)
	}
	before := *p.values.weights
	w.tell(rtb.NoticeBill, c)
	w.tell(rtb.NoticeClick, c)
	w.tell(rtb.NoticeImp, c)
	if got := learned(); got.Observed > 1 {
		t.Errorf("repeated notices: got %+v; want no more clicks", got)
	}
	for i, page := range p.values.weights.pages {
		if page != nil && *page != *before.pages[i] {
			t.Error("repeated notices changed a weight")
		}
	}
	late := w.valueClaims(1, 8)
	w.tell(rtb.NoticeBill, late)
	f := events.NoticeFact(rtb.NoticeClick, late, w.now)
	f.Flags = []string{flagExpired}
	w.must(f)
	if got := learned(); got.Observed > 1 {
		t.Errorf("an expired click: got %+v; want no more clicks", got)
	}
}

// The estimates after a restart, and those that another node folds from the whole log, are
// those of the run that learned them.
func TestEstimatesAreAFold(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	p := w.start("r1", dir)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		c := w.valueClaims(r.Uint64N(50), r.Uint32N(20), 100+r.Uint32N(5))
		c.Line = fmt.Sprint("l", r.IntN(3))
		w.tell(rtb.NoticeBill, c)
		if r.IntN(4) == 0 {
			w.tell(rtb.NoticeClick, c)
		}
		w.now = w.now.Add(time.Duration(r.IntN(600)) * time.Second)
	}
	c := w.valueClaims(1, 3, 102)
	want := w.estimate(p, c, 0)
	other := w.start("r2", "")
	if got := w.estimate(other, c, 0); got != want {
		t.Errorf("folded from the whole log: got %+v; want %+v", got, want)
	}
	w.kill(p)
	again := w.start("r3", dir)
	if got := w.estimate(again, c, 0); got != want {
		t.Errorf("after a restart: got %+v; want %+v", got, want)
	}
	a, b := again.values, other.values
	if a.all != b.all || len(a.lines) != len(b.lines) {
		t.Errorf("calibrations: got %+v, %d lines; want %+v, %d lines", a.all, len(a.lines), b.all, len(b.lines))
	}
	for i, page := range a.weights.pages {
		if page != nil && *page != *b.weights.pages[i] {
			t.Errorf("page %d of the weights differs", i)
		}
	}
	if err := again.Reset(); err != nil {
		t.Fatal(err)
	}
	if got := w.estimate(again, c, 0); got == want {
		t.Error("a view that was emptied still has its estimates")
	}
}

// A line without data bids about its cpm, and says that it rests on it. Without a cpm it
// bids at the usual click rate of display ads.
func TestFirstDay(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "")
	c := w.valueClaims(1, 7)
	e := w.estimate(p, c, 4_000_000) // 4.00 CPM at 1.00 per click: a click rate of 0.4 %
	if e.Click < 0.003 || e.Click > 0.005 || e.Data > 0.1 {
		t.Errorf("with a cpm: got %+v; want a click rate of about 0.4 %%, hardly any of it from data", e)
	}
	if e.Deviation < 0.3 || e.Deviation > 0.7 {
		t.Errorf("with a cpm: got a deviation of %.2f; want 0.3 to 0.7", e.Deviation)
	}
	if e = w.estimate(p, c, 0); math.Abs(e.Click-startRates[clickModel]) > 1e-9 || e.Data != 1 || e.Deviation < 1 {
		t.Errorf("without a cpm: got %+v; want a click rate of %g and a deviation above 1", e, startRates[clickModel])
	}
	// What other lines taught helps a new one, and outweighs a wrong cpm in time.
	for n := range 2000 {
		x := w.valueClaims(uint64(n), 7)
		x.Line = "viewed"
		w.tell(rtb.NoticeBill, x)
		if n%50 == 0 {
			w.tell(rtb.NoticeClick, x)
		}
	}
	helped := w.estimate(p, c, 4_000_000)
	if helped.Click < 0.006 || helped.Click > 0.02 || helped.Data < 0.3 {
		t.Errorf("after another line's clicks: got %+v; want between its cpm and 2 %%", helped)
	}
	for n := range 4000 {
		x := w.valueClaims(uint64(n), 7)
		w.tell(rtb.NoticeBill, x)
		if n%50 == 0 {
			w.tell(rtb.NoticeClick, x)
		}
	}
	own := w.estimate(p, c, 4_000_000)
	if own.Click < 0.015 || own.Click > 0.025 || own.Deviation > 0.3 || own.Data < 0.7 {
		t.Errorf("after its own clicks: got %+v; want about 2 %%, mostly from data", own)
	}
}

// The draw spreads with the deviation, stays below the mean on average, and is the same for the
// same request and line.
func TestDraw(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range []float64{0, 0.1, 0.5} {
		sum, squares, n := 0.0, 0.0, 20000.0
		for range int(n) {
			show := rtb.Showing{Line: cartLine, Draw: r.Float64()}
			x := drawFactor(s, &show)
			if x != drawFactor(s, &show) {
				t.Fatal("the same request has two draws")
			}
			sum += x
			squares += x * x
		}
		mean := sum / n
		sd := math.Sqrt(max(squares/n-mean*mean, 0))
		if want := math.Exp(-s * s / 2); math.Abs(mean-want) > 0.03 || math.Abs(sd-s*want) > 0.1*s+1e-6 {
			t.Errorf("deviation %g: got mean %.3f, deviation %.3f; want %.3f and about %.3f", s, mean, sd, want, s*want)
		}
	}
}

func TestEstimateDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	p := emptyPacer()
	s := rtb.Showing{Exchange: "demo", Line: cartLine, Creative: "card", Format: "banner", Features: rtb.Features{N: 8}}
	for _, kind := range []rtb.GoalKind{rtb.GoalCPC, rtb.GoalCPA, rtb.GoalROAS} {
		g, e := rtb.Goal{Kind: kind, Target: unit, Prior: 1_000_000}, rtb.Estimate{}
		if n := testing.AllocsPerRun(1000, func() { p.Estimate(&e, &g, &s) }); n != 0 {
			t.Errorf("goal %d: got %g allocations; want 0", kind, n)
		}
	}
}

func BenchmarkEstimate(b *testing.B) {
	c := newClickTruth(1, 8, 60, 10)
	p, _ := runClicks(c, 20_000)
	var shows [1024]rtb.Showing
	for i := range shows {
		x := c.next(time.Second)
		shows[i] = x.showing()
	}
	for name, kind := range map[string]rtb.GoalKind{"cpc": rtb.GoalCPC, "cpa": rtb.GoalCPA} {
		b.Run(name, func(b *testing.B) {
			g, e := rtb.Goal{Kind: kind, Target: unit, Prior: 1_000_000}, rtb.Estimate{}
			n := 0
			for b.Loop() {
				p.Estimate(&e, &g, &shows[n%len(shows)])
				n++
			}
		})
	}
}
