package rtb

import "time"

// PathOffer is one impression as one supply path offers it. Several exchanges, and
// resellers of one exchange, may offer the same impression; a buyer that bids on more
// than one of them competes with itself. The hashes are of text that does not change
// while the process runs.
type PathOffer struct {
	Impression uint64 // visitor, placement, page and size; 0: it cannot be recognised elsewhere
	Market     uint64 // site or app, and size: what paths are compared in
	Path       uint64 // exchange and sellers
	Request    uint64 // exchange and id of the request
	At         time.Time
	Dry        bool // nothing is remembered of the offer

	Cheaper bool // set with same_impression: no other path has a bid, but one is likely to cost less
}

// PathHandle identifies a path in its market at pacing. 0 is no path.
type PathHandle uint64
