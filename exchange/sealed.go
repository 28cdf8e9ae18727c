package exchange

// PriceSealed reports whether prices carry a signature that only the exchange can
// create, so that a price can be trusted even if a browser delivers it.
func (p *Profile) PriceSealed() bool { return p.priceCodec == codecHMAC }
