package tracking

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"rebound/rtb"
)

// The payload of a token consists of a version, flags, fixed-size ids, numbers as
// varints, and texts preceded by their length. A new field needs a new flag or a new
// version; every version in use must stay readable for notice_ttl.
const (
	payloadVersion    = 4 // one payload for all notices of a bid, preceded by its length
	payloadWithHashes = 3 // as 4, but all tags are hashes
	payloadPerKind    = 2 // a payload of its own for each kind of notice
	payloadRatePPM    = 1 // as 2, and the rate is in millionths
)

const (
	flagVisitor = 1 << iota
	flagFirstPrice
	flagTest
	flagQuantity
	flagRates    // predicted click and conversion rates
	flagFeatures // features for learning
	flagCaps     // caps beyond the first eight, and flights
	flagHour     // an hour that does not begin with one in UTC
)

// payloadHead is the length of a token's first part: the key's id, the version, and the
// length of the payload with this head, big-endian. The payload ends with zeros to a
// multiple of three bytes, so that its base64 text can be followed by more.
const payloadHead = 4

// appendClaims appends the claims without the landing page.
func appendClaims(b []byte, c *rtb.Claims) []byte {
	var flags byte
	if !c.Visitor.IsZero() {
		flags |= flagVisitor
	}
	if c.FirstPrice {
		flags |= flagFirstPrice
	}
	if c.Test {
		flags |= flagTest
	}
	if c.Quantity > 0 {
		flags |= flagQuantity
	}
	if c.ClickPPM|c.ConversionPPM != 0 {
		flags |= flagRates
	}
	if c.Features.N > 0 {
		flags |= flagFeatures
	}
	if c.Caps > math.MaxUint8 || c.Flights != (rtb.Flights{}) {
		flags |= flagCaps
	}
	if c.Hour != 0 {
		flags |= flagHour
	}
	b = append(b, flags, byte(c.Caps), byte(c.Format), byte(c.BillOn))
	b = append(b, c.Bid[:]...)
	if flags&flagVisitor != 0 {
		b = append(b, c.Visitor[:]...)
	}
	b = append(b, c.Currency[:]...)
	b = append(b, c.AdvertiserCurrency[:]...)
	issued := c.Issued.Unix()
	b = binary.AppendVarint(b, issued)
	b = binary.AppendVarint(b, c.WinExpiry.Unix()-issued)
	b = binary.AppendVarint(b, c.BillExpiry.Unix()-issued)
	b = binary.AppendVarint(b, int64(c.Day))
	b = binary.AppendVarint(b, int64(c.Price))
	b = binary.AppendVarint(b, c.Rate.Num)
	b = binary.AppendVarint(b, c.Rate.Den)
	b = binary.AppendVarint(b, int64(c.Reserved))
	b = binary.AppendVarint(b, int64(c.Value))
	b = binary.AppendVarint(b, int64(c.Expected))
	if flags&flagQuantity != 0 {
		b = binary.AppendVarint(b, int64(c.Quantity))
	}
	b = appendText(b, c.Exchange)
	b = appendText(b, c.Node)
	b = appendText(b, c.Grant)
	b = appendText(b, c.Advertiser)
	b = appendText(b, c.Campaign)
	b = appendText(b, c.Line)
	b = appendText(b, c.Creative)
	b = appendText(b, c.Item)
	b = appendText(b, c.Deal)
	if flags&flagRates != 0 {
		b = binary.AppendUvarint(b, uint64(c.ClickPPM))
		b = binary.AppendUvarint(b, uint64(c.ConversionPPM))
	}
	if flags&flagFeatures != 0 {
		n := min(c.Features.N, rtb.MaxFeatures)
		b = append(b, n)
		for _, h := range c.Features.Hash[:n] {
			b = binary.BigEndian.AppendUint32(b, h)
		}
	}
	if flags&flagCaps != 0 {
		b = binary.AppendUvarint(b, uint64(c.Caps>>8))
		for _, d := range c.Flights {
			b = binary.AppendVarint(b, int64(d))
		}
	}
	if flags&flagHour != 0 {
		b = binary.AppendVarint(b, int64(c.Hour))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader reads a payload. The first field that cannot be read makes it bad, and
// every later field reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(len(r.b)-n) {
		r.bad, r.b = true, nil
		return ""
	}
	r.b = r.b[n:]
	return string(r.take(int(v)))
}

func (r *reader) uint32() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxUint32 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

func (r *reader) features() (f rtb.Features) {
	n := r.take(1)
	if len(n) == 0 || n[0] == 0 || n[0] > rtb.MaxFeatures {
		r.bad, r.b = true, nil
		return f
	}
	f.N = n[0]
	b := r.take(4 * int(f.N))
	for i := 0; len(b) > 0; i, b = i+1, b[4:] {
		f.Hash[i] = binary.BigEndian.Uint32(b)
	}
	return f
}

// errLayout means that a payload's signature is right, but another version of the program
// wrote it.
var errLayout = fmt.Errorf("%w: payload has another layout", ErrMalformed)

// readClaims reads a payload without its head, and the landing page that follows it in
// click tokens. The signature has been verified; readClaims still checks every field,
// because another version of the program may have written it.
func readClaims(payload, landing []byte, kind rtb.NoticeKind) (rtb.Claims, error) {
	r := &reader{b: payload}
	c := r.claims(payloadVersion)
	c.Landing = string(landing)
	if r.bad || len(r.b) > 2 || len(bytes.Trim(r.b, "\x00")) > 0 || len(landing) > 0 && kind != rtb.NoticeClick {
		return rtb.Claims{}, errLayout
	}
	return c, nil
}

// readOldClaims reads a payload of the versions before, which begins with its version.
func readOldClaims(b []byte, kind rtb.NoticeKind) (rtb.Claims, error) {
	r := &reader{b: b}
	version := r.take(1)
	if len(version) == 0 || version[0] != payloadPerKind && version[0] != payloadRatePPM {
		return rtb.Claims{}, fmt.Errorf("%w: unknown version", ErrMalformed)
	}
	c := r.claims(version[0])
	if kind == rtb.NoticeClick {
		c.Landing = r.text()
	}
	if r.bad || len(r.b) > 0 {
		return rtb.Claims{}, errLayout
	}
	return c, nil
}

// claims reads the fields that all versions have, and those of versions 3 and 4.
func (r *reader) claims(version byte) (c rtb.Claims) {
	head := r.take(4)
	if head == nil {
		return c
	}
	flags := head[0]
	c = rtb.Claims{
		Caps: rtb.CapSet(head[1]), Format: rtb.Formats(head[2]), BillOn: rtb.BillingSource(head[3]),
		FirstPrice: flags&flagFirstPrice != 0, Test: flags&flagTest != 0,
	}
	copy(c.Bid[:], r.take(len(c.Bid)))
	if flags&flagVisitor != 0 {
		copy(c.Visitor[:], r.take(len(c.Visitor)))
	}
	copy(c.Currency[:], r.take(3))
	copy(c.AdvertiserCurrency[:], r.take(3))
	issued := r.int()
	c.Issued = unix(issued)
	c.WinExpiry = unix(issued + r.int())
	c.BillExpiry = unix(issued + r.int())
	c.Day = rtb.Day(r.int())
	c.Price = rtb.CPM(r.int())
	c.Rate = rtb.Rate{Num: r.int(), Den: 1_000_000}
	if version != payloadRatePPM {
		c.Rate.Den = r.int()
	}
	c.Reserved = rtb.Micros(r.int())
	c.Value = rtb.Micros(r.int())
	c.Expected = rtb.Micros(r.int())
	if flags&flagQuantity != 0 {
		c.Quantity = rtb.Quantity(r.int())
		r.bad = r.bad || c.Quantity <= 0
	}
	for _, s := range []*string{&c.Exchange, &c.Node, &c.Grant, &c.Advertiser, &c.Campaign, &c.Line, &c.Creative, &c.Item, &c.Deal} {
		*s = r.text()
	}
	if version != payloadVersion {
		return c
	}
	if flags&flagRates != 0 {
		c.ClickPPM, c.ConversionPPM = r.uint32(), r.uint32()
	}
	if flags&flagFeatures != 0 {
		c.Features = r.features()
	}
	if flags&flagCaps != 0 {
		c.Caps |= rtb.CapSet(r.uint32()) << 8
		for i := range c.Flights {
			c.Flights[i] = rtb.Day(r.int())
		}
	}
	if flags&flagHour != 0 {
		c.Hour = rtb.Hour(r.int())
	}
	return c
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
