package pacing

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"rebound/rtb"
)

// From wins and losses alone, the win rates find the floor that many auctions share, and
// the best bid is just above it.
func TestWinRatesFindFloors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	price := func() float64 {
		if r.Float64() < 0.3 {
			return 5000
		}
		return math.Exp(math.Log(4000) + 0.8*r.NormFloat64())
	}
	prior := func(ln float64) float64 { return normCDF((ln - math.Log(4000)) / 0.8) }
	c := &rateCounts{}
	if w := c.solve(prior); math.Abs(w.at(4000)-0.5) > 0.02 {
		t.Errorf("without outcomes: rate %.3f at the median; want that of the prior", w.at(4000))
	}
	for range 60_000 {
		bid := math.Exp(math.Log(5000) + 0.7*r.NormFloat64())
		c.bid(bid, bid > price())
	}
	one := c.solve(prior)
	w := mix([2]*winRates{one, one}, [2]float64{})
	if below, above := w.at(4800), w.at(5200); above-below < 0.2 {
		t.Errorf("rates %.3f below the floor and %.3f above it; want a step of 0.3", below, above)
	}
	if b := w.bestBid(9000); b <= 5000 || b > 5000*1.08 {
		t.Errorf("best bid for a worth of 9000: %.0f; want just above 5000", b)
	}
	for i := 1; i < rateBins; i++ {
		if w.rate[i] < w.rate[i-1] || w.best[i] < w.best[i-1] {
			t.Fatalf("bin %d: rate or best bid falls", i)
		}
	}
	for _, worth := range []float64{0.001, 1, 100, 1e9} {
		if b := w.bestBid(worth); b > worth || b < 0 {
			t.Errorf("worth %v: bid %v", worth, b)
		}
	}
}

// Known prices teach as much as many wins and losses, and outcomes fade.
func TestWinRatesFollowTheMarket(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	prior := func(float64) float64 { return 0.5 }
	c := &rateCounts{}
	for range 20_000 {
		c.price(2000 * math.Exp(0.3*r.NormFloat64()))
	}
	if got := c.solve(prior).at(2000); math.Abs(got-0.5) > 0.03 {
		t.Errorf("rate %.3f at the median; want 0.5", got)
	}
	c.fade(4*3600, 3600)
	for range 20_000 {
		c.price(4000 * math.Exp(0.3*r.NormFloat64()))
	}
	if got := c.solve(prior).at(2000); got > 0.1 {
		t.Errorf("rate %.3f at 2000 after prices doubled; want almost 0", got)
	}
}

// Of two memories, the one that predicted the latest outcomes better has the weight.
func TestMemoriesAreWeighed(t *testing.T) {
	var low, high winRates
	for i := range rateBins {
		low.rate[i], high.rate[i] = 0.2, 0.8
	}
	if got := mix([2]*winRates{&low, &high}, [2]float64{30, 40}).rate[0]; math.Abs(float64(got)-0.2) > 0.01 {
		t.Errorf("rate %.3f; want that of the less surprised memory, 0.2", got)
	}
	if low.surprise(1000, true) <= high.surprise(1000, true) || low.surprise(1000, false) >= high.surprise(1000, false) {
		t.Error("a win surprises the higher rate more, or a loss the lower one")
	}
}

// A place that was stored with one memory keeps what it learned.
func TestPlaceStoredWithOneMemory(t *testing.T) {
	var c rateCounts
	for range 300 {
		c.bid(5000, true)
	}
	land := &landscape{}
	land.begin(8)
	text, err := json.Marshal(map[string]any{"exchange": "demo", "currency": usd, "slot": rtb.SlotOther, "landscape": land, "rates": &c})
	if err != nil {
		t.Fatal(err)
	}
	var s storedPlace
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	pl := s.place()
	if pl.key.exchange != "demo" || pl.counts == nil || pl.counts[0].Seen != 300 || pl.counts[1].Wins != c.Wins {
		t.Errorf("got %+v, %v; want the counts in both memories", pl.key, pl.counts != nil)
	}
}

// A day's history becomes the forecast of the next one, and survives encoding.
func TestHistoryBecomesTheForecast(t *testing.T) {
	var h history
	const monday = 20_000
	h.turn(monday)
	for i := range bins {
		n := 0.0
		if i >= 32 && i < 92 { // 8 to 23 h
			n = 100
		}
		h.add((float64(i)+0.5)/bins, n)
	}
	h.turn(monday + 1)
	f := &h.forecast
	if total := f.between(0, 1); math.Abs(total-6000) > 1 || f.between(0, 8.0/24) != 0 || f.between(23.0/24, 1) != 0 {
		t.Errorf("forecast %v in all, %v before 8 h; want 6000 within the daypart", total, f.between(0, 8.0/24))
	}
	for i := range bins {
		h.add((float64(i)+0.5)/bins, 50)
	}
	h.turn(monday + 7)
	if got := h.forecast.between(0, 1); math.Abs(got-6000) > 1 {
		t.Errorf("forecast %v a week later; want that of the same weekday, 6000", got)
	}
	var again history
	if !again.decode(h.encode()) || again.dates != h.dates || again.days != h.days {
		t.Error("the history changes when it is stored")
	}
	if again.decode([]byte("short")) {
		t.Error("a damaged history is accepted")
	}
}
