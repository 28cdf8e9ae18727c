package tracking

import (
	"encoding/binary"
	"fmt"
	"time"

	"rebound/rtb"
)

// The payload of a token consists of a version, flags, fixed-size ids, numbers as
// varints, and texts preceded by their length. A new field needs a new version; every
// version in use must stay readable for notice_ttl.
const (
	payloadVersion = 2 // the rate is a ratio
	payloadRatePPM = 1 // the rate is in millionths
)

const (
	flagVisitor = 1 << iota
	flagFirstPrice
	flagTest
	flagQuantity
)

func appendClaims(b []byte, kind rtb.NoticeKind, c *rtb.Claims) []byte {
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
	b = append(b, payloadVersion, flags, byte(c.Caps), byte(c.Format), byte(c.BillOn))
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
	if kind == rtb.NoticeClick {
		b = appendText(b, c.Landing)
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

// readClaims reads a payload whose signature has been verified. It still checks
// every field, because another version of the program may have written it.
func readClaims(b []byte, kind rtb.NoticeKind) (rtb.Claims, error) {
	r := &reader{b: b}
	head := r.take(5)
	if head == nil || head[0] != payloadVersion && head[0] != payloadRatePPM {
		return rtb.Claims{}, fmt.Errorf("%w: unknown version", ErrMalformed)
	}
	flags := head[1]
	c := rtb.Claims{
		Caps: rtb.CapSet(head[2]), Format: rtb.Formats(head[3]), BillOn: rtb.BillingSource(head[4]),
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
	if head[0] != payloadRatePPM {
		c.Rate.Den = r.int()
	}
	c.Reserved = rtb.Micros(r.int())
	c.Value = rtb.Micros(r.int())
	c.Expected = rtb.Micros(r.int())
	if flags&flagQuantity != 0 {
		c.Quantity = rtb.Quantity(r.int())
	}
	for _, s := range []*string{&c.Exchange, &c.Node, &c.Grant, &c.Advertiser, &c.Campaign, &c.Line, &c.Creative, &c.Item, &c.Deal} {
		*s = r.text()
	}
	if kind == rtb.NoticeClick {
		c.Landing = r.text()
	}
	if r.bad || len(r.b) > 0 {
		return rtb.Claims{}, fmt.Errorf("%w: payload has another layout", ErrMalformed)
	}
	return c, nil
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
