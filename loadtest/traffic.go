package loadtest

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"rebound/rtb"
)

// Traffic describes the generated bid requests.
type Traffic struct {
	// Visitors is the number of visitors known to the shop; their ids are
	// "lt-<seed>-<n>". Zero means 2,000.
	Visitors int
	// KnownPct is the percentage of requests whose user is one of them.
	KnownPct float64
	// TMaxMS is the tmax of the requests in milliseconds; zero means 100.
	TMaxMS int
	// Seed seeds the generator: the same seed gives the same requests.
	Seed uint64
}

// Limits of the generated traffic.
const (
	MaxVisitors = 1_000_000
	MaxProducts = 1_000_000
)

// Validate returns an error unless the traffic can be generated. Zero values are
// accepted: they mean the defaults.
func (t Traffic) Validate() error {
	switch {
	case t.Visitors < 0 || t.Visitors > MaxVisitors:
		return fmt.Errorf("cannot generate requests: got %d visitors; want 1 to %d", t.Visitors, MaxVisitors)
	case !(t.KnownPct >= 0 && t.KnownPct <= 100): // NaN too
		return fmt.Errorf("cannot generate requests: got %g %% known visitors; want 0 to 100", t.KnownPct)
	case t.TMaxMS < 0 || t.TMaxMS > int(MaxDeadline.Milliseconds()):
		return fmt.Errorf("cannot generate requests: got a tmax of %d ms; want 1 to %d", t.TMaxMS, MaxDeadline.Milliseconds())
	}
	return nil
}

func (t Traffic) withDefaults() Traffic {
	if t.Visitors == 0 {
		t.Visitors = 2000
	}
	if t.TMaxMS == 0 {
		t.TMaxMS = 100
	}
	return t
}

// Visitor returns the id of the n-th known visitor.
func (t Traffic) Visitor(n int) string { return fmt.Sprintf("lt-%d-%d", t.Seed, n) }

// sizes are common banner sizes, weighted by how often exchanges request them.
var sizes = []struct {
	weight int
	size   rtb.Size
}{
	{45, rtb.Size{W: 300, H: 250}}, {18, rtb.Size{W: 728, H: 90}}, {15, rtb.Size{W: 320, H: 50}},
	{8, rtb.Size{W: 160, H: 600}}, {7, rtb.Size{W: 300, H: 600}}, {4, rtb.Size{W: 970, H: 250}}, {3, rtb.Size{W: 336, H: 280}},
}

var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
}

// Bodies generates n OpenRTB 2.6 bid requests: a web page, one or two banners, a floor,
// and a user who is known in KnownPct percent of them.
func (t Traffic) Bodies(n int) [][]byte {
	t = t.withDefaults()
	r := rand.New(rand.NewPCG(t.Seed, 0x6c6f6164))
	out := make([][]byte, n)
	for i := range out {
		out[i] = t.body(r, i)
	}
	return out
}

func (t Traffic) body(r *rand.Rand, i int) []byte {
	id := "lt-" + strconv.FormatUint(t.Seed, 36) + "-" + strconv.Itoa(i) + "-" + strconv.FormatUint(r.Uint64(), 36)
	user := "unknown-" + strconv.FormatUint(r.Uint64(), 36)
	if r.Float64()*100 < t.KnownPct {
		user = t.Visitor(r.IntN(t.Visitors))
	}
	site := r.IntN(400)
	b := make([]byte, 0, 900)
	b = fmt.Appendf(b, `{"id":%q,"at":2,"tmax":%d,"cur":["USD"],"imp":[`, id, t.TMaxMS)
	for k := range 1 + r.IntN(5)/4 {
		if k > 0 {
			b = append(b, ',')
		}
		s := pickSize(r)
		b = fmt.Appendf(b, `{"id":"%d","tagid":"slot-%d","banner":{"format":[{"w":%d,"h":%d}],"pos":%d,"topframe":1},"bidfloor":%.2f,"bidfloorcur":"USD","secure":1}`,
			k+1, r.IntN(6), s.W, s.H, r.IntN(4), float64(r.IntN(120))/100)
	}
	b = fmt.Appendf(b, `],"site":{"id":"s%d","domain":"site%d.example","page":"https://site%d.example/news/%d","cat":["IAB12"],"publisher":{"id":"p%d"}},`, site, site, site, r.IntN(9999), site%40)
	b = fmt.Appendf(b, `"device":{"ua":%q,"ip":"198.51.100.%d","devicetype":%d,"language":"en","geo":{"country":"CAN","region":"ON"}},`, agents[r.IntN(len(agents))], r.IntN(256), 1+r.IntN(5))
	return fmt.Appendf(b, `"user":{"id":"x-%s","buyeruid":%q},"bcat":["IAB25","IAB26"],"source":{"tid":%q},"regs":{"gdpr":0}}`, user, user, id)
}

func pickSize(r *rand.Rand) rtb.Size {
	n := r.IntN(100)
	for _, s := range sizes {
		if n -= s.weight; n < 0 {
			return s.size
		}
	}
	return sizes[0].size
}
