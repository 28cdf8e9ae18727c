// Package privacy decides what a bid request or a browser call allows us to do
// with a visitor's data. It maps the signals of a request (TCF, GPP, US Privacy,
// GPC, COPPA, LMT, "not personalised" flags, country) to [rtb.Permissions], and
// the parameters of a browser call to a [Grant].
//
// It guarantees:
//   - It fails closed. A signal that cannot be read counts as its more
//     restrictive value, and a section that gpp_sid names but the string lacks
//     counts as an opt-out.
//   - The most restrictive signal wins, and the result names it.
//   - It never panics, whatever the input, and its work is bounded: strings
//     longer than [MaxStringLen] are refused unread, and all others are parsed in
//     one pass.
//   - It reads, stores and receives no identifier, so it can run before every
//     lookup.
//   - The same policy and signals give the same result; the cache of parsed
//     strings ([Policy.Stats]) only saves time. A decision does not allocate in
//     the steady state.
//
// It uses no clock, no network and no third-party parser. Its only units are
// characters and vendor ids. bidder calls [Policy.Decide] before it looks up an
// identifier; collect calls [Policy.Browser]; config compiles the [Policy] and
// checks it with [Policy.Check].
package privacy
