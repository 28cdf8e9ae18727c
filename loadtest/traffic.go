package loadtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
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
	// Formats are the shares of the formats; the zero value means banners only.
	Formats Formats
	// Version is the OpenRTB version whose places the requests use: 2.6, or 2.5 with
	// the privacy signals and the supply chain below ext. Empty means 2.6.
	Version string
	// Seed seeds the generator: the same seed gives the same requests.
	Seed uint64
}

// Formats are the relative shares of the impressions' formats.
type Formats struct{ Banner, Video, Native int }

// sum returns the total of the shares.
func (f Formats) sum() int { return f.Banner + f.Video + f.Native }

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
	case min(t.Formats.Banner, t.Formats.Video, t.Formats.Native) < 0 || t.Formats.sum() > 1_000_000:
		return fmt.Errorf("cannot generate requests: got shares of formats of %d, %d and %d; want 0 or more", t.Formats.Banner, t.Formats.Video, t.Formats.Native)
	case t.Version != "" && t.Version != "2.5" && t.Version != "2.6":
		return fmt.Errorf("cannot generate requests: got OpenRTB version %q; want 2.5 or 2.6", t.Version)
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
	if t.Formats.sum() == 0 {
		t.Formats.Banner = 1
	}
	return t
}

// Visitor returns the id of the n-th known visitor.
func (t Traffic) Visitor(n int) string { return fmt.Sprintf("lt-%d-%d", t.Seed, n) }

// Every generated body begins with requestIDPrefix and requestIDDigits hexadecimal
// digits, and has as many after each placementPrefix. A sender may replace them, so that
// no request is sent twice and no impression is offered twice: a bidder that already has
// a bid on an impression makes no other. The impressions of a request have the same digits
// there; what follows tells them apart.
const (
	requestIDPrefix = `{"id":"lt-`
	placementPrefix = `"gpid":"/lt-`
	requestIDDigits = 12
)

// Bodies generates n OpenRTB bid requests of about 2 KB: pages and apps, one or two
// impressions with floors, and a user who is known in KnownPct percent of them. Some
// visitors browse more than others, by a log-normal distribution, but none makes more
// than ten times the average.
func (t Traffic) Bodies(n int) [][]byte {
	t = t.withDefaults()
	r := rand.New(rand.NewPCG(t.Seed, 0x6c6f6164))
	g := generator{Traffic: t, r: r, visits: newPopulation(t.Visitors, r)}
	out := make([][]byte, n)
	for i := range out {
		out[i] = g.body(i)
	}
	return out
}

// population draws visitors who browse to different degrees.
type population struct{ cumulative []float64 }

// maxActivity is the greatest activity of one visitor, relative to the median, so that
// no profile is so hot that a cache line serves the whole test.
const maxActivity = 10

func newPopulation(n int, r *rand.Rand) population {
	p := population{make([]float64, n)}
	sum := 0.0
	for i := range p.cumulative {
		sum += min(math.Exp(r.NormFloat64()), maxActivity)
		p.cumulative[i] = sum
	}
	return p
}

// draw returns the index of a visitor.
func (p *population) draw(r *rand.Rand) int {
	n := len(p.cumulative)
	return min(sort.SearchFloat64s(p.cumulative, r.Float64()*p.cumulative[n-1]), n-1)
}

// generator writes the bodies of one traffic.
type generator struct {
	Traffic
	r      *rand.Rand
	visits population
	b      []byte
}

// add appends formatted text to the body.
func (g *generator) add(format string, args ...any) { g.b = fmt.Appendf(g.b, format, args...) }

// pick returns one of the texts.
func (g *generator) pick(from []string) string { return from[g.r.IntN(len(from))] }

// body returns the i-th request.
func (g *generator) body(i int) []byte {
	g.b = make([]byte, 0, 2600)
	user := "unknown-" + strconv.FormatUint(g.r.Uint64(), 36)
	if g.r.Float64()*100 < g.KnownPct {
		user = g.Visitor(g.visits.draw(g.r))
	}
	app := g.r.IntN(4) == 0
	g.add(`%s%012x-%s","at":2,"tmax":%d,"cur":["USD"],"imp":[`, requestIDPrefix, i, strconv.FormatUint(g.Seed, 36), g.TMaxMS)
	for k := range 1 + g.r.IntN(5)/4 {
		if k > 0 {
			g.add(",")
		}
		g.imp(i, k, app)
	}
	g.add("],")
	if app {
		g.app()
	} else {
		g.site()
	}
	g.device(app)
	g.user(user)
	g.regs()
	return g.b
}

// imp adds the k-th impression of the i-th request.
func (g *generator) imp(i, k int, app bool) {
	slot := g.r.IntN(6)
	g.add(`{"id":"%d","tagid":"/1234/news/article-%d","secure":1,"bidfloor":%.2f,"bidfloorcur":"USD",`, k+1, slot, float64(1+g.r.IntN(119))/100)
	n := g.r.IntN(g.Formats.sum())
	switch {
	case n < g.Formats.Video:
		g.add(`"video":{"mimes":["video/mp4","video/webm"],"minduration":5,"maxduration":30,"protocols":[2,3,5,6,7,8],"w":640,"h":360,"startdelay":0,"placement":1,"plcmt":1,"linearity":1,"skip":1,"skipmin":5,"skipafter":5,"playbackmethod":[1,2],"delivery":[1,2],"pos":1,"api":[1,2,7]}`)
	case n < g.Formats.Video+g.Formats.Native:
		g.add(`"native":{"ver":"1.2","request":%q}`, nativeRequest)
	default:
		s := pickSize(g.r, app)
		g.add(`"banner":{"format":[{"w":%d,"h":%d}],"pos":%d,"topframe":1,"battr":[1,3,6,9,13,14],"btype":[4],"mimes":["image/jpeg","image/png","text/html"]}`, s.W, s.H, g.r.IntN(4))
	}
	g.add(`,"ext":{%s%012x/article-%d-%d","tid":"%08x-aa"}}`, placementPrefix, i, slot, k+1, g.r.Uint32())
}

func (g *generator) site() {
	site, page := g.r.IntN(400), g.r.IntN(9999)
	g.add(`"site":{"id":"s%d","name":"The Harbour Gazette %d","domain":"site%d.example","page":"https://www.site%d.example/2026/11/%s-%d?utm_source=front&utm_campaign=autumn","ref":"https://search.example/?q=harbour+bridge","cat":["IAB12","IAB12-1"],"pagecat":["IAB12-2"],"privacypolicy":1,"mobile":1,"keywords":"bridge,harbour,traffic,city council,transport",`,
		site, site, site, site, g.pick(slugs), page)
	g.add(`"publisher":{"id":"p%d","name":"Gazette Media","domain":"site%d.example"},"content":{"title":"Harbour bridge opens after years of work, part %d","language":"en","cat":["IAB12"],"len":640}},`, site%40, site, page)
}

func (g *generator) app() {
	app := g.r.IntN(120)
	g.add(`"app":{"id":"a%d","name":"Weather %d","bundle":"com.example.weather%d","domain":"app%d.example","storeurl":"https://play.example/store/apps/details?id=com.example.weather%d","cat":["IAB15","IAB15-10"],"ver":"5.%d.1","paid":0,"privacypolicy":1,"keywords":"weather,forecast,rain,travel",`,
		app, app, app, app, app, g.r.IntN(30))
	g.add(`"publisher":{"id":"p%d","name":"Weather Media","domain":"app%d.example"},"content":{"language":"en","cat":["IAB15"]}},`, app%40, app)
}

func (g *generator) device(app bool) {
	g.add(`"device":{"ua":%q,"ip":"198.51.100.%d","devicetype":%d,"language":"en","w":1920,"h":1080,"dnt":0,"lmt":0,"connectiontype":2,"geo":{"country":"CAN","region":"ON","city":"Toronto","zip":"M5V","lat":43.64,"lon":-79.38,"type":2},`,
		g.pick(agents), g.r.IntN(256), 1+g.r.IntN(5))
	if app {
		g.add(`"os":"iOS","osv":"18.1","make":"Apple","model":"iPhone15,3","hwv":"15 Pro","carrier":"Example Mobile"},`)
		return
	}
	g.add(`"os":"Windows","osv":"10","sua":{"browsers":[{"brand":"Chromium","version":["130"]},{"brand":"Google Chrome","version":["130"]}],"platform":{"brand":"Windows","version":["10"]},"mobile":0}},`)
}

func (g *generator) user(id string) {
	g.add(`"user":{"id":"x-%s","buyeruid":%q,"eids":[{"source":"pubcid.org","uids":[{"id":"%016x-4a53","atype":1}]},{"source":"uidapi.com","uids":[{"id":"A4AAAAB8q2yT%016x","atype":3}]}],"data":[{"id":"dmp-1","name":"example dmp","segment":[{"id":"autos-%d"},{"id":"travel-4"}]}]},`,
		id, id, g.r.Uint64(), g.r.Uint64(), g.r.IntN(40))
}

func (g *generator) regs() {
	const chain = `"schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"ssp.example","sid":"1201","hp":1},{"asi":"reseller.example","sid":"88","hp":1}]}`
	g.add(`"bcat":["IAB7-39","IAB8-18","IAB8-5","IAB9-9","IAB14-1","IAB25","IAB26"],"badv":["blocked.example","casino.example","adult.example"],`)
	if g.Version == "2.5" {
		g.add(`"regs":{"coppa":0,"ext":{"gdpr":0,"us_privacy":"1YNN"}},"source":{"fd":1,"tid":"%016x","ext":{%s}}}`, g.r.Uint64(), chain)
		return
	}
	g.add(`"wlang":["en","fr"],"regs":{"coppa":0,"gdpr":0,"us_privacy":"1YNN"},"source":{"fd":1,"tid":"%016x",%s}}`, g.r.Uint64(), chain)
}
