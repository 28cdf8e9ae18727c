// Package creatives renders a creative and a visitor's products as safe markup.
//
// It guarantees that a compiled creative has only known macros, each escaped for
// its position; that product texts, which are not trusted, are escaped once, when
// the feed is loaded; that every asset is https unless the creative says
// otherwise; that markup never exceeds the size limit; and that appending markup
// allocates nothing. Exchange macros such as ${AUCTION_PRICE} are left as they
// are. In VAST and native markup, where a text may have to be shortened, product
// texts are escaped when they are appended. Sizes are CSS pixels, amounts micros.
//
// The types of creatives are in kind.go. config compiles creatives and loads
// feeds, campaigns assigns creatives to lines, and bidder checks how they fit,
// selects products and appends markup.
package creatives
