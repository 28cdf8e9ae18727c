package bidder

import "rebound/rtb"

// decide runs the stages from match to build on a request that was read in full.
// Its only effects outside the decision are reservations and pacing's observations.
func (d *Decision) decide() {
	d.decided = true
	d.facts.Begin(&d.opportunity, d.catalog.Supply, d.profile.SChainASI, d.permissions.PreciseGeo, d.permissions.Level == rtb.LevelPersonalised)
	d.refused = d.catalog.Approvals.Refused(d.profile.ID)
	d.out.Draw = float64(d.source.Uint64()>>11) / (1 << 53)
	d.runStages()
	d.out.Code = d.facts.Code(d.out.Reason)
	if t := d.request.Trace; t != nil {
		t.finish(d)
	}
	d.facts.End()
	d.refused = nil
}

func (d *Decision) runStages() {
	if d.out.Reason = d.filterRequest(); d.out.Reason != rtb.NoBidNone {
		return
	}
	lines, r := d.findLines()
	if d.out.Reason = r; r != rtb.NoBidNone {
		return
	}
	if d.runRound(lines); d.timedOut {
		d.releaseBids(rtb.NoBidLate)
		return
	}
	d.observe()
}
