package collect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/privacy"
	"rebound/rtb"
)

var testNow = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// world is an edge whose log is a slice.
type world struct {
	*Edge
	keyring *rtb.Keyring
	facts   []events.Fact
	fail    error // the error that Append returns
	linked  map[rtb.Key]rtb.Key
	out     map[rtb.Key]bool // visitors and identifiers that opted out
	seen    time.Time        // when the identifiers in linked were last seen
	now     time.Time
}

const shopKey = "demo-shop-key"

func newWorld(t testing.TB) *world {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	w := &world{keyring: rtb.NewKeyring([32]byte{7}), linked: map[rtb.Key]rtb.Key{}, out: map[rtb.Key]bool{}, now: testNow}
	add := func(_ context.Context, facts ...events.Fact) error {
		if w.fail != nil {
			return w.fail
		}
		w.facts = append(w.facts, facts...)
		return nil
	}
	w.Edge = New(Options{
		Append: add, Keyring: w.keyring, Cookies: NewCookies([32]byte{9}, random), Random: random,
		Resolve: func(k rtb.Key) (rtb.Key, time.Time, bool) { v, ok := w.linked[k]; return v, w.seen, ok },
		IsOut:   func(k rtb.Key) bool { return w.out[k] },
		Now:     func() time.Time { return w.now },
	})
	eur, _ := rtb.ParseCurrency("EUR")
	want := sha256.Sum256([]byte(shopKey))
	w.Swap(&Setup{
		Advertisers: []*Advertiser{{ID: "shop", Currency: eur}, {ID: "other", Currency: rtb.USD}},
		Authenticate: func(key []byte) (string, bool, bool) {
			return "shop", true, sha256.Sum256(key) == want
		},
		Exchanges: map[string]*Exchange{
			"demo": {IDSpace: "demo", RedirectHosts: []string{"pbs.example", "127.0.0.1:9000"}, Resync: 7 * 24 * time.Hour}, "demo-first": {IDSpace: "demo"},
			"ads": {IDSpace: "ads", MatchURL: "https://ads.example/match?dsp=7&id=${UID}&c=${GDPR_CONSENT_42}", Resync: 7 * 24 * time.Hour},
		}, EIDSources: []string{"id5-sync.com"},
		Policy: &privacy.Policy{VendorID: 42, UnknownCountryAllow: true}, PublicHost: "edge.example",
	})
	return w
}

// batch records one event as sent by a server.
func (w *world) batch(t testing.TB, list ...string) Reply {
	t.Helper()
	raw := make([]json.RawMessage, len(list))
	for i := range list {
		raw[i] = json.RawMessage(list[i])
	}
	r, err := w.RecordBatch(context.Background(), Sender{Advertiser: w.setup.Load().advertisers["shop"]}, raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) events() (list []events.Fact) {
	for _, f := range w.facts {
		if f.Kind == events.KindEvent {
			list = append(list, f)
		}
	}
	return list
}

func (w *world) links() (list []events.Fact) {
	for _, f := range w.facts {
		if f.Kind == events.KindLink {
			list = append(list, f)
		}
	}
	return list
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

var errLog = errors.New("log is full")

// text returns the facts in the format of the log.
func (w *world) text(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for i := range w.facts {
		line, err := json.Marshal(&w.facts[i])
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}
