package creatives

import (
	"errors"
	"strconv"
	"time"

	"rebound/rtb"
)

// Errors of [Creative.AppendQuoted].
var (
	ErrTooLarge  = errors.New("markup is larger than the limit")
	ErrNoProduct = errors.New("the creative needs a product and has none")
	ErrProtocol  = errors.New("the creative cannot be written in the protocol")
)

// Markup holds the values that a bid adds to a creative. Everything in it is borrowed until
// AppendQuoted returns.
type Markup struct {
	Size     rtb.Size
	Products []*Product
	Click    []byte // our signed click URL, complete
	// SafeClick and SafePixel are how many bytes at the start of Click and Pixel need no
	// escaping ([rtb.MarkupSafe]).
	SafeClick, SafePixel int
	// ClickMacro is the click macro of the exchange. It is put unescaped before
	// our URL, which is then percent-encoded. If it is empty, our URL is used
	// alone.
	ClickMacro []byte
	// ClickMacroEsc is the click macro of the exchange for use inside another
	// redirect.
	ClickMacroEsc []byte
	Pixel         []byte // the URL of our impression pixel, with exchange macros unescaped
	Advertiser    string
	Campaign      string
	Line          string
	SiteDomain    []byte // from the request, not trusted
	CacheBuster   uint64
	Now           time.Time // for sale prices

	// Imp is the impression that the markup answers: native markup has its
	// assets, VAST only media files that fit it.
	Imp      *rtb.Impression
	View     []byte // our URL for a viewable impression
	Wrap     bool   // native markup is wrapped in {"native":...}
	Protocol int    // AdCOM protocol that the bid declares
	BidID    rtb.BidID
	// EventBase, the name of an event and EventQuery form our URL of a video
	// event.
	EventBase, EventQuery []byte
}

// AppendQuoted appends the creative's markup as a JSON string, and returns its size in
// bytes before escaping. On error it returns dst unchanged: [ErrNoProduct],
// [ErrTooLarge] or [ErrProtocol]. It allocates only to grow dst.
func (c *Creative) AppendQuoted(dst []byte, m *Markup) (out []byte, size int, err error) {
	if c.NeedsProduct && len(m.Products) == 0 {
		return dst, 0, ErrNoProduct
	}
	start := len(dst)
	dst, size, err = c.body.append(append(dst, '"'), c, m)
	if err == nil && size > c.MaxBytes {
		err = ErrTooLarge
	}
	if err != nil {
		return dst[:start], 0, err
	}
	return append(dst, '"'), size, nil
}

// text returns the text of an item macro.
func (p *Product) text(m macro, now time.Time) *Text {
	switch m {
	case macroTitle:
		return &p.Title
	case macroSalePrice:
		if p.OnSale(now) {
			return &p.SalePrice
		}
		return &p.Price
	case macroImage:
		return &p.Image
	case macroLink:
		return &p.Link
	case macroItemID:
		return &p.SKU
	case macroBrand:
		return &p.Brand
	}
	return &p.Price
}

// appendForm appends a product's text in the form that its position requires.
func appendForm(dst []byte, t *Text, at place) []byte {
	switch at {
	case inURL:
		return append(dst, t.URL...)
	case inJS:
		return append(dst, t.JS...)
	}
	return append(dst, t.HTML...)
}

// appendLink appends one of our URLs, of which a number of bytes at the start are safe, and
// returns the index up to which the output needs no escaping for JSON.
func (p *piece) appendLink(dst, url []byte, safe int) (out []byte, plain int) {
	if p.place == inURL || p.place == inJS {
		safe = 0
	}
	dst = append(dst, url[:safe]...)
	return appendEscaped(dst, url[safe:], p.place), len(dst)
}

// append appends a value, and returns the index up to which the output needs no escaping
// for JSON.
func (p *piece) append(dst []byte, c *Creative, m *Markup) (out []byte, plain int) {
	switch {
	case p.macro == macroClick && len(m.ClickMacro) == 0:
		return p.appendLink(dst, m.Click, m.SafeClick)
	case p.macro == macroPixel:
		return p.appendLink(dst, m.Pixel, m.SafePixel)
	}
	return p.appendValue(dst, c, m), len(dst)
}

// appendValue appends the value of any other macro.
func (p *piece) appendValue(dst []byte, c *Creative, m *Markup) []byte {
	switch p.macro {
	case macroClick:
		return appendURL(append(dst, m.ClickMacro...), m.Click)
	case macroClickEsc:
		if len(m.ClickMacroEsc) > 0 {
			return appendURL2(append(dst, m.ClickMacroEsc...), m.Click)
		}
		return appendURL(dst, m.Click)
	case macroAdvertiser:
		return appendEscaped(dst, m.Advertiser, p.place)
	case macroCampaign:
		return appendEscaped(dst, m.Campaign, p.place)
	case macroLine:
		return appendEscaped(dst, m.Line, p.place)
	case macroCreative:
		return appendEscaped(dst, c.ID, p.place)
	case macroSiteDomain:
		return appendHost(dst, m.SiteDomain)
	case macroCB:
		return strconv.AppendUint(dst, m.CacheBuster, 10)
	case macroWidth:
		return strconv.AppendInt(dst, int64(m.Size.W), 10)
	case macroHeight:
		return strconv.AppendInt(dst, int64(m.Size.H), 10)
	}
	return appendForm(dst, m.Products[0].text(p.macro, m.Now), p.place)
}

// appendEscaped appends one of our own texts in the form that its position
// requires. Exchange macros in it stay unescaped, except in a part of a URL.
func appendEscaped[T ~string | ~[]byte](dst []byte, s T, at place) []byte {
	switch at {
	case inURL:
		return appendURL(dst, s)
	case inJS:
		return appendJS(dst, s)
	}
	return appendHTML(dst, s)
}
