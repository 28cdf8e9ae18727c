package campaigns

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"rebound/audiences"
	"rebound/internal/spec"
)

// BuiltinPrefix begins the ids of built-in audiences. No configured audience
// may have it.
const BuiltinPrefix = "builtin-"

// BuyersID returns the id of the built-in audience of an advertiser's buyers.
func BuyersID(advertiser string) string {
	if len(advertiser) > 40 {
		h := fnv.New64a()
		h.Write([]byte(advertiser))
		advertiser = fmt.Sprintf("%s-%016x", advertiser[:24], h.Sum64())
	}
	return BuiltinPrefix + "buyers-" + advertiser
}

// maxConverters is the longest look-back of exclude_converters, which is the
// longest ttl of an audience.
const maxConverters = 540 * 24 * time.Hour

// BuyersSpec returns the rule of that audience: any purchase within the longest
// ttl. It is compiled with the configured audiences by [audiences.Compile].
func BuyersSpec(advertiser string) audiences.Spec {
	return audiences.Spec{
		ID: BuyersID(advertiser), Advertiser: advertiser, TTL: spec.Duration(maxConverters),
		Include: audiences.Rule{Event: "purchase"},
	}
}

// SuppressedID returns the id of the built-in audience of the persons on an advertiser's
// lists whose purpose is to suppress.
func SuppressedID(advertiser string) string {
	return BuiltinPrefix + "suppressed" + strings.TrimPrefix(BuyersID(advertiser), BuiltinPrefix+"buyers")
}

// SuppressedSpec returns the rule of that audience.
func SuppressedSpec(advertiser string) audiences.Spec {
	return audiences.Spec{ID: SuppressedID(advertiser), Advertiser: advertiser, Include: audiences.Rule{List: audiences.SuppressLists}}
}

// seeksBuyers reports whether an audience that the line includes counts purchases. Such
// a line does not exclude converters by default.
func seeksBuyers(a *Audience) bool {
	for _, list := range [][]*audiences.Program{a.Include, a.AnyOf} {
		for _, p := range list {
			if p.Counts("purchase") {
				return true
			}
		}
	}
	return false
}
