package tracking

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/rtb"
)

const base = "https://edge.example"

func testKey(id byte) Key {
	k := Key{ID: id}
	for i := range k.Secret {
		k.Secret[i] = id + byte(i)
	}
	return k
}

func newSigner(t testing.TB, keys ...Key) *Signer {
	t.Helper()
	s, err := NewSigner(keys, base)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var signedKinds = []rtb.NoticeKind{
	rtb.NoticeWin, rtb.NoticeBill, rtb.NoticeLoss, rtb.NoticeImp, rtb.NoticeView, rtb.NoticeClick, rtb.NoticeVideo,
}

func sampleClaims() rtb.Claims {
	issued := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	return rtb.Claims{
		Bid: rtb.BidID{1, 2, 3}, Exchange: "demo", Node: "n1", Grant: "run-1", Advertiser: "shop", Campaign: "autumn",
		Line: "cart", Creative: "c1", Visitor: rtb.Key{9}, Item: "sku1", Landing: "https://shop.example/p/sku1",
		Caps: rtb.CapLineDay | rtb.CapCampaignTotal, Day: rtb.DayOf(issued, time.UTC), Price: 2_310_000,
		Currency: rtb.USD, AdvertiserCurrency: rtb.USD, Rate: rtb.RateOne, Reserved: 2310,
		Format: rtb.FormatBanner, BillOn: rtb.BillOnBURL, Issued: issued,
		WinExpiry: issued.Add(5 * time.Minute), BillExpiry: issued.Add(time.Hour), Value: 4100, Expected: 900,
	}
}

// signedURL returns the URL of one kind of notice; nil if it would be too long.
func signedURL(s *Signer, kind rtb.NoticeKind, c *rtb.Claims) []byte {
	var t rtb.SealedClaims
	s.Seal(&t, c)
	return s.AppendURL(nil, kind, &t)
}

// token returns the token of the URL of signed claims.
func token(t testing.TB, s *Signer, kind rtb.NoticeKind, c *rtb.Claims) string {
	t.Helper()
	_, tok, ok := strings.Cut(string(signedURL(s, kind, c)), "?k=")
	if !ok {
		t.Fatalf("%s: no URL for %+v", kind, c)
	}
	return tok
}

func randomClaims(r *rand.Rand) rtb.Claims {
	text := func(most int) string {
		b := make([]byte, r.IntN(most+1))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	at := func() time.Time { return time.Unix(r.Int64N(1<<33)-1<<20, 0).UTC() }
	c := rtb.Claims{
		Exchange: text(64), Node: text(20), Grant: text(30), Advertiser: text(64), Campaign: text(64), Line: text(64),
		Creative: text(64), Item: text(100), Deal: text(64), Landing: text(300),
		Quantity: rtb.Quantity(r.Int64N(3) * r.Int64N(1<<50)), Caps: rtb.CapSet(r.IntN(1 << 24)), Flights: rtb.Flights{rtb.Day(r.IntN(30000)), 0, rtb.Day(r.IntN(30000))}, Hour: rtb.Hour(r.IntN(2) * r.IntN(3_000_000)), Day: rtb.Day(r.Int32()), Price: rtb.CPM(r.Int64()), Rate: rtb.Rate{Num: r.Int64(), Den: r.Int64()}, Reserved: rtb.Micros(r.Int64()),
		Format: rtb.Formats(r.IntN(16)), BillOn: rtb.BillingSource(r.IntN(4)), FirstPrice: r.IntN(2) == 0, Test: r.IntN(2) == 0,
		Issued: at(), WinExpiry: at(), BillExpiry: at(), Value: rtb.Micros(r.Int64()), Expected: -rtb.Micros(r.Int64()),
		Currency: rtb.USD, AdvertiserCurrency: rtb.Currency{'E', 'U', 'R'},
	}
	if r.IntN(2) == 0 {
		c.ClickPPM, c.ConversionPPM = r.Uint32(), r.Uint32N(2)
	}
	c.Features.N = uint8(r.IntN(rtb.MaxFeatures + 1))
	for i := range c.Features.N {
		c.Features.Hash[i] = r.Uint32()
	}
	for i := range c.Bid {
		c.Bid[i] = byte(r.Uint32())
	}
	if r.IntN(3) > 0 {
		c.Visitor = rtb.Key(c.Bid)
	}
	return c
}

func TestAnyClaimsComeBack(t *testing.T) {
	s := newSigner(t, testKey(1))
	r := rand.New(rand.NewPCG(7, 7))
	for range 5_000 {
		c := randomClaims(r)
		kind := signedKinds[r.IntN(len(signedKinds))]
		got, err := s.Verify(kind, []byte(token(t, s, kind, &c)))
		if err != nil {
			t.Fatalf("%s: %v for %+v", kind, err, c)
		}
		if kind != rtb.NoticeClick {
			c.Landing = "" // it travels in click tokens only
		}
		if got != c {
			t.Fatalf("%s:\n got %+v\nwant %+v", kind, got, c)
		}
	}
}

// oldPayload returns the claims as versions 1 and 2 encoded them.
func oldPayload(version byte, kind rtb.NoticeKind, c *rtb.Claims) []byte {
	b := append([]byte{version}, appendClaims(nil, c)...)
	if version == payloadRatePPM {
		rate := binary.AppendVarint(binary.AppendVarint(nil, c.Rate.Num), c.Rate.Den)
		rest := binary.AppendVarint(nil, int64(c.Reserved))
		at := bytes.Index(b, append(rate, rest...))
		b = append(binary.AppendVarint(b[:at:at], c.Rate.Num*1_000_000/c.Rate.Den), b[at+len(rate):]...)
	}
	if kind == rtb.NoticeClick {
		b = appendText(b, c.Landing)
	}
	return b
}

// oldToken returns a token as versions 1 to 3 signed it.
func oldToken(k Key, version byte, kind rtb.NoticeKind, c *rtb.Claims) []byte {
	derive := func(name string) []byte {
		h := hmac.New(sha256.New, k.Secret[:])
		h.Write([]byte("rebound " + name))
		return h.Sum(nil)
	}
	if version == payloadWithHashes {
		payload := appendClaims([]byte{k.ID, version, 0, 0}, c)
		payload = append(payload, make([]byte, (3-len(payload)%3)%3)...)
		binary.BigEndian.PutUint16(payload[2:], uint16(len(payload)))
		digest := sha256.Sum256(append(derive("claims 3"), payload...))
		tagged := append(derive("notice 3 " + kind.String())[:23], digest[:]...)
		if kind == rtb.NoticeClick {
			payload, tagged = append(payload, c.Landing...), append(tagged, c.Landing...)
		}
		tag := sha256.Sum256(tagged)
		return tokenText.AppendEncode(nil, append(payload, tag[:16]...))
	}
	h := hmac.New(sha256.New, derive("notice "+kind.String()))
	sent := append([]byte{k.ID}, oldPayload(version, kind, c)...)
	h.Write([]byte{byte(kind)})
	h.Write(sent)
	return tokenText.AppendEncode(nil, append(sent, h.Sum(nil)[:16]...))
}

// Tokens of version 3 that the program has made.
const (
	oldPayload3 = "AQMAbwEJAQABAgMAAAAAAAAAAAAAAAAACQAAAAAAAAAAAAAAAAAAAFVTRFVTRICt8qsN2ASgOO7DAuD9mQICAowkiECIDgRkZW1vAm4xBXJ1bi0xBHNob3AGYXV0dW1uBGNhcnQCYzEEc2t1MQAA"
	oldBill3    = oldPayload3 + "9FR-d0KHxK-mv2w6-3n8_g"
	oldClick3   = oldPayload3 + "aHR0cHM6Ly9zaG9wLmV4YW1wbGUvcC9za3Ux_h_A2MvHFq5GUfsRfig_rQ"
)

func TestOldTokensAreThoseOfEarlierVersions(t *testing.T) {
	c := sampleClaims()
	for kind, want := range map[rtb.NoticeKind]string{rtb.NoticeBill: oldBill3, rtb.NoticeClick: oldClick3} {
		if got := string(oldToken(testKey(1), payloadWithHashes, kind, &c)); got != want {
			t.Errorf("%s: got %s; want %s", kind, got, want)
		}
	}
}

// Bids with tokens of the versions before may be billed until notice_ttl has passed.
func TestTheVersionsBeforeAreStillRead(t *testing.T) {
	s := newSigner(t, testKey(2), testKey(1))
	for _, version := range []byte{payloadRatePPM, payloadPerKind, payloadWithHashes} {
		for _, kind := range signedKinds {
			c := sampleClaims()
			c.Rate = rtb.Rate{Num: 860_000, Den: 1_000_000}
			tok := oldToken(testKey(1), version, kind, &c)
			got, err := s.Verify(kind, tok)
			if kind != rtb.NoticeClick {
				c.Landing = ""
			}
			if err != nil || got != c {
				t.Fatalf("version %d, %s: got %+v, %v; want %+v", version, kind, got, err, c)
			}
			for _, other := range signedKinds {
				if _, err := s.Verify(other, tok); (err == nil) != (other == kind) {
					t.Errorf("version %d, %s as %s: got %v", version, kind, other, err)
				}
			}
			for i := range tok {
				bad := bytes.Clone(tok)
				if bad[i] = 'A'; bad[i] == tok[i] {
					bad[i] = 'B'
				}
				if _, err := s.Verify(kind, bad); err == nil {
					t.Fatalf("version %d, %s: changed at %d, and believed", version, kind, i)
				}
			}
		}
	}
}

// Predictions and features cost a token nothing where there are none.
func TestAbsentPredictionsCostNothing(t *testing.T) {
	s, c := newSigner(t, testKey(1)), sampleClaims()
	bare := len(appendClaims(nil, &c))
	c.ClickPPM, c.Features = 1200, rtb.Features{N: 2, Hash: [rtb.MaxFeatures]uint32{7, 8}}
	if with := len(appendClaims(nil, &c)); with != bare+3+9 {
		t.Errorf("got %d bytes more; want 12", with-bare)
	}
	got, err := s.Verify(rtb.NoticeWin, []byte(token(t, s, rtb.NoticeWin, &c)))
	if err != nil || got.ClickPPM != 1200 || got.ConversionPPM != 0 || got.Features != c.Features {
		t.Errorf("got %+v, %v", got, err)
	}
}

// The parts of a token belong together: the claims of one bid with the tag, or with the
// landing page, of another are refused.
func TestPartsOfTokensAreNotExchanged(t *testing.T) {
	conformance.Covers(t, "M10")
	s := newSigner(t, testKey(1))
	a, b := sampleClaims(), sampleClaims()
	b.Bid[0]++
	b.Landing = "https://shop.example/p/sku2"
	x, y := token(t, s, rtb.NoticeClick, &a), token(t, s, rtb.NoticeClick, &b)
	tail := tokenText.EncodedLen(len(a.Landing) + macLen)
	for _, bad := range []string{x[:len(x)-tail] + y[len(y)-tail:], x[:len(x)-tail] + x[len(x)-tokenText.EncodedLen(macLen):]} {
		if _, err := s.Verify(rtb.NoticeClick, []byte(bad)); !errors.Is(err, ErrForged) {
			t.Errorf("got %v; want %v", err, ErrForged)
		}
	}
}

func TestZeroTimesComeBack(t *testing.T) {
	s := newSigner(t, testKey(1))
	c := rtb.Claims{Bid: rtb.BidID{1}}
	got, err := s.Verify(rtb.NoticeWin, []byte(token(t, s, rtb.NoticeWin, &c)))
	if err != nil || got != c {
		t.Fatalf("got %+v, %v; want %+v", got, err, c)
	}
}

func TestEveryChangedCharacterIsRefused(t *testing.T) {
	conformance.Covers(t, "M10")
	s := newSigner(t, testKey(1), testKey(2))
	c := sampleClaims()
	good := token(t, s, rtb.NoticeBill, &c)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range good {
		for _, repl := range alphabet + "\n\r=+/% \x00" {
			if byte(repl) == good[i] {
				continue
			}
			bad := good[:i] + string(repl) + good[i+1:]
			if _, err := s.Verify(rtb.NoticeBill, []byte(bad)); err == nil {
				t.Fatalf("character %d as %q was believed", i, repl)
			}
		}
	}
	for i := range good {
		for _, bad := range []string{good[:i], good[i+1:], good[:i] + "\n" + good[i:], good[:i] + "A" + good[i:]} {
			if _, err := s.Verify(rtb.NoticeBill, []byte(bad)); err == nil {
				t.Fatalf("cut or stretched at %d was believed", i)
			}
		}
	}
}

func TestATokenServesItsOwnKindOnly(t *testing.T) {
	conformance.Covers(t, "M10")
	s := newSigner(t, testKey(1))
	c := sampleClaims()
	for i, signed := range append(signedKinds, rtb.NoticeClick) {
		if i == len(signedKinds) { // once more, without a landing page
			c.Landing = ""
		}
		tok := []byte(token(t, s, signed, &c))
		for _, asked := range signedKinds {
			_, err := s.Verify(asked, tok)
			if ok := err == nil; ok != (signed == asked) {
				t.Errorf("%s token as %s: got %v", signed, asked, err)
			}
		}
		if _, err := s.Verify(0, tok); !errors.Is(err, ErrForged) {
			t.Errorf("kind 0: got %v; want %v", err, ErrForged)
		}
		if _, err := s.Verify(99, tok); !errors.Is(err, ErrForged) {
			t.Errorf("kind 99: got %v; want %v", err, ErrForged)
		}
	}
}

// Rule M12: the previous key still verifies, the key before it does not.
func TestKeysRotate(t *testing.T) {
	conformance.Covers(t, "M12")
	first, second, third := newSigner(t, testKey(1)), newSigner(t, testKey(2), testKey(1)), newSigner(t, testKey(3), testKey(2))
	c := sampleClaims()
	tok := []byte(token(t, first, rtb.NoticeBill, &c))
	if _, err := second.Verify(rtb.NoticeBill, tok); err != nil {
		t.Errorf("with the previous key: %v", err)
	}
	if _, err := third.Verify(rtb.NoticeBill, tok); !errors.Is(err, ErrForged) {
		t.Errorf("two keys later: got %v; want %v", err, ErrForged)
	}
	if _, err := first.Verify(rtb.NoticeBill, []byte(token(t, second, rtb.NoticeBill, &c))); !errors.Is(err, ErrForged) {
		t.Errorf("a key that is not known yet: got %v; want %v", err, ErrForged)
	}
	same := testKey(1)
	same.Secret[0]++
	if _, err := newSigner(t, same).Verify(rtb.NoticeBill, tok); !errors.Is(err, ErrForged) {
		t.Errorf("same id, other secret: got %v; want %v", err, ErrForged)
	}
}

// The HMAC agrees with the standard library's.
func TestMACIsHMAC(t *testing.T) {
	secret := testKey(5).Secret
	for _, n := range []int{0, 1, 55, 56, 63, 64, 65, 500} {
		msg := make([]byte, n)
		h := hmac.New(sha256.New, secret[:])
		h.Write(msg)
		p := padKey(secret)
		if got := p.mac(msg); string(got[:]) != string(h.Sum(nil)) {
			t.Errorf("%d bytes: MAC differs from crypto/hmac", n)
		}
	}
}

// Rule M13: no URL is longer than exchanges take, and none contains a readable id.
func TestURLsStayShortAndOpaque(t *testing.T) {
	conformance.Covers(t, "M13")
	s := newSigner(t, testKey(1))
	c := sampleClaims()
	c.Landing = "https://shop.example/" + strings.Repeat("p", 900)
	appendURL := func(dst string) string {
		var t rtb.SealedClaims
		s.Seal(&t, &c)
		return string(s.AppendURL([]byte(dst), rtb.NoticeClick, &t))
	}
	u := appendURL("x")
	if !strings.HasPrefix(u, "x"+base+"/v1/c?k=") || len(u) > MaxURL+1 {
		t.Errorf("got %d characters: %.60s", len(u), u)
	}
	for _, secret := range []string{c.Visitor.String(), "shop.example", "cart"} {
		if strings.Contains(u[len(base)+1:], secret) {
			t.Errorf("URL shows %q", secret)
		}
	}
	c.Landing += strings.Repeat("p", 5000)
	if got := appendURL("x"); got != "x" {
		t.Errorf("too long: got %d characters; want dst unchanged", len(got))
	}
	if got := signedURL(s, rtb.NoticeBill, &c); len(got) == 0 || len(got) > 400 {
		t.Errorf("bill URL without a landing page: got %d characters", len(got))
	}
	if got := signedURL(s, 0, &c); got != nil {
		t.Errorf("kind 0: got %q", got)
	}
	c.Item = strings.Repeat("i", 2000)
	if got := signedURL(s, rtb.NoticeBill, &c); got != nil {
		t.Errorf("claims that no URL can carry: got %d characters", len(got))
	}
}

func TestNewSignerRefuses(t *testing.T) {
	conformance.Covers(t, "T22")
	for name, f := range map[string]func() (*Signer, error){
		"no key":     func() (*Signer, error) { return NewSigner(nil, base) },
		"twice":      func() (*Signer, error) { return NewSigner([]Key{testKey(1), testKey(1)}, base) },
		"plain http": func() (*Signer, error) { return NewSigner([]Key{testKey(1)}, "http://edge.example") },
		"no host":    func() (*Signer, error) { return NewSigner([]Key{testKey(1)}, "edge.example") },
		"query":      func() (*Signer, error) { return NewSigner([]Key{testKey(1)}, base+"/?a=b") },
		"quote":      func() (*Signer, error) { return NewSigner([]Key{testKey(1)}, base+"/it's") },
	} {
		if s, err := f(); err == nil || s != nil {
			t.Errorf("%s: got %v, %v; want an error", name, s, err)
		}
	}
	for _, ok := range []string{"http://127.0.0.1:8081", "http://localhost:8081/", "http://[::1]:80", "https://e.example/rb/"} {
		if _, err := NewSigner([]Key{testKey(1)}, ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

func TestSigningDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("allocation counts differ under the race detector")
	}
	s := newSigner(t, testKey(1))
	c := sampleClaims()
	var sealed rtb.SealedClaims
	dst := make([]byte, 0, 2*MaxURL)
	if n := testing.AllocsPerRun(200, func() {
		s.Seal(&sealed, &c)
		dst = s.AppendURL(dst[:0], rtb.NoticeClick, &sealed)
	}); n != 0 {
		t.Errorf("got %v allocations; want 0", n)
	}
}

// The five URLs of a banner.
func BenchmarkSign(b *testing.B) {
	s := newSigner(b, testKey(1))
	c := sampleClaims()
	var sealed rtb.SealedClaims
	dst := make([]byte, 0, 2*MaxURL)
	b.ReportAllocs()
	for b.Loop() {
		dst = dst[:0]
		s.Seal(&sealed, &c)
		for _, kind := range []rtb.NoticeKind{rtb.NoticeWin, rtb.NoticeBill, rtb.NoticeLoss, rtb.NoticeImp, rtb.NoticeClick} {
			dst = s.AppendURL(dst, kind, &sealed)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s := newSigner(b, testKey(1))
	c := sampleClaims()
	tok := []byte(token(b, s, rtb.NoticeBill, &c))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(rtb.NoticeBill, tok); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzToken(f *testing.F) {
	s := newSigner(f, testKey(1), testKey(2))
	c := sampleClaims()
	for _, kind := range signedKinds {
		f.Add([]byte(token(f, s, kind, &c)), byte(kind))
	}
	f.Add([]byte(""), byte(0))
	f.Add([]byte(strings.Repeat("A", MaxURL)), byte(2))
	f.Fuzz(func(t *testing.T, tok []byte, kind byte) {
		got, err := s.Verify(rtb.NoticeKind(kind), tok)
		if err != nil {
			if got != (rtb.Claims{}) {
				t.Fatalf("refused, but claims %+v", got)
			}
			return
		}
		if again := token(t, s, rtb.NoticeKind(kind), &got); again != string(tok) {
			t.Fatalf("believed %q, whose own text is %q", tok, again)
		}
	})
}

// FuzzPayload reads payloads as if their signature had been verified.
func FuzzPayload(f *testing.F) {
	c := sampleClaims()
	f.Add(appendClaims(nil, &c), "", byte(payloadVersion), false)
	c.ClickPPM, c.Features.N = 7, 3
	f.Add(append(appendClaims(nil, &c), 0, 0), c.Landing, byte(payloadVersion), true)
	c = sampleClaims()
	f.Add(oldPayload(payloadPerKind, rtb.NoticeClick, &c)[1:], "", byte(payloadPerKind), true)
	f.Add(oldPayload(payloadRatePPM, rtb.NoticeBill, &c)[1:], "", byte(payloadRatePPM), false)
	f.Add([]byte{}, "", byte(0), false)
	f.Fuzz(func(t *testing.T, payload []byte, landing string, version byte, click bool) {
		kind := rtb.NoticeBill
		if click {
			kind = rtb.NoticeClick
		}
		read := func() (rtb.Claims, error) {
			if version == payloadVersion {
				return readClaims(payload, []byte(landing), kind)
			}
			return readOldClaims(append([]byte{version}, payload...), kind)
		}
		got, err := read()
		if err != nil {
			if got != (rtb.Claims{}) {
				t.Fatalf("refused, but claims %+v", got)
			}
			return
		}
		again, err := readClaims(appendClaims(nil, &got), []byte(got.Landing), kind)
		if err != nil || again != got {
			t.Fatalf("read %+v, then %+v (%v)", got, again, err)
		}
	})
}
