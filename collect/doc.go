// Package collect is the edge that visitors and advertisers' servers talk to:
// the pixel, the tag's beacon, server events and the match of exchange ids.
//
// It guarantees that an event is in the log before its caller is told so, that
// nothing is read or stored about a visitor whose signals refuse it, that a
// fact holds keyed hashes and never an e-mail address, an IP address, a user
// agent or a consent string, and that bad input is counted by its reason and
// never breaks a page: the pixel always answers its GIF. Amounts are micros.
//
// An identifier becomes a key as follows; whoever looks one up must write it
// the same way. Our visitor id: the whole cookie value, or user.uid as sent.
// ifa: lower case. xid: trimmed. eid: as sent, of a listed source in lower case.
// em and ph: the SHA-256 as 64 lower-case hex digits. A server event that names
// no user.uid belongs to the visitor that its first other identifier (ifa, xid,
// eid, em, ph) is linked to already; when none is linked, to a visitor whose id
// is "<kind>:<scope>:<identifier>" of the first, and the links are appended with
// it.
//
// A browser that keeps no cookies is a new visitor at each hit: its events are
// facts, and profiles of one event that expire like any other, which no bid ever
// finds. It cannot wear out an identity: where no cookie came, an identifier that
// is linked already is not linked anew; a browser that does keep cookies links
// it at its next hit. Ids minted and links not made are counted.
//
// cmd/bidder is its caller. Handlers are thin (handler*.go); what they parse is
// plain functions over bytes.
package collect
