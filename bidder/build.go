package bidder

import (
	"errors"

	"rebound/creatives"
	"rebound/rtb"
)

// buildBid builds the offer of a reserved bid: its notice URLs, extension and
// markup.
func (d *Decision) buildBid(b *Bid, opt *option) rtb.NoBidReason {
	c, l, of, imp := &b.Claims, b.Line, &b.Offer, &d.opportunity.Imps[opt.imp]
	domains := d.catalog.registrable(l.Advertiser)
	*of = rtb.Offer{
		Imp: opt.imp, Bid: c.Bid, Price: c.Price, Currency: c.Currency, Format: c.Format, Size: opt.Size, Flex: opt.Flex,
		Campaign: l.ID.Campaign, CreativeID: b.Creative.CRIDOf(opt.Size), AdDomains: domains[:min(1, len(domains))],
		Cats: categoriesOf(b.Creative, l.Advertiser), CatTax: ourTaxonomy, Attrs: b.Creative.Attrs, Language: b.Creative.Language,
		APIs: b.Creative.APIsOn(imp), Exp: d.profile.Exp(c.Format), IURL: b.Creative.IURL, Protocol: opt.Protocol,
		Duration: b.Creative.Duration,
	}
	if deal := d.dealOf(opt); deal != nil {
		of.Deal = deal.ID
	}
	if l.App != nil {
		of.Bundle = l.App.Bundle
	}
	links, ok := d.buildLinks(of, c)
	if !ok {
		return rtb.NoBidTooLarge
	}
	if of.Ext, ok = d.buildExt(l, imp); !ok {
		return rtb.NoBidNoFormat // none of the impression's billing ids is ours
	}
	if r := d.buildMarkup(b, imp, &links); r != rtb.NoBidNone {
		return r
	}
	switch field, ok := d.profile.Fits(of); {
	case ok:
		return rtb.NoBidNone
	case field == "crid", field == "adomain", field == "adm_max":
		return rtb.NoBidTooLarge
	}
	return rtb.NoBidRequiredField
}

// buildMarkup appends the creative's markup as a JSON string.
func (d *Decision) buildMarkup(b *Bid, imp *rtb.Impression, links *adLinks) rtb.NoBidReason {
	start := len(d.text)
	macro, escaped := d.profile.ClickMacros(b.Claims.Format)
	split := len(macro)
	d.macros = append(append(d.macros[:0], macro...), escaped...)
	m := &d.markup
	*m = creatives.Markup{
		Size: b.Offer.Size, Products: b.Products, Click: links.click, Pixel: links.pixel, View: links.view,
		SafeClick: links.safeClick, SafePixel: links.safePixel,
		ClickMacro: d.macros[:split:split], ClickMacroEsc: d.macros[split:],
		Advertiser: b.Line.ID.Advertiser, Campaign: b.Line.ID.Campaign, Line: b.Line.ID.Line,
		SiteDomain: d.opportunity.Supply.Domain, CacheBuster: d.source.Uint64(), Now: d.now,
		EventBase: links.eventBase, EventQuery: links.eventQuery,
		Imp: imp, Wrap: d.profile.WrapNative(&imp.Native), Protocol: b.Offer.Protocol, BidID: b.Claims.Bid,
	}
	text, size, err := b.Creative.AppendQuoted(d.text, m)
	*m = creatives.Markup{}
	switch {
	case errors.Is(err, creatives.ErrTooLarge):
		return rtb.NoBidTooLarge
	case err != nil:
		return rtb.NoBidNoFormat
	}
	d.text = text
	b.Offer.Markup, b.Offer.MarkupSize = text[start:len(text):len(text)], size
	return rtb.NoBidNone
}
