package exchange

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// M3, M4, P12: the values of a price parameter, by codec and unit.
func TestM4Prices(t *testing.T) {
	conformance.Covers(t, "M3", "M4", "P12")
	plain := testProfile(t, nil)
	b64 := testProfile(t, func(s *ProfileSpec) { s.PriceCodec = "b64" })
	micros := testProfile(t, func(s *ProfileSpec) { s.PriceUnit = "cpm_micros" })
	cpi := testProfile(t, func(s *ProfileSpec) { s.PriceUnit = "cpi_micros" })
	old := testProfile(t, func(s *ProfileSpec) { s.PriceMacro = "%%WINNING_PRICE%%" })
	curly := testProfile(t, func(s *ProfileSpec) { s.PriceMacro = "{winning_price}" })
	std := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	cases := []struct {
		p    *Profile
		raw  string
		want rtb.CPM
		is   PriceStatus
	}{
		{plain, "1.2", 1_200_000, PriceOK}, {plain, "1", 1_000_000, PriceOK}, {plain, "0", 0, PriceOK}, {plain, " 2.5 ", 2_500_000, PriceOK},
		{plain, "0.0000001", 1, PriceOK}, {plain, "1e-1", 100_000, PriceOK}, {plain, "", 0, PriceEmpty}, {plain, "AUDIT", 0, PriceAudit},
		{plain, "${AUCTION_PRICE}", 0, PriceMacro}, {plain, "%24%7BAUCTION_PRICE%7D", 0, PriceMacro}, {plain, "${OTHER}", 0, PriceMacro},
		{plain, "-1", 0, PriceBad}, {plain, "-0", 0, PriceBad}, {plain, "NaN", 0, PriceBad}, {plain, "1,5", 1_500_000, PriceOK}, {plain, "1,20", 1_200_000, PriceOK}, {plain, "1%2C20", 1_200_000, PriceOK}, {plain, ".5", 500_000, PriceOK},
		{plain, ",5", 500_000, PriceOK}, {plain, "5.", 5_000_000, PriceOK}, {plain, "0,125", 125_000, PriceOK}, {plain, "1,2345", 1_234_500, PriceOK}, {plain, "1,234", 0, PriceBad},
		{plain, "1,234.5", 0, PriceBad}, {plain, "1.234,5", 0, PriceBad}, {plain, "1,2,3", 0, PriceBad}, {plain, ".", 0, PriceBad}, {plain, ",", 0, PriceBad}, {plain, "-.5", 0, PriceBad},
		{b64, "LjU=", 500_000, PriceOK}, {micros, "1500000,0", 1_500_000, PriceOK}, {plain, "1e999", 0, PriceBad},
		{plain, "1000001", 0, PriceBad}, {plain, "%zz", 0, PriceBad}, {plain, strings.Repeat("1", 300), 0, PriceBad}, {plain, "1%2E5", 1_500_000, PriceOK},
		{b64, "MS41MA==", 1_500_000, PriceOK}, {b64, "MS41MA", 1_500_000, PriceOK}, {b64, "MS41MA%3D%3D", 1_500_000, PriceOK},
		{b64, std("AUDIT"), 0, PriceAudit}, {b64, "AUDIT", 0, PriceAudit}, {b64, "${AUCTION_PRICE:B64}", 0, PriceMacro}, {b64, "1.50", 0, PriceBad},
		{b64, "MS41\nMA", 0, PriceBad}, {b64, "====", 0, PriceEmpty},
		{micros, "1500000", 1_500_000, PriceOK}, {micros, "1500000.2", 1_500_001, PriceOK}, {micros, "1000000000001", 0, PriceBad},
		{cpi, "1500", 1_500_000, PriceOK}, {cpi, "0.5", 500, PriceOK}, {cpi, "1000000001", 0, PriceBad},
		{old, "%%WINNING_PRICE%%", 0, PriceMacro}, {curly, "{winning_price}", 0, PriceMacro}, {curly, "3", 3_000_000, PriceOK},
	}
	for _, c := range cases {
		got, is := c.p.ParsePrice([]byte(c.raw))
		if got != c.want || is != c.is {
			t.Errorf("%q: got %d, %v; want %d, %v", c.raw, got, is, c.want, c.is)
		}
	}
	// The two alphabets differ on 62 and 63 only, which no price has: try text that has them.
	for _, raw := range []string{"Pj4/", "Pj4_", "Pj4%2F"} {
		if got, ok := unbase64(nil, []byte(strings.ReplaceAll(raw, "%2F", "/"))); !ok || string(got) != ">>?" {
			t.Errorf("%q decoded as %q", raw, got)
		}
	}
	if got, ok := unbase64(nil, []byte("Pj 4")); !ok || string(got) != string([]byte{0x3e, 0x3f, 0xb8}) {
		t.Errorf("a plus sign that became a blank decoded as %x, %v", got, ok)
	}
}

// M15: the price to beat; an unknown price is not 0.
func TestM15MinToWin(t *testing.T) {
	conformance.Covers(t, "M15")
	p := testProfile(t, nil)
	b64 := testProfile(t, func(s *ProfileSpec) { s.MinToWinMacro = "${AUCTION_MIN_TO_WIN:B64}" })
	for raw, want := range map[string]PriceStatus{"1.5": PriceOK, "": PriceEmpty, "${AUCTION_MIN_TO_WIN}": PriceMacro, "AUDIT": PriceAudit, "x": PriceBad} {
		if got, is := p.ParseMinToWin([]byte(raw)); is != want || is == PriceOK && got != 1_500_000 {
			t.Errorf("%q: got %d, %v; want %v", raw, got, is, want)
		}
	}
	if got, is := b64.ParseMinToWin([]byte("MS41MA")); got != 1_500_000 || is != PriceOK {
		t.Errorf("got %d, %v", got, is)
	}
}

// M14: loss reasons.
func TestM14Loss(t *testing.T) {
	conformance.Covers(t, "M14")
	for raw, want := range map[string]struct {
		code int
		name string
	}{"102": {102, "higher_bid"}, "0": {0, "won"}, "10": {10, "no_approval_data"}, "11": {11, "other"}, "215": {215, "bundle"}, "216": {216, "other"},
		"501": {501, "exchange"}, "9999": {9999, "other"}, "": {-1, "other"}, "${AUCTION_LOSS}": {-1, "other"}, "-1": {-1, "other"}, "9999999": {-1, "other"}} {
		if got := ParseLoss([]byte(raw)); got.Code != want.code || got.String() != want.name {
			t.Errorf("%q: got %d, %s; want %d, %s", raw, got.Code, got, want.code, want.name)
		}
	}
}

// M1, M2, M15, K5, VD17: the macros of each notice, raw.
func TestM1Macros(t *testing.T) {
	conformance.Covers(t, "M1", "M2", "K5")
	p := testProfile(t, nil)
	other := testProfile(t, func(s *ProfileSpec) {
		s.PriceMacro, s.MinToWinMacro, s.PriceIn = "${AUCTION_PRICE:OXCRYPT}", "-", []string{"bill"}
	})
	const price, cur, least = "&p=${AUCTION_PRICE}", "&c=${AUCTION_CURRENCY}", "&m=${AUCTION_MIN_TO_WIN}"
	for _, c := range []struct {
		p    *Profile
		kind rtb.NoticeKind
		want string
	}{
		{p, rtb.NoticeWin, price + cur + least}, {p, rtb.NoticeBill, price + cur + least}, {p, rtb.NoticeLoss, "&l=${AUCTION_LOSS}" + least},
		{p, rtb.NoticeImp, price + cur}, {p, rtb.NoticeVideo, price + cur}, {p, rtb.NoticeView, ""}, {p, rtb.NoticeClick, ""}, {p, 99, ""},
		{other, rtb.NoticeWin, ""}, {other, rtb.NoticeBill, "&p=${AUCTION_PRICE:OXCRYPT}" + cur}, {other, rtb.NoticeLoss, "&l=${AUCTION_LOSS}"},
	} {
		if got := string(c.p.AppendMacros([]byte("u?k=1"), c.kind)); got != "u?k=1"+c.want {
			t.Errorf("%v: got %s; want %s", c.kind, got, c.want)
		}
	}
}

const (
	googleE = "sIxwz7yw62yrfoLGt12lIHKuYrK/S5kLuApI2BQe7Ac=" // Google's public test keys
	googleI = "v3fsVcMBMMHYzRhi7SpM0sdqwzvAxM6KPTu9OtVod5I="
)

func countingKey(from byte) string {
	b := make([]byte, 32)
	for i := range b {
		b[i] = from + byte(i)
	}
	return base64.URLEncoding.EncodeToString(b)
}

func hmacProfile(t testing.TB, unit string, keys ...PriceKeySpec) *Profile {
	return testProfile(t, func(s *ProfileSpec) { s.PriceCodec, s.PriceUnit, s.PriceKeys = "hmac-sha1", unit, keys })
}

// E1-E3, E7: encrypted prices, with Google's vector and our own.
func TestE1HMACVectors(t *testing.T) {
	conformance.Covers(t, "E1", "E2", "E3", "E7", "P12")
	google := PriceKeySpec{Encryption: googleE, Integrity: googleI}
	own := PriceKeySpec{Encryption: countingKey(0), Integrity: countingKey(32)}
	p := hmacProfile(t, "", own, google) // two generations are live
	for raw, want := range map[string]rtb.CPM{
		"OG46wAAMCggBI0VniavN7-mNy0VTKPbB3o5CMQ":   1_200_000,
		"OG46wAAMCggBI0VniavN7+mNy0VTKPbB3o5CMQ==": 1_200_000,
		"OG46wAAMCggBI0VniavN7 mNy0VTKPbB3o5CMQ==": 1_200_000,
		"ZaCxwAAB4kAAAAAAAAAAAbv7uHQOcXl6jLRW9A":   1_500_000,
		"ZaCxwAAB4kAAAAAAAAAAAbv7uHQOZ5oa-w05kw":   0,
		"AAAAAAAAAAAAAAAAAAAAAFUP-B0PUPyio9hRng":   1,
		"_____wAPQj___________-_i8qYYjA6tKiEjMA":   123_456_789_012,
	} {
		if got, is := p.ParsePrice([]byte(raw)); got != want || is != PriceOK {
			t.Errorf("%s: got %d, %v; want %d", raw, got, is, want)
		}
	}
	for raw, want := range map[string]PriceStatus{
		"OG46wAAMCggBI0VniavN7-mNy0VTKPbB3o5CMA": PriceForged, "OG46wAAMCggBI0VniavN7-mNy0VTKPbB3o5C": PriceBad,
		"ZaCxwAAB4kAAAAAAAAAAAbv7uHQOcXl6jLRW9B": PriceBad, "1.50": PriceBad, "": PriceEmpty, "AUDIT": PriceAudit, "${AUCTION_PRICE}": PriceMacro,
	} {
		if _, is := p.ParsePrice([]byte(raw)); is != want {
			t.Errorf("%s: got %v; want %v", raw, is, want)
		}
	}
	swapped := hmacProfile(t, "", PriceKeySpec{Encryption: googleI, Integrity: googleE})
	if _, is := swapped.ParsePrice([]byte("OG46wAAMCggBI0VniavN7-mNy0VTKPbB3o5CMQ")); is != PriceForged {
		t.Errorf("swapped keys: got %v", is)
	}
	// OpenX counts micros of one impression: 1,000 is 1 CPM.
	if got, is := hmacProfile(t, "cpi_micros", own).ParsePrice([]byte("AAAAAAAAAAAAAAAAAAAAAFUP-B0PUPyio9hRng")); got != 1000 || is != PriceOK {
		t.Errorf("P12: got %d, %v; want 1000", got, is)
	}
	if _, is := hmacProfile(t, "cpi_micros", own).ParsePrice([]byte("_____wAPQj___________-_i8qYYjA6tKiEjMA")); is != PriceBad {
		t.Errorf("E3: a price beyond limits: got %v", is)
	}
}

// E4: the time within an encrypted price.
func TestE4PriceStamp(t *testing.T) {
	conformance.Covers(t, "E4")
	p := hmacProfile(t, "", PriceKeySpec{Encryption: googleE, Integrity: googleI})
	at, iv, ok := p.PriceStamp([]byte("OG46wAAMCggBI0VniavN7-mNy0VTKPbB3o5CMQ"))
	if want := time.Date(2000, 1, 1, 17, 34, 56, 789_000_000, time.UTC); !ok || !at.Equal(want) || iv[0] != 0x38 || iv[15] != 0xef {
		t.Errorf("got %v, %x, %v; want %v", at, iv, ok, want)
	}
	for _, raw := range []string{"", "AUDIT", "AAAA", "${AUCTION_PRICE}"} {
		if _, _, ok := p.PriceStamp([]byte(raw)); ok {
			t.Errorf("%q has a time", raw)
		}
	}
	if _, _, ok := testProfile(t, nil).PriceStamp([]byte("1.5")); ok {
		t.Error("a plain price has a time")
	}
}

// E6: AES-CBC, round trip.
func TestE6AES(t *testing.T) {
	conformance.Covers(t, "E6")
	key, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f")
	p := testProfile(t, func(s *ProfileSpec) {
		s.PriceCodec = "aes-cbc"
		s.PriceKeys = []PriceKeySpec{{Encryption: base64.StdEncoding.EncodeToString(make([]byte, 16))}, {Encryption: base64.StdEncoding.EncodeToString(key)}}
	})
	for text, want := range map[string]rtb.CPM{"0000000000001.50": 1_500_000, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x002.25": 2_250_000} {
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		msg := make([]byte, 32)
		copy(msg, "initialisation v")
		cipher.NewCBCEncrypter(block, msg[:16]).CryptBlocks(msg[16:], []byte(text))
		if got, is := p.ParsePrice([]byte(base64.URLEncoding.EncodeToString(msg))); got != want || is != PriceOK {
			t.Errorf("%q: got %d, %v; want %d", text, got, is, want)
		}
		if _, is := p.ParsePrice([]byte(base64.URLEncoding.EncodeToString(msg[:31]))); is != PriceBad {
			t.Errorf("half a block: got %v", is)
		}
		msg[20] ^= 1
		if _, is := p.ParsePrice([]byte(base64.URLEncoding.EncodeToString(msg))); is != PriceForged {
			t.Errorf("a changed block: got %v", is)
		}
	}
}
