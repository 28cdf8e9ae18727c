package rtb

// Slot is a kind of place for an ad whose prices are alike, for instance banners of about
// the same size. Its numbers are stored: they never change their meaning.
type Slot uint8

// The kinds of slots.
const (
	SlotOther Slot = iota
	SlotBannerMobile
	SlotBannerRectangle
	SlotBannerLeaderboard
	SlotBannerTall
	SlotBannerLarge
	SlotVideo
	SlotNative
	SlotAudio
)

// Ask is what a price is asked for.
type Ask struct {
	Value    CPM // in the currency of the budgets
	Floor    CPM // the same
	Auction  int // AuctionFirstPrice, AuctionSecondPrice or AuctionFixedPrice; only first-price bids are shaded
	Exchange string
	Slot     Slot
	// Multiplier is the least number by which the value is divided, whatever the budgets
	// allow; below 1 it has no effect.
	Multiplier float64
	Draw       float64 // the request's draw in [0, 1); it decides whether the price is randomised
}

// Quote is the price that pacing sets for one possible bid.
type Quote struct {
	Multiplier float64 // the value is divided by it; at least 1
	Shading    float64 // share of the price that is bid; 1 means no shading
	Price      CPM     // bid price, in the currency of the budgets
	Learned    bool    // the price is shaded on what was learned of such slots
	Explored   bool    // the price is randomised, to learn
	Chance     float64 // estimated chance that the bid wins
	Expected   Micros  // expected cost: the cost of the bid times its chance to win
	Full       Micros  // the expected cost at full price, with a multiplier of 1
}

// LineHandle is a line's number at pacing, which is never given to another line
// while the process runs. 0 is no line.
type LineHandle int32

// Observation tells pacing about one request on which a line could have bid. A request
// that stands for others, because not every line is priced on every request, has their
// number as its weight, and Quotes and Full are multiplied by it.
type Observation struct {
	Requests int64  // the weight
	Expected Micros // expected cost of the line's bids; 0 if it did not bid
	Quotes   int64  // how often the line was priced
	Full     Micros // sum of the expected costs at full price
}
