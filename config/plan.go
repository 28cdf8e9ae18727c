package config

import (
	"rebound/campaigns"
	"rebound/pacing"
)

// LinePlans returns the plan of every line in the form that pacing uses.
func (s *Snapshot) LinePlans() []pacing.LinePlan {
	plan := s.Index.Plan()
	out := make([]pacing.LinePlan, len(plan))
	for i, p := range plan {
		out[i] = pacing.LinePlan{
			Line: p.Line, Currency: p.Currency, Zone: p.Zone, Mode: modeOf(p.Pacing), CampaignMode: modeOf(p.CampaignPacing),
			Caps: p.Caps, LineDay: p.LineDay, LineTotal: p.LineTotal, CampaignDay: p.CampaignDay, CampaignTotal: p.CampaignTotal,
			Limits: p.Limits, Flights: p.Flights, AdvertiserMode: modeOf(p.AdvertiserPacing),
			HoldbackPct: p.Holdback, CampaignHoldbackPct: p.CampaignHoldback, AdvertiserHoldbackPct: p.AdvertiserHoldback, MaxCPM: p.MaxCPM, Start: p.Start, End: p.End, Active: p.Active,
		}
	}
	return out
}

func modeOf(p campaigns.Pacing) pacing.Mode {
	switch p {
	case campaigns.PacingASAP:
		return pacing.ASAP
	case campaigns.PacingAhead:
		return pacing.Ahead
	}
	return pacing.Even
}
