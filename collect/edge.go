package collect

import (
	"context"
	"crypto/sha256"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rebound/audiences"
	"rebound/events"
	"rebound/privacy"
	"rebound/rtb"
)

// Options configure an Edge. Append, Keyring, Cookies and Random are required.
type Options struct {
	// Append returns nil only when the facts are stored.
	Append func(context.Context, ...events.Fact) error
	// Busy reports whether an error of Append says that the log has no capacity or space
	// at present; the sender should wait that long and send again. If nil, none does.
	Busy func(error) (wait time.Duration, busy bool)
	// Behind returns how far the views are behind the log. Server batches are
	// refused while the lag is large, before it becomes so large that bids stop.
	// If nil, it is 0.
	Behind func() time.Duration
	// Resolve returns the visitor to which an external identifier is linked: the zero
	// key if it was found to be shared by too many. seen is when it was last seen with
	// it. If nil, no identifier is linked.
	Resolve func(rtb.Key) (visitor rtb.Key, seen time.Time, ok bool)
	// Links lists the identifiers of a visitor; if nil, there are none. OptedOut is called
	// for each key that opted out, once its opt-out is in the log; it may be nil.
	Links    func(visitor rtb.Key) ([]events.LinkKey, error)
	OptedOut func(rtb.Key)
	// IsOut reports whether a visitor or an identifier has opted out; if nil, none has.
	IsOut   func(rtb.Key) bool
	Keyring *rtb.Keyring
	Cookies *Cookies
	Random  io.Reader
	Now     func() time.Time // time.Now by default
	// BrowserTimeout bounds how long the request of a browser waits for the log,
	// 500 ms by default; ServerTimeout bounds that of a server, 5 s by default.
	BrowserTimeout time.Duration
	ServerTimeout  time.Duration
	Logger         *zap.Logger
}

// Setup is the part of the configuration that the edge uses. It must not be changed after
// Swap.
type Setup struct {
	Advertisers []*Advertiser
	// Authenticate returns the id of the advertiser to which a key belongs, and whether
	// the key may send events. It compares in constant time.
	Authenticate func(key []byte) (advertiser string, sends, ok bool)
	// Vouches reports whether the sender with a key, which Authenticate accepts, checks
	// the consent of its visitors itself. If nil, no sender does.
	Vouches func(key []byte) bool
	// Exchanges are the exchanges that may match their users with ours, by id.
	Exchanges map[string]*Exchange
	Policy    *privacy.Policy
	// EIDSources are the sources of user.eids whose ids are linked; others are counted
	// and ignored.
	EIDSources []string
	// EventNames are the event names that rules use. Like the names defined by Rebound,
	// they are counted by name.
	EventNames []string
	// Enters says what an event would change, for dry runs. If nil, they do not say it.
	Enters     func(*events.Fact) Effect
	PublicHost string // host of the public URL; its cookie is a third-party cookie
	HTTPS      bool   // whether the public URL is https
	Limits     Limits

	advertisers map[string]*Advertiser
	eids        map[string]bool
	counted     map[string]bool
	domains     map[string]bool
	publicHost  string // as hostName returns it
	tag         *script
}

// Advertiser is the part of an advertiser that the edge uses.
type Advertiser struct {
	ID       string
	Currency rtb.Currency
	Domains  []string // a host below one of them may be ours under the advertiser's name
}

// Edge receives events from browsers and servers. It is safe for concurrent use.
type Edge struct {
	Counters
	append                        func(context.Context, ...events.Fact) error
	busy                          func(error) (time.Duration, bool)
	behind                        func() time.Duration
	linked                        func(rtb.Key) (rtb.Key, time.Time, bool)
	linksOf                       func(rtb.Key) ([]events.LinkKey, error)
	optedOut                      func(rtb.Key)
	isOut                         func(rtb.Key) bool
	keyring                       *rtb.Keyring
	cookies                       *Cookies
	random                        io.Reader
	now                           func() time.Time
	browserTimeout, serverTimeout time.Duration
	log                           *zap.Logger
	setup                         atomic.Pointer[Setup]
	recent                        recent

	syncs, matches exchangeCounters
	bounces        *sketch // syncs of browsers without our cookie

	perVisitor, perAddress, perAdvertiser *sketch // events of browsers, against floods
	perSender                             *sketch // events of the servers of an advertiser
	seen                                  validator
}

// New returns an edge without advertisers; see Swap.
func New(o Options) *Edge {
	e := &Edge{
		append: o.Append, busy: o.Busy, behind: o.Behind, linked: o.Resolve, linksOf: o.Links, optedOut: o.OptedOut, isOut: o.IsOut, keyring: o.Keyring, cookies: o.Cookies,
		random: o.Random, now: o.Now, browserTimeout: o.BrowserTimeout, serverTimeout: o.ServerTimeout, log: o.Logger,
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.linked == nil {
		e.linked = func(rtb.Key) (rtb.Key, time.Time, bool) { return rtb.Key{}, time.Time{}, false }
	}
	e.bounces = newSketch(1<<18, bouncePause)
	e.perVisitor, e.perAddress, e.perAdvertiser = newSketch(1<<19, time.Hour), newSketch(1<<17, time.Minute), newSketch(1<<12, time.Second)
	e.perSender = newSketch(1<<12, time.Second)
	if e.behind == nil {
		e.behind = func() time.Duration { return 0 }
	}
	if e.linksOf == nil {
		e.linksOf = func(rtb.Key) ([]events.LinkKey, error) { return nil, nil }
	}
	if e.optedOut == nil {
		e.optedOut = func(rtb.Key) {}
	}
	if e.isOut == nil {
		e.isOut = func(rtb.Key) bool { return false }
	}
	if e.busy == nil {
		e.busy = func(error) (time.Duration, bool) { return 0, false }
	}
	if e.browserTimeout <= 0 {
		e.browserTimeout = 500 * time.Millisecond
	}
	if e.serverTimeout <= 0 {
		e.serverTimeout = 5 * time.Second
	}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	// While the log is unavailable every event fails: log at most 10 of the errors per
	// minute; the counters count all of them.
	e.log = e.log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 10, 0)
	}))
	e.setup.Store(&Setup{Policy: &privacy.Policy{}})
	return e
}

// Swap activates a configuration.
func (e *Edge) Swap(s *Setup) {
	s.advertisers = make(map[string]*Advertiser, len(s.Advertisers))
	s.domains = map[string]bool{}
	for _, a := range s.Advertisers {
		s.advertisers[a.ID] = a
		for _, d := range a.Domains {
			s.domains[hostName(d)] = true
		}
	}
	s.publicHost = hostName(s.PublicHost)
	vendor := 0
	if s.Policy != nil {
		vendor = s.Policy.VendorID
	}
	s.tag = makeTag(vendor)
	s.eids = make(map[string]bool, len(s.EIDSources))
	for _, source := range s.EIDSources {
		s.eids[strings.ToLower(source)] = true
	}
	s.counted = make(map[string]bool, len(s.EventNames))
	for _, name := range s.EventNames {
		s.counted[name] = true
	}
	e.setup.Store(s)
}

// count counts an accepted event.
func (e *Edge) count(name string) {
	if _, known := audiences.CanonicalEvent(name); !known && !e.setup.Load().counted[name] {
		name = customName
	}
	e.event(name)
}

// canonicalName returns the name under which an event is stored.
func canonicalName(name string) string {
	canonical, _ := audiences.CanonicalEvent(sanitize(name, maxName))
	return canonical
}

// nearName returns the known event that an unknown name resembles, or an empty string.
func nearName(name string) string { return audiences.NearEvent(sanitize(name, maxName)) }

// byKey returns the advertiser to which a key belongs, or nil, and whether the key may
// send events.
func (s *Setup) byKey(key []byte) (adv *Advertiser, sends bool) {
	if len(key) == 0 || s.Authenticate == nil {
		return nil, false
	}
	id, sends, ok := s.Authenticate(key)
	if !ok {
		return nil, false
	}
	return s.advertisers[id], sends
}

// recent remembers recently stored message ids, so that a sender is told about
// duplicates. It only saves work: the folds check for duplicates themselves. An id is
// remembered for the next 65,536 ids or 24 hours, whichever is shorter, and for at most
// 48 hours.
type recent struct {
	mu       sync.Mutex // guards the following fields
	now, old map[[16]byte]struct{}
	since    time.Time
}

const (
	recentIDs  = 65_536
	recentTime = 24 * time.Hour
)

func recentKey(id string) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

func (r *recent) has(id string, now time.Time) bool {
	k := recentKey(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	age := now.Sub(r.since)
	_, isNow := r.now[k]
	_, isOld := r.old[k]
	return isNow && age < 2*recentTime || isOld && age < recentTime
}

func (r *recent) add(id string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= recentIDs || now.Sub(r.since) >= recentTime {
		r.old = r.now
		if now.Sub(r.since) >= 2*recentTime {
			r.old = nil
		}
		r.now, r.since = make(map[[16]byte]struct{}), now
	}
	r.now[recentKey(id)] = struct{}{}
}
