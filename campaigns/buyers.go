package campaigns

import (
	"fmt"
	"hash/fnv"
	"time"

	"rebound/audiences"
	"rebound/internal/spec"
	"rebound/rtb"
)

// BuiltinPrefix begins the ids of audiences that Rebound makes itself; no
// configured audience may begin so.
const BuiltinPrefix = "builtin-"

// BuyersID is the id of the built-in audience of those who bought from an
// advertiser.
func BuyersID(advertiser string) string {
	if len(advertiser) > 40 {
		h := fnv.New64a()
		h.Write([]byte(advertiser))
		advertiser = fmt.Sprintf("%s-%016x", advertiser[:24], h.Sum64())
	}
	return BuiltinPrefix + "buyers-" + advertiser
}

// maxConverters is how far exclude_converters may look back: as long as an
// audience may remember.
const maxConverters = 540 * 24 * time.Hour

// BuyersSpec is the rule of that audience: any purchase, remembered as long as
// anything may be. It goes to [audiences.Compile] with the configured ones.
func BuyersSpec(advertiser string) audiences.Spec {
	return audiences.Spec{
		ID: BuyersID(advertiser), Advertiser: advertiser, TTL: spec.Duration(maxConverters),
		Include: audiences.Rule{Event: "purchase"},
	}
}

// seeksBuyers tells whether the line is for people because they bought: one of
// the audiences that it includes is held by buyers as such. Converters are then
// not excluded unless the configuration asks for it.
func seeksBuyers(a *Audience, buyers *audiences.Program) bool {
	if buyers == nil {
		return false
	}
	held := map[rtb.SegmentID]bool{}
	for _, t := range buyers.Triggers() {
		held[t] = true
	}
	for _, list := range [][]*audiences.Program{a.Include, a.AnyOf} {
		for _, p := range list {
			for _, t := range p.Triggers() {
				if held[t] {
					return true
				}
			}
		}
	}
	return false
}
