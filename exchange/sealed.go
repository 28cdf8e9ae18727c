package exchange

// PriceSealed tells whether the exchange's prices come with an integrity check
// that only the exchange can make, so that a price is believable even when a
// browser brings it.
func (p *Profile) PriceSealed() bool { return p.priceCodec == codecHMAC }
