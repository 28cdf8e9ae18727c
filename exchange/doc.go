// Package exchange speaks OpenRTB 2.5 and 2.6 with ad exchanges: it reads bid
// requests into [rtb.Opportunity], writes bid responses, and holds what differs
// between exchanges in a [Profile]: macros, price encodings, limits, billing.
//
// It guarantees:
//
//   - [Decoder.Head] accepts exactly the JSON texts of RFC 8259 in valid UTF-8
//     (a leading byte order mark is skipped), nested at most [MaxDepth] deep;
//     everything else is [ErrMalformed]. Work and memory are linear in the body.
//   - Reading allocates nothing in the steady state. What it returns are views
//     into the body or into the decoder's memory, valid until the next Head.
//   - A scalar of the wrong shape never loses the auction: 1, 1.0, "1" and true
//     are the same flag, numbers may stand in strings, null is absent. A privacy
//     signal, floor or block list that cannot be read is marked so that its
//     reader refuses; it never becomes "no restriction".
//   - Duplicate keys are never merged. The last one wins, but for: privacy
//     signals (the most restrictive of all, case variants of the key included;
//     consent strings that differ count as unreadable), floors (the highest),
//     secure (the strictest) and block lists (unreadable).
//   - An id may be a number; it is its text then, and echoed as text. An id that
//     has no UTF-8 form (half a surrogate pair) or more than 1024 bytes is none;
//     in any other text half a pair reads as U+FFFD.
//   - Responses are valid for both versions; request ids come back byte for
//     byte, and macros such as ${AUCTION_PRICE} stay literal.
//
// Money is micros of the major unit, prices are CPM. The package knows nothing
// of users or budgets. bidder calls the decoder and the encoder, tracking the
// price and loss parsers, the writer of the bid log [Profile.Redact], config
// [ProfileSpec.Compile].
package exchange
