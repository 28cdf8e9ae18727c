// Package privacy decides what a bid or a browser call may do with a visitor:
// from the signals of a request (TCF, GPP, US Privacy, GPC, COPPA, LMT, "not
// personalised" flags, country) to a small [rtb.Permissions], and from the
// parameters of a browser call to a small [Grant].
//
// It guarantees:
//   - Doubt refuses. A signal that is there and cannot be read counts as its
//     refusing answer, a section that is named and missing as an opt-out.
//   - The most restrictive signal wins, and it is named.
//   - It never panics, whatever bytes arrive, and its work is bounded: strings
//     longer than [MaxStringLen] are refused unread, and everything else is one
//     pass over the string.
//   - It looks nothing up: no identifier is read, stored or even passed in, so
//     the gate can stand before every lookup.
//   - The same policy and signals give the same answer; the cache of parsed
//     strings ([Policy.Stats]) only saves time. A decision does not allocate in
//     the steady state.
//
// It calls no clock and no network, knows no third-party parser and has no
// units but characters and vendor ids. bidder calls [Policy.Decide] before it
// looks an identifier up; collect calls [Policy.Browser]; config compiles the
// [Policy] and checks it with [Policy.Check].
package privacy
