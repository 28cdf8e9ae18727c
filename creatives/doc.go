// Package creatives turns a chosen creative and a visitor's products into safe
// markup.
//
// It guarantees that a compiled creative substitutes only known macros, each
// escaped for the place where it stands; that product texts, which come from
// outside, are escaped once, when the feed is loaded; that every asset is
// https unless the creative says otherwise; that markup never exceeds the size
// limit; and that appending markup allocates nothing. Exchange macros such as
// ${AUCTION_PRICE} are left as they are. In VAST and native markup, where a text
// may have to be cut, product texts are escaped as they are appended. Sizes are CSS
// pixels, amounts micros.
//
// config compiles creatives and loads feeds; campaigns hangs creatives under
// lines; bidder selects products and appends markup.
package creatives
