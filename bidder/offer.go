package bidder

import (
	"bytes"
	"encoding/binary"
	"errors"

	"rebound/creatives"
	"rebound/events"
	"rebound/rtb"
)

// offer turns an option into a bid: claims, reservation, signed links, markup.
// What was reserved is released when the rest fails.
func (out *Outcome) offer(in *Input, opt *option, m *matched) rtb.NoBidReason {
	out.Bids = append(out.Bids, Bid{})
	b := &out.Bids[len(out.Bids)-1]
	b.Line, b.Creative, b.Value, b.Quote = m.line, opt.creative, opt.money.value, opt.money.quote
	b.Products = out.work.products[opt.products[0]:opt.products[1]:opt.products[1]]
	b.Factors = factors(m, &opt.money)
	fillClaims(in, b, opt)
	if r := in.Budgets.Reserve(&b.Claims, in.Visitor, m.line.Frequency); r != rtb.NoBidNone {
		out.Bids = out.Bids[:len(out.Bids)-1]
		return r
	}
	if in.Dry {
		in.Budgets.Release(b.Claims.Bid)
		b.Claims.Test = true
	}
	start := len(out.work.text)
	r := out.dress(in, b, opt)
	if r != rtb.NoBidNone {
		if !in.Dry {
			in.Budgets.Release(b.Claims.Bid)
		}
		out.work.text = out.work.text[:start]
		out.Bids = out.Bids[:len(out.Bids)-1]
	}
	return r
}

func factors(m *matched, p *money) events.Factors {
	return events.Factors{
		CPM: m.line.Bid.CPM, Recency: p.recency, Intensity: p.intensity, Multiplier: p.quote.Multiplier,
		Shading: p.quote.Shading, Adjust: p.adjust, Rate: float64(p.rate) / rtb.RateOne, Floor: p.floor,
	}
}

// fillClaims says everything that a notice will need. Node, grant, caps and
// day are the reservation's to fill in.
func fillClaims(in *Input, b *Bid, opt *option) {
	p, l, c := &opt.money, b.Line, &b.Claims
	format := opt.creative.Format
	*c = rtb.Claims{
		Bid: newBidID(in.Source), Exchange: in.Exchange.ID, Advertiser: l.ID.Advertiser, Campaign: l.ID.Campaign, Line: l.ID.Line,
		Creative: opt.creative.ID, Visitor: in.Visitor.Key, Landing: opt.creative.Landing(b.Products),
		Price: p.price, Currency: p.currency, AdvertiserCurrency: l.Advertiser.Currency, Rate: p.rate,
		Format: format, BillOn: in.Exchange.BillingSource(format), FirstPrice: p.first, Test: in.Opportunity.Test,
		Issued: in.Now, Value: p.value.Cost(), Expected: p.quote.Expected,
	}
	if len(b.Products) > 0 {
		c.Item = b.Products[0].ID
	}
	c.Quantity = quantity(in.Opportunity.Imps[opt.imp].Qty)
	if d := opt.dealOf(&in.Opportunity.Imps[opt.imp]); d != nil {
		if c.Deal = opt.dealID; c.Deal == "" {
			c.Deal = string(d.ID)
		}
	}
	c.WinExpiry, c.BillExpiry = lives(in, &in.Opportunity.Imps[opt.imp], format)
	c.Reserved = c.Charge(p.price)
}

func newBidID(s Source) (id rtb.BidID) {
	binary.LittleEndian.PutUint64(id[:8], s.Uint64())
	binary.LittleEndian.PutUint64(id[8:], s.Uint64())
	return id
}

// dress gives a covered bid its links and its markup.
func (out *Outcome) dress(in *Input, b *Bid, opt *option) rtb.NoBidReason {
	c, l := &b.Claims, b.Line
	of, domains := &b.Offer, in.Catalog.registrable(l.Advertiser)
	*of = rtb.Offer{
		Imp: opt.imp, Bid: c.Bid, Price: c.Price, Currency: c.Currency, Format: c.Format, Size: opt.size, Flex: opt.flex,
		Campaign: l.ID.Campaign, CreativeID: b.Creative.CRIDOf(opt.size), AdDomains: domains[:min(1, len(domains))],
		Cats: catsOf(b.Creative, l.Advertiser), CatTax: ourTaxonomy, Attrs: b.Creative.Attrs, Language: b.Creative.Language,
		APIs: b.Creative.APIs, Exp: int(in.Exchange.Exp(c.Format).Seconds()), IURL: b.Creative.IURL, Protocol: opt.protocol,
	}
	imp := &in.Opportunity.Imps[opt.imp]
	if k := b.Creative.Clip; k != nil {
		of.Duration, of.APIs = int(k.Duration.Seconds()), b.Creative.APIsOn(videoOf(imp, c.Format))
	}
	if !out.notices(in, of, c) {
		return rtb.NoBidTooLarge
	}
	links, ok := out.adLinks(in, c)
	if !ok {
		return rtb.NoBidTooLarge
	}
	if d := opt.dealOf(imp); d != nil {
		of.Deal = d.ID
	}
	out.disclose(in, b, imp)
	if !out.extend(in, of, c) {
		return rtb.NoBidNoFormat // none of the impression's billing ids is ours
	}
	if r := out.markup(in, b, imp, &links); r != rtb.NoBidNone {
		return r
	}
	switch field, ok := in.Exchange.Fits(of); {
	case ok:
		return rtb.NoBidNone
	case field == "crid", field == "adomain", field == "adm_max":
		return rtb.NoBidTooLarge
	}
	return rtb.NoBidNoFormat // a field that the exchange wants and we have nothing for
}

// link is a signed URL with the exchange's macros behind it; nil when it would
// be too long.
func (out *Outcome) link(in *Input, kind rtb.NoticeKind, c *rtb.Claims) []byte {
	return out.linkWith(in, kind, kind, c)
}

// linkWith is a link with the macros of another kind of notice.
func (out *Outcome) linkWith(in *Input, kind, macros rtb.NoticeKind, c *rtb.Claims) []byte {
	start := len(out.work.text)
	out.work.text = in.Links.AppendURL(out.work.text, kind, c)
	if len(out.work.text) == start {
		return nil
	}
	if out.work.text = in.Exchange.AppendMacros(out.work.text, macros); len(out.work.text)-start > maxURL {
		out.work.text = out.work.text[:start]
		return nil
	}
	return out.work.text[start:len(out.work.text):len(out.work.text)]
}

// adLinks are the URLs that stand in the markup.
type adLinks struct {
	pixel, click, view    []byte
	eventBase, eventQuery []byte // around the name of a video event
}

// adLinks signs the URLs of the markup; ok is false when one would be too long.
// The impression of a film is the notice that bills, where that is VAST's, else
// the pixel's.
func (out *Outcome) adLinks(in *Input, c *rtb.Claims) (l adLinks, ok bool) {
	imp, macros := rtb.NoticeImp, rtb.NoticeImp
	if c.BillOn == rtb.BillOnVAST {
		imp = rtb.NoticeVideo
	}
	if c.Format == rtb.FormatVideo || c.Format == rtb.FormatAudio {
		macros = rtb.NoticeVideo // what the exchange replaces in VAST is another matter
	}
	l.pixel, l.click = out.withConsent(in, out.linkWith(in, imp, macros, c)), out.link(in, rtb.NoticeClick, c)
	if l.pixel == nil || l.click == nil || c.Format == rtb.FormatBanner {
		return l, l.pixel != nil && l.click != nil
	}
	if l.view = out.link(in, rtb.NoticeView, c); l.view == nil {
		return l, false
	}
	if c.Format == rtb.FormatVideo || c.Format == rtb.FormatAudio {
		start := len(out.work.text)
		out.work.text = in.Links.AppendURL(out.work.text, rtb.NoticeVideo, c)
		if len(out.work.text) == start {
			return l, false
		}
		l.eventBase, l.eventQuery = cutEvent(out.work.text[start:])
	}
	return l, true
}

// cutEvent takes the name of the event out of the URL of a video impression:
// what is left is for any event. A URL without the name stands for all of them.
func cutEvent(u []byte) (base, query []byte) {
	const name = "impression"
	i := bytes.LastIndex(u, []byte("/"+name+"?"))
	if i < 0 {
		return u[:len(u):len(u)], nil
	}
	i++
	return u[:i:i], u[i+len(name) : len(u) : len(u)]
}

func (out *Outcome) markup(in *Input, b *Bid, imp *rtb.Impression, links *adLinks) rtb.NoBidReason {
	start := len(out.work.text)
	out.work.macros = append(append(out.work.macros[:0], in.Exchange.ClickMacro...), in.Exchange.ClickMacroEsc...)
	cut := len(in.Exchange.ClickMacro)
	m := &out.work.fill
	*m = creatives.Markup{
		Size: b.Offer.Size, Products: b.Products, Click: links.click, Pixel: links.pixel, View: links.view,
		ClickMacro: out.work.macros[:cut:cut], ClickMacroEsc: out.work.macros[cut:],
		Advertiser: b.Line.ID.Advertiser, Campaign: b.Line.ID.Campaign, Line: b.Line.ID.Line,
		SiteDomain: in.Opportunity.Supply.Domain, CacheBuster: in.Source.Uint64(), Now: in.Now,
		EventBase: links.eventBase, EventQuery: links.eventQuery,
	}
	switch b.Claims.Format {
	case rtb.FormatNative:
		m.Native, m.Wrap = &imp.Native, in.Exchange.WrapNative(&imp.Native)
	case rtb.FormatVideo, rtb.FormatAudio:
		m.Video, m.Protocol = videoOf(imp, b.Claims.Format), b.Offer.Protocol
		out.work.id, _ = b.Claims.Bid.AppendText(out.work.id[:0])
		m.BidID = out.work.id
	}
	text, err := b.Creative.Append(out.work.text, m)
	*m = creatives.Markup{}
	switch {
	case errors.Is(err, creatives.ErrTooLarge):
		return rtb.NoBidTooLarge
	case err != nil:
		return rtb.NoBidNoFormat
	}
	out.work.text = text
	b.Offer.Markup = text[start:len(text):len(text)]
	return rtb.NoBidNone
}
