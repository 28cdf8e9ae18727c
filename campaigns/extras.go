package campaigns

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rebound/audiences"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Deals are the private deals that a line bids on.
type Deals struct {
	ids  []string
	any  bool
	Only bool // no open bids
}

// Takes reports whether the line bids on a deal, and returns the id as
// configured, which is empty if the line bids on any deal. A nil Deals takes
// none.
func (d *Deals) Takes(id []byte) (own string, ok bool) {
	if d == nil {
		return "", false
	}
	for _, s := range d.ids {
		if string(id) == s {
			return s, true
		}
	}
	return "", d.any
}

func (c *compiler) deals(path string, s *DealsSpec) *Deals {
	if len(s.IDs) == 0 && !s.Any {
		if s.Only {
			c.Add(path+".only", "only without a deal", "ids or any: true")
		}
		return nil
	}
	for i, id := range s.IDs {
		if id == "" || len(id) > 1024 {
			c.Add(spec.At(path+".ids", i), spec.Quote(id), "the id of a deal at the exchange")
		}
	}
	return &Deals{slices.Clone(s.IDs), s.Any, s.Only}
}

// Rotation chooses between several creatives of a line that fit. A line without
// one shows the first that fits.
type Rotation struct {
	weights []float64
	when    []*audiences.Program // nil: all visitors
	pick    bool                 // draw by weight; otherwise show the first
}

// Eligible reports whether the creative with index i in the line's list may be
// shown to the visitor.
func (r *Rotation) Eligible(i int, v *rtb.Visitor, rq *audiences.Request, now time.Time) bool {
	return r.weights[i] > 0 && (r.when[i] == nil || r.when[i].EvalRequest(v, rq, now, audiences.Window{}).In)
}

// Picks reports whether one of the creatives that fit is drawn by weight;
// otherwise the first is shown.
func (r *Rotation) Picks() bool { return r.pick }

// Weight returns the weight of a creative.
func (r *Rotation) Weight(i int) float64 { return r.weights[i] }

var rotationNames = []string{"first", "even", "weighted"}

// rotation compiles the references to creatives.
func (c *compiler) rotation(path string, l *Line, mode string, refs []CreativeRef) *Rotation {
	how := c.choose(path+".rotation", mode, rotationNames, 0)
	r := &Rotation{pick: how > 0}
	plain := how == 0
	for i := range refs {
		ref, p := &refs[i], spec.At(path+".creatives", i)
		w := 1.0
		if ref.Weight != nil {
			w = *ref.Weight
			if how != 2 {
				c.Add(p+".weight", spec.Float(w), "no weight, or rotation: weighted")
			}
		}
		if !(w >= 0 && w <= 1000) {
			c.Add(p+".weight", spec.Float(w), "0 to 1000")
		}
		var when *audiences.Program
		if ref.When.Audience != "" {
			plain = false
			if list := c.programs(p+".when.audience", l, []string{ref.When.Audience}); len(list) == 1 {
				when = list[0]
			}
		}
		r.weights, r.when = append(r.weights, w), append(r.when, when)
	}
	if len(r.weights) > 0 && !slices.ContainsFunc(r.weights, func(w float64) bool { return w > 0 }) {
		c.Add(path+".creatives", "only weights of 0", "at least one weight above 0")
	}
	if plain {
		return nil
	}
	return r
}

// Adjust multiplies a price by factors that depend on the request.
type Adjust struct {
	class   [16]float64 // by the bit of the device type
	classes bool
	domains map[uint64]float64
	hour    *[24]float64
	zone    *time.Location
}

// Factor returns the product of all adjustments, at most 100. 0 means no bid.
func (a *Adjust) Factor(f *Facts, now time.Time) float64 {
	x := 1.0
	if a.classes {
		for i, class := 0, f.deviceClass(); class != 0; i, class = i+1, class>>1 {
			if class&1 != 0 {
				x *= a.class[i]
			}
		}
	}
	if a.domains != nil && !f.o.Supply.App {
		f.hosts()
		for i := f.domain.n - 1; i >= 0; i-- {
			if y, ok := a.domains[f.domain.parents[i]]; ok {
				x *= y
				break
			}
		}
	}
	if a.hour != nil {
		x *= a.hour[f.clock.at(now, a.zone)/60%24]
	}
	return math.Min(x, maxFactor)
}

func (c *compiler) adjust(path string, l *Line, s *AdjustSpec) *Adjust {
	if len(s.DeviceType)+len(s.Domain)+len(s.Hour) == 0 {
		return nil
	}
	a := &Adjust{zone: l.Advertiser.Zone}
	for i := range a.class {
		a.class[i] = 1
	}
	for _, name := range slices.Sorted(maps.Keys(s.DeviceType)) {
		c.factor(path+".device.type."+name, s.DeviceType[name])
		if i := c.OneOf(path+".device.type", name, deviceNames); i >= 0 {
			a.class[i], a.classes = s.DeviceType[name], true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Domain)) {
		c.factor(path+".domain."+name, s.Domain[name])
		var sink hostSink
		if !sink.add(name) || len(sink.below) != 1 {
			c.Add(path+".domain", spec.Quote(name), "a host such as news.example")
			continue
		}
		if a.domains == nil {
			a.domains = map[uint64]float64{}
		}
		a.domains[sink.below[0]] = s.Domain[name]
	}
	c.adjustHours(path+".hour", a, s.Hour)
	return a
}

func (c *compiler) adjustHours(path string, a *Adjust, hours map[string]float64) {
	var given [24]bool
	for _, text := range slices.Sorted(maps.Keys(hours)) {
		c.factor(path+"."+text, hours[text])
		from, to, ok := parseHours(text)
		if !ok || from%60 != 0 || to%60 != 0 {
			c.Add(path, spec.Quote(text), `whole hours such as "0-6"`)
			continue
		}
		if a.hour == nil {
			a.hour = new([24]float64)
			for h := range a.hour {
				a.hour[h] = 1
			}
		}
		for h := from / 60; h%24 != to/60%24 || h == from/60; h++ {
			if given[h%24] {
				c.Add(path, spec.Quote(text), "hours that are not in another entry")
				break
			}
			given[h%24], a.hour[h%24] = true, hours[text]
		}
	}
}

// Disclosure is an advertiser's disclosure under the Digital Services Act.
type Disclosure struct {
	renders bool      // the creatives show the disclosure
	ext     [2][]byte // a member of bid.ext: "dsa":{...}, by adrender
}

// Answer returns the member of bid.ext that discloses the advertiser, given who
// renders the disclosure on the publisher's side. ok is false if neither side
// would render it: the publisher cannot and the creatives do not. It never
// states that both will render it (as Prebid Server validates it,
// dsa/validate.go).
func (d *Disclosure) Answer(publisher rtb.DSARender) (ext []byte, ok bool) {
	if d == nil {
		return nil, false
	}
	switch publisher {
	case rtb.DSARenderUnreadable:
		return nil, false
	case rtb.DSARenderNo:
		return d.ext[1], d.renders
	case rtb.DSARenderYes:
		return d.ext[0], true
	}
	if d.renders {
		return d.ext[1], true
	}
	return d.ext[0], true
}

// dsa compiles a disclosure, or returns nil if there is none.
func (c *compiler) dsa(path string, s *DSASpec, a *Advertiser) *Disclosure {
	if s.Behalf == "" && s.Paid == "" && s.Domain == "" && len(s.Params) == 0 && !s.Renders {
		return nil
	}
	type transparency struct {
		Domain string `json:"domain"`
		Params []int  `json:"dsaparams"`
	}
	var d struct {
		Behalf       string         `json:"behalf"`
		Paid         string         `json:"paid"`
		Transparency []transparency `json:"transparency"`
		AdRender     int            `json:"adrender"`
	}
	d.Behalf, d.Paid = s.Behalf, s.Paid
	if d.Paid == "" {
		d.Paid = d.Behalf
	}
	for field, text := range map[string]string{"behalf": d.Behalf, "paid": d.Paid} {
		if n := utf8.RuneCountInString(text); n < 1 || n > 100 {
			c.Add(path+"."+field, strconv.Itoa(n)+" characters", "1 to 100 characters")
		}
	}
	t := transparency{s.Domain, slices.Clone(s.Params)}
	if t.Domain == "" && len(a.Domains) > 0 {
		t.Domain = a.Domains[0]
	}
	if len(t.Params) == 0 {
		t.Params = []int{1, 2}
	}
	for i, p := range t.Params {
		if p < 1 || p > 3 {
			c.Add(spec.At(path+".params", i), strconv.Itoa(p), "1, 2 or 3")
		}
	}
	d.Transparency = []transparency{t}
	out := &Disclosure{renders: s.Renders}
	for d.AdRender = range out.ext {
		var text strings.Builder
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(&d); err != nil {
			c.Add(path, err.Error(), "texts")
		}
		out.ext[d.AdRender] = []byte(`"dsa":` + strings.TrimSpace(text.String()))
	}
	return out
}
