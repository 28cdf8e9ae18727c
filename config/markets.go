package config

import (
	"strings"

	"rebound/internal/spec"
)

// markets warns of creatives that an exchange would drop, before bids are lost
// (conformance M20, R5, R6, R16).
func (l *loader) markets(s *Snapshot) {
	for i := range s.Exchanges {
		p, at := s.Profiles[s.Exchanges[i].ID], spec.At("exchanges", i)
		if p == nil {
			continue
		}
		var withoutIURL, longCRID []string
		for j := range s.Creatives {
			c := s.CreativeIndex[s.Creatives[j].ID]
			switch {
			case c == nil:
			case c.IURL == "" && p.Requires("iurl"):
				withoutIURL = append(withoutIURL, c.ID)
			case len(c.CRID) > p.CRIDMax:
				longCRID = append(longCRID, c.ID)
			}
		}
		if len(withoutIURL) > 0 {
			l.Warn(at+".required_bid_fields", "creatives without iurl: "+strings.Join(withoutIURL, ", "), "an iurl; without one these creatives are never bid there")
		}
		if len(longCRID) > 0 {
			l.Warn(at+".crid_max", "creatives with a longer crid: "+strings.Join(longCRID, ", "), "shorter ids; these creatives are never bid there")
		}
	}
}
