// Package collect is the edge that browsers and the servers of advertisers talk to: the
// pixel, the beacon of the tag, server events and the match of exchange user ids.
//
// It guarantees that an event is in the log before its sender gets a success, that
// nothing is read or stored about a visitor whose privacy signals forbid it, that a fact
// contains keyed hashes and never an e-mail address, an IP address, a user agent or a
// consent string, and that bad input is counted by reason and never breaks a page: the
// pixel always returns its GIF. Amounts are in micros.
//
// Identifiers become keys as follows, and a lookup must spell them the same way. Our
// visitor id: the whole value of the cookie, or user.uid as sent. ifa: in lower case.
// xid: trimmed. eid: as sent, from a listed source in lower case. em and ph: the SHA-256
// as 64 lower-case hex digits. A server event without user.uid belongs to the visitor to
// which its first linked identifier (ifa, xid, eid, em, ph, in this order) is linked. If
// none is linked, it belongs to a new visitor whose id is "<kind>:<scope>:<identifier>"
// of the first one, and the links are appended together with the event.
//
// A browser that does not keep cookies is a new visitor on every hit: its events become
// facts and short-lived profiles that no bid request ever matches. It cannot hijack or
// dilute an identity: without a cookie, an identifier that is already linked is not
// linked again, whereas a browser that keeps cookies links it on its next hit. New
// visitor ids and refused links are counted.
//
// Handlers (handler*.go) are thin; parsing is done by plain functions over bytes.
// cmd/bidder calls this package.
package collect
