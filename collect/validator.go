package collect

import (
	"sync"
	"time"

	"rebound/events"
)

// Channel is the way by which an event arrived.
type Channel string

// The channels.
const (
	ChannelPixel  Channel = "pixel"  // GET /v1/px
	ChannelTag    Channel = "tag"    // POST /v1/t
	ChannelServer Channel = "server" // POST /v1/events
	ChannelMail   Channel = "mail"   // GET /v1/open and /v1/click
)

// Status is what became of an event.
type Status string

// The statuses.
const (
	StatusAccepted  Status = "accepted"
	StatusDuplicate Status = "duplicate"
	StatusRejected  Status = "rejected"
)

// Seen is one event as the validator shows it. It holds no identifier, only the kinds of
// those that came with the event.
type Seen struct {
	At       time.Time `json:"at"`
	Channel  Channel   `json:"channel"`
	Event    string    `json:"event"`             // canonical name
	SentAs   string    `json:"sent_as,omitempty"` // as the page named it, if that is another
	Status   Status    `json:"status"`
	Page     string    `json:"page,omitempty"` // host and path
	Visitor  string    `json:"visitor,omitempty"`
	IDs      []string  `json:"ids,omitempty"` // kinds of identifiers that came with it
	Items    []string  `json:"items,omitempty"`
	OrderID  bool      `json:"order_id,omitempty"`
	Value    string    `json:"value,omitempty"`
	Currency string    `json:"currency,omitempty"`
	Problems []Advice  `json:"problems,omitempty"`
}

// Advice says what was wrong with an event, and how to mend it.
type Advice struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy"`
}

// How many events of a site the validator keeps, and items and problems of each.
const (
	seenEvents   = 200
	seenItems    = 8
	seenProblems = 8
)

// validator keeps the last events of each advertiser, in memory.
type validator struct {
	mu sync.Mutex // guards by
	by map[string][]Seen
}

func (v *validator) add(advertiser string, s Seen) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.by == nil {
		v.by = map[string][]Seen{}
	}
	list := append(v.by[advertiser], s)
	if len(list) >= 2*seenEvents { // copies rarely
		list = append(make([]Seen, 0, 2*seenEvents), list[len(list)-seenEvents:]...)
	}
	v.by[advertiser] = list
}

// last returns the last n events of an advertiser, the newest first.
func (v *validator) last(advertiser string, n int) []Seen {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := v.by[advertiser]
	out := make([]Seen, 0, min(n, len(list)))
	for i := len(list) - 1; i >= 0 && len(out) < min(n, seenEvents); i-- {
		out = append(out, list[i])
	}
	return out
}

// LastEvents returns the last n events, at most 200, that were sent for an advertiser, the
// newest first. The empty id has those for unknown advertisers.
func (e *Edge) LastEvents(advertiser string, n int) []Seen { return e.seen.last(advertiser, n) }

// Serves reports whether an advertiser is configured.
func (e *Edge) Serves(advertiser string) bool { return e.setup.Load().advertisers[advertiser] != nil }

// remember adds an event of a browser to the validator.
func (e *Edge) remember(h *hits, in *Input) {
	advertiser := in.Advertiser
	if h.setup.advertisers[advertiser] == nil {
		advertiser = ""
	}
	e.seen.add(advertiser, e.describe(in, h.channel))
}

// describe returns an event as the validator shows it.
func (e *Edge) describe(in *Input, channel Channel) Seen {
	s := Seen{At: e.now().UTC(), Channel: channel, Status: in.status, OrderID: in.OrderID != "", Event: canonicalName(in.Event), IDs: in.User.kinds()}
	if s.Event != in.Event {
		s.SentAs = sanitize(in.Event, maxName)
	}
	if u := readPage(in.Page).url; u != nil {
		s.Page = u.Host + u.Path
	}
	if f := &in.fact; f.Kind == events.KindEvent {
		s.Visitor = f.Visitor.String()[:8]
		if f.Event.Value != 0 {
			s.Value, s.Currency = f.Event.Value.String(), f.Currency.String()
		}
	}
	for i := range in.Items[:min(len(in.Items), seenItems)] {
		s.Items = append(s.Items, in.Items[i].ID)
	}
	for _, r := range in.problems[:min(len(in.problems), seenProblems)] {
		s.Problems = append(s.Problems, Advice{Code: r.String(), Remedy: r.Remedy()})
	}
	s.Problems = append(s.Problems, in.hints()...)
	return s
}

// hints says what is likely to be a mistake although the event is valid.
func (in *Input) hints() (list []Advice) {
	if in.status != StatusAccepted {
		return nil
	}
	hint := func(code, remedy string) { list = append(list, Advice{Code: code, Remedy: remedy}) }
	switch name := in.fact.Name; {
	case len(in.Items) == 0 && needsItems[name]:
		hint("no_items", "send the product ids (id of the pixel, items of the tag), as the product feed spells them")
	case name == "purchase" && in.OrderID == "":
		hint("no_order_id", "send the order id (o of the pixel, order_id of the tag), by which an order that is reported twice counts once")
	case name == "purchase" && in.Value == 0:
		hint("no_value", "send the value of the order (v and cu of the pixel, value and currency of the tag)")
	}
	if nearName(in.Event) != "" {
		hint("custom_name", "this is an event of your own; if you meant "+nearName(in.Event)+", name it so")
	}
	return list
}

var needsItems = map[string]bool{"view_item": true, "add_to_cart": true, "add_to_wishlist": true, "remove_from_cart": true, "purchase": true}

// kinds lists the kinds of identifiers of a user.
func (u *User) kinds() (list []string) {
	for _, k := range []struct {
		name string
		has  bool
	}{{"uid", u.UID != ""}, {"xid", u.XID != ""}, {"ifa", u.IFA != ""}, {"em", len(u.Em) > 0}, {"ph", len(u.Ph) > 0}, {"eids", len(u.EIDs) > 0}} {
		if k.has {
			list = append(list, k.name)
		}
	}
	return list
}

// rememberServer adds an event of a server to the validator. p is the problem for which
// it was rejected, or nil.
func (e *Edge) rememberServer(advertiser string, in *Input, p *Problem) {
	s := e.describe(in, ChannelServer)
	if p != nil {
		s.Status = StatusRejected
		s.Problems = append([]Advice{{Code: p.Code.String(), Detail: p.Msg, Remedy: p.Code.Remedy()}}, s.Problems...)
	}
	e.seen.add(advertiser, s)
}
