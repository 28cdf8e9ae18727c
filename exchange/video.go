package exchange

import (
	"time"

	"rebound/rtb"
)

// video reads imp.video or imp.audio (OpenRTB 2.6 §3.2.7, §3.2.8). A limit that
// cannot be read sets ListsBad, because no creative is known to satisfy it.
func (d *Decoder) video(v *rtb.Video, m *rtb.Impression, f rtb.Formats) {
	s := &d.s
	*v = rtb.Video{Pos: -1}
	if !d.object(m, f, &v.ListsBad) {
		return
	}
	for s.member() {
		if !d.videoLimit(v, m) {
			d.videoFact(v, m)
		}
	}
	if v.BoxingAllowed == rtb.Absent {
		v.BoxingAllowed = rtb.Yes // OpenRTB 2.6 §3.2.7
	}
}

// videoLimit reads the member at hand if it restricts the creative, and reports
// whether it does.
func (d *Decoder) videoLimit(v *rtb.Video, m *rtb.Impression) bool {
	s := &d.s
	switch string(s.key) {
	case "mimes":
		d.block(&v.Mimes, &v.ListsBad, mimeTypes)
	case "protocols":
		d.requireCodes(&v.Protocols, &v.ListsBad)
	case "protocol":
		if n := s.readInt(0); n > 0 && len(v.Protocols) == 0 {
			d.ints = append(d.ints, n)
			v.Protocols = d.ints[len(d.ints)-1:]
		}
	case "battr":
		d.blockCodes(&v.BAttr, &v.ListsBad)
	case "minduration":
		s.limit(&v.MinDuration, &v.ListsBad)
	case "maxduration":
		s.limit(&v.MaxDuration, &v.ListsBad)
	case "rqddurs":
		d.requiredDurations(v)
	case "maxextended":
		x := s.value()
		n, ok := integer(x)
		v.MaxExtended, v.HasMaxExtended = time.Duration(n)*time.Second, ok
		v.ListsBad = v.ListsBad || x.given() && !ok
	case "poddur":
		s.limit(&v.PodDur, &v.ListsBad)
	case "mincpmpersec":
		s.floor(&v.MinCPMPerSec, &m.FloorBad)
	case "durfloors":
		v.DurFloors = d.durFloorList(&m.FloorBad)
	case "minbitrate":
		v.MinBitrate = s.readInt(0)
	case "maxbitrate":
		v.MaxBitrate = s.readInt(0)
	case "poddedupe":
		d.offeredCodes(&v.PodDedupe)
	case "maxseq":
		v.MaxSeq = s.readInt(0)
	default:
		return false
	}
	return true
}

// videoFact reads a member that describes the placement.
func (d *Decoder) videoFact(v *rtb.Video, m *rtb.Impression) {
	s := &d.s
	switch string(s.key) {
	case "startdelay":
		x := s.value()
		v.StartDelay, v.HasStartDelay = integer(x)
	case "w":
		v.W = max(s.readInt(0), 0)
	case "h":
		v.H = max(s.readInt(0), 0)
	case "linearity":
		v.Linearity = s.readInt(0)
	case "skip":
		v.Skip = s.readFlag()
	case "placement":
		v.Placement = s.readInt(0)
	case "plcmt":
		v.Plcmt = s.readInt(0)
	case "delivery":
		d.offeredCodes(&v.Delivery)
	case "playbackmethod":
		d.offeredCodes(&v.PlaybackMethod)
	case "api":
		d.offeredCodes(&v.API)
	case "podid":
		v.PodID = s.readText()
	case "pos":
		v.Pos = s.readInt(-1)
	case "boxingallowed":
		v.BoxingAllowed = s.readFlag()
	case "ext":
		d.videoExt(m)
	default:
		s.skip()
	}
}

// videoExt reads video.ext.rewarded, an older place of imp.rwdd.
func (d *Decoder) videoExt(m *rtb.Impression) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		if string(s.key) == "rewarded" {
			d.rewarded(m)
		} else {
			s.skip()
		}
	}
}

// requiredDurations reads rqddurs: exact durations, of which a creative must have
// one.
func (d *Decoder) requiredDurations(v *rtb.Video) {
	from := len(d.ints)
	d.requireCodes(new([]int), &v.ListsBad)
	start := len(d.durations)
	for _, n := range d.ints[from:] {
		d.durations = append(d.durations, time.Duration(n)*time.Second)
	}
	v.ReqDurations = d.durations[start:len(d.durations):len(d.durations)]
	d.ints = d.ints[:from]
}
