package rtb

// Parts is a set of the parts of a request that are read only if a configuration asks for
// them. Most configurations need few of them.
type Parts uint8

// The parts, by what they fill of an [Opportunity].
const (
	PartKeywords   Parts = 1 << iota // Keywords
	PartSegments                     // UserSegments
	PartCategories                   // Supply.Cats
	PartBrowser                      // Device.Browser

	AllParts = PartKeywords | PartSegments | PartCategories | PartBrowser
)

// Has reports whether the set contains any of the parts in p.
func (s Parts) Has(p Parts) bool { return s&p != 0 }
