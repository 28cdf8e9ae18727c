package creatives

import (
	"time"

	"rebound/rtb"
)

// BoughtFor is how long a product is not shown after it was bought (domain rule
// c8).
const BoughtFor = 30 * 24 * time.Hour

// Fill is a source of products.
type Fill uint8

// Sources of products.
const (
	FillCart Fill = iota + 1
	FillViewed
	FillWishlist
	FillComplements // complements of products that the visitor has seen or bought
)

// Fills is a set of sources.
type Fills uint8

func (s Fills) with(f Fill) Fills { return s | 1<<f }

func (s Fills) has(f Fill) bool { return s&(1<<f) != 0 }

var fillNames = []string{"", "cart", "viewed", "wishlist", "complements"}

// fillOf maps the kind of a visitor's contact with a product to a source.
var fillOf = [...]Fill{rtb.ProductViewed: FillViewed, rtb.ProductWished: FillWishlist, rtb.ProductCarted: FillCart}

// Select appends the product to show to a visitor: the latest one that is in a
// source of the creative's fill, in stock, of the advertiser and not bought
// within [BoughtFor]. If there is none and the fill includes complements, it
// appends a product that complements one of the visitor's. It appends nothing
// if there is no such product, and does not allocate if dst has room. Of the creative
// only its fill matters.
func (c *Creative) Select(dst []*Product, v *rtb.Visitor, f *Feed, advertiser string, now time.Time) []*Product {
	if f == nil {
		return dst
	}
	for i := range v.Products {
		seen := &v.Products[i]
		if seen.Advertiser != advertiser || bought(seen, now) {
			continue
		}
		kind := seen.Kind
		if kind == rtb.ProductBought {
			kind = rtb.ProductViewed // bought long ago
		}
		if int(kind) >= len(fillOf) || !c.Fill.has(fillOf[kind]) {
			continue
		}
		if p := f.Product(seen.ID); p != nil && p.InStock {
			return append(dst, p)
		}
	}
	if c.Fill.has(FillComplements) {
		return appendComplement(dst, v, f, advertiser, now)
	}
	return dst
}

func appendComplement(dst []*Product, v *rtb.Visitor, f *Feed, advertiser string, now time.Time) []*Product {
	for i := range v.Products {
		if v.Products[i].Advertiser != advertiser {
			continue
		}
		met := f.Product(v.Products[i].ID)
		if met == nil {
			continue
		}
		for _, id := range met.Complements {
			if p := f.Product(id); p != nil && p.InStock && !boughtID(v, advertiser, id, now) {
				return append(dst, p)
			}
		}
	}
	return dst
}

func bought(seen *rtb.ProductSeen, now time.Time) bool {
	return seen.Kind == rtb.ProductBought && now.Sub(seen.Last.Time()) <= BoughtFor
}

func boughtID(v *rtb.Visitor, advertiser, id string, now time.Time) bool {
	for i := range v.Products {
		if seen := &v.Products[i]; seen.Advertiser == advertiser && seen.ID == id && bought(seen, now) {
			return true
		}
	}
	return false
}
