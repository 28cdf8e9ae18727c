package creatives

import (
	"strings"
	"time"

	"rebound/rtb"
)

// BoughtFor is how long a bought product is not shown again (domain rule c8).
const BoughtFor = 30 * 24 * time.Hour

// Fill says where products come from.
type Fill uint8

// The sources of products.
const (
	FillCart Fill = iota + 1
	FillViewed
	FillWishlist
	FillComplements // what goes with products that the visitor met or bought
)

var fillNames = []string{"", "cart", "viewed", "wishlist", "complements"}

// fillOf are the products that the visitor met in a way.
var fillOf = [...]Fill{rtb.ProductViewed: FillViewed, rtb.ProductWished: FillWishlist, rtb.ProductCarted: FillCart}

// FoldID is a product id as feeds, profiles and rules compare it.
func FoldID(id string) string { return strings.ToLower(strings.TrimSpace(id)) }

// Select appends the product to show to a visitor: of what the visitor met in
// one of the ways of the creative's fill, the last that is in stock, of the
// advertiser and not bought within [BoughtFor]; where there is none and the fill
// says so, what goes with the visitor's products. Nothing is appended where none
// fits. It does not allocate when dst has room.
func (c *Creative) Select(dst []*Product, v *rtb.Visitor, f *Feed, advertiser string, now time.Time) []*Product {
	if f == nil {
		return dst
	}
	complements := false
	var met [FillComplements + 1]bool
	for _, fill := range c.Fill {
		met[fill] = true
		complements = complements || fill == FillComplements
	}
	for i := range v.Products {
		seen := &v.Products[i]
		if seen.Advertiser != advertiser || bought(seen, now) {
			continue
		}
		kind := seen.Kind
		if kind == rtb.ProductBought {
			kind = rtb.ProductViewed // bought long ago, met again or due again
		}
		if int(kind) >= len(fillOf) || !met[fillOf[kind]] {
			continue
		}
		if p := f.Product(seen.ID); p != nil && p.InStock {
			return append(dst, p)
		}
	}
	if complements {
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
