// Package exchange implements OpenRTB 2.3 to 2.6 for ad exchanges. It decodes bid
// requests into [rtb.Opportunity], encodes bid responses, and describes the
// differences between exchanges in a [Profile]: macros, price encodings, limits
// and billing.
//
// It guarantees:
//
//   - [Decoder.Head] and [Decoder.Rest] together accept exactly the JSON texts of
//     RFC 8259 in valid UTF-8 (a leading byte order mark is skipped), nested at most
//     [MaxDepth] deep; everything else is [ErrMalformed]. Head finds whatever is
//     wrong with strings, brackets, control characters and UTF-8 anywhere in the
//     body, and every error in what it reads. Errors in values that it skips are
//     found by Rest, so there is never a bid on them. Work and memory are linear in
//     the body.
//   - Decoding does not allocate in the steady state. Results are views into the
//     body or into the decoder's memory and are valid until the next Head.
//   - A scalar of the wrong type never loses the auction: 1, 1.0, "1" and true
//     are the same flag, a string may hold a number, and null is absent. A privacy
//     signal, floor or block list that cannot be read is marked as such, so that
//     the decision refuses; it never becomes "no restriction".
//   - Lists whose entries are joined in one text are split. Host names are in
//     ASCII (punycode), and media types have their registered names.
//   - Duplicate keys are never merged. The last one wins, with these exceptions:
//     of privacy signals, case variants of the key included, the most restrictive
//     one applies, and consent strings that differ are unreadable; of floors the
//     highest applies; of secure the strictest; a duplicate block list is
//     unreadable.
//   - An id may be a number; it is then treated and echoed as text. An id that is
//     not valid Unicode (half a surrogate pair) or longer than 1024 bytes counts as
//     absent; in other texts half a pair becomes U+FFFD.
//   - A response has only fields of the profile's version of OpenRTB, and those
//     that the profile lists. It echoes request ids byte for byte, and macros such
//     as ${AUCTION_PRICE} stay literal.
//
// # How a request is read
//
// A pass over the whole body, 64 bytes at a time, first makes an index: for each class
// of byte a word whose bits tell where in the block such bytes are. It knows what is
// inside strings, and which brackets belong together. Reading then goes through
// the body as if the index were not there: it enters an object, compares the names
// of members, takes values or skips them. But to get to the end of a string is to
// find the next bit of a word, and to skip a container, however large, is to look
// up where it ends. See index.go for the index, scan.go for the reading and check.go
// for the grammar; docs/decisions/011-scanner.md has the measurements.
//
// Money is micros of the major unit, prices are CPM. The package knows nothing
// about users or budgets. bidder calls the decoder and the encoder, tracking calls
// the parsers of prices and losses, the writer of the bid log calls
// [Decoder.AppendRedacted], and config calls [ProfileSpec.Compile].
package exchange
