package config

import (
	"strings"

	"rebound/internal/spec"
)

// markets tells of creatives that an exchange would drop, so that they are seen
// before a day's bids are (conformance M20, R5, R6, R16).
func (l *loader) markets(s *Snapshot) {
	for i := range s.Exchanges {
		p, at := s.Profiles[s.Exchanges[i].ID], spec.At("exchanges", i)
		if p == nil {
			continue
		}
		var noPicture, longID []string
		for j := range s.Creatives {
			c := s.CreativeIndex[s.Creatives[j].ID]
			switch {
			case c == nil:
			case c.IURL == "" && p.Requires("iurl"):
				noPicture = append(noPicture, c.ID)
			case len(c.CRID) > p.CRIDMax:
				longID = append(longID, c.ID)
			}
		}
		if len(noPicture) > 0 {
			l.Warn(at+".required_bid_fields", "creatives without iurl: "+strings.Join(noPicture, ", "), "an iurl, or bids with them are not made there")
		}
		if len(longID) > 0 {
			l.Warn(at+".crid_max", "creatives with a longer crid: "+strings.Join(longID, ", "), "shorter ids, or bids with them are not made there")
		}
	}
}
