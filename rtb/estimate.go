package rtb

// GoalKind is what a line pays for.
type GoalKind uint8

// The kinds of goals.
const (
	GoalFixed GoalKind = iota // impressions, at a price that the configuration sets
	GoalCPC                   // clicks
	GoalCPA                   // conversions
	GoalROAS                  // the value of conversions
)

// Goal is what the impressions of a line are worth.
type Goal struct {
	Kind GoalKind
	// Target is the worth of a click or a conversion, in the advertiser's currency. Of
	// GoalROAS it is the least revenue per unit of spend, in millionths.
	Target Micros
	// Prior is the value that the configuration gives an impression before anything is
	// known of the line; 0: none.
	Prior CPM
}

// Showing is one way to show an ad, as far as estimates depend on it.
type Showing struct {
	Exchange string
	Line     LineID
	Creative string
	Format   string   // of the ad, as Formats.String
	Features Features // of the visitor, the time and the place
	// Draw is the request's draw in [0, 1).
	Draw float64
}

// Estimate is what one impression is expected to bring.
type Estimate struct {
	Value      CPM     // the value to bid with: the expected value times Draw
	Click      float64 // probability of a click
	Conversion float64 // probability that the impression earns a conversion
	// Deviation is the relative standard deviation of the expected value.
	Deviation float64
	// Draw is the factor that the uncertainty puts on the value in this request.
	Draw float64
	// Worth is the estimated worth of the click or conversion, in micros; 0 if no order is
	// known.
	Worth Micros
	// Multiplier is the least number by which the value is divided, so that conversions
	// do not cost more than the line's goal allows; 1 means no effect.
	Multiplier float64
	// Data is the share of the expected value that rests on data, from 0 (on the line's
	// prior alone) to 1.
	Data float64
}

// HashFeature returns the hash of a feature: a kind, which tells features of equal content
// apart, and two values.
func HashFeature(kind uint8, a, b uint64) uint32 {
	h := (a ^ uint64(kind)<<56) * 0x9e3779b97f4a7c15
	h = (h ^ h>>29 ^ b) * 0xbf58476d1ce4e5b9
	return uint32((h ^ h>>32) * 0x94d049bb133111eb >> 32)
}

// HashText returns a hash of a text for [HashFeature] (FNV-1a).
func HashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
