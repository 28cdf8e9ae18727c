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

// Options are what an Edge is made of. Append, AppendOrSpool, Keyring, Cookies
// and Random are required.
type Options struct {
	// Append stores facts before it returns nil; for servers, who try again
	// when told that it failed.
	Append func(context.Context, ...events.Fact) error
	// AppendOrSpool stores facts in the log or, while that takes none, in a file
	// from which they reach it later; for browsers, who never try again.
	AppendOrSpool func(context.Context, ...events.Fact) error
	// Resolve finds the visitor that an outside identifier is linked to; nil:
	// none ever is.
	Resolve func(rtb.Key) (rtb.Key, bool)
	Keyring *rtb.Keyring
	Cookies *Cookies
	Random  io.Reader
	Now     func() time.Time // time.Now by default
	// BrowserTimeout bounds how long a browser waits for the log, 500 ms by
	// default; ServerTimeout how long a server does, 5 s.
	BrowserTimeout time.Duration
	ServerTimeout  time.Duration
	Logger         *zap.Logger
}

// Setup is the part of a configuration that the edge reads. It is not changed
// after Swap.
type Setup struct {
	Advertisers []*Advertiser
	// Authenticate finds the id of the advertiser whose key may send events;
	// false for a key that is nobody's. It compares in constant time.
	Authenticate func(key []byte) (advertiser string, ok bool)
	// Exchanges may match their users with ours: by exchange id the space of user
	// ids, which several exchanges may share.
	Exchanges map[string]string
	Policy    *privacy.Policy
	// EIDSources are the sources of user.eids that are linked; others are counted
	// and left out.
	EIDSources []string
	// EventNames are the names that rules look for: they are counted by name, as
	// Rebound's own are.
	EventNames []string
	PublicHost string // host of the public URL: its cookie is a third-party one
	HTTPS      bool   // the public URL is https

	advertisers map[string]*Advertiser
	eids        map[string]bool
	counted     map[string]bool
}

// Advertiser is what the edge knows of an advertiser.
type Advertiser struct {
	ID       string
	Currency rtb.Currency
}

// Edge takes what visitors and servers send. Its methods may be called from any
// goroutine.
type Edge struct {
	Counters
	append, appendOrSpool         func(context.Context, ...events.Fact) error
	resolve                       func(rtb.Key) (rtb.Key, bool)
	keyring                       *rtb.Keyring
	cookies                       *Cookies
	random                        io.Reader
	now                           func() time.Time
	browserTimeout, serverTimeout time.Duration
	log                           *zap.Logger
	setup                         atomic.Pointer[Setup]
	recent                        recent
}

// New makes an edge; it knows no advertiser until Swap.
func New(o Options) *Edge {
	e := &Edge{
		append: o.Append, appendOrSpool: o.AppendOrSpool, resolve: o.Resolve, keyring: o.Keyring, cookies: o.Cookies,
		random: o.Random, now: o.Now, browserTimeout: o.BrowserTimeout, serverTimeout: o.ServerTimeout, log: o.Logger,
	}
	if e.now == nil {
		e.now = time.Now
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
	// While the log is down every event fails: 10 lines a minute say so, counters
	// have them all.
	e.log = e.log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 10, 0)
	}))
	e.setup.Store(&Setup{Policy: &privacy.Policy{}})
	return e
}

// Swap makes a configuration active.
func (e *Edge) Swap(s *Setup) {
	s.advertisers = make(map[string]*Advertiser, len(s.Advertisers))
	for _, a := range s.Advertisers {
		s.advertisers[a.ID] = a
	}
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

// count counts an event that was taken.
func (e *Edge) count(name string) {
	if _, known := audiences.CanonicalEvent(name); !known && !e.setup.Load().counted[name] {
		name = customName
	}
	e.event(name)
}

// byKey finds the advertiser of a key; nil when it is nobody's.
func (s *Setup) byKey(key []byte) *Advertiser {
	if len(key) == 0 || s.Authenticate == nil {
		return nil
	}
	if id, ok := s.Authenticate(key); ok {
		return s.advertisers[id]
	}
	return nil
}

// recent remembers the message ids that were stored lately, to tell a sender
// that an event came twice. It saves work and answers politely; what counts is
// the folds' own check. An id is remembered for at least the last 65,536 ids, or
// 24 hours, whichever is less, and at most 48 hours.
type recent struct {
	mu       sync.Mutex // guards what follows
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
