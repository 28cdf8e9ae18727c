package exchange

import (
	"slices"

	"rebound/rtb"
)

// banner reads imp.banner (OpenRTB 2.6 §3.2.6, and the size range of 2.3).
func (d *Decoder) banner(m *rtb.Impression) {
	s, b := &d.s, &m.Banner
	*b = rtb.Banner{Pos: -1}
	if !d.object(m, rtb.FormatBanner, &b.ListsBad) {
		return
	}
	from := len(d.sizes)
	var own rtb.Size
	for s.member() {
		switch string(s.key) {
		case "w":
			own.W = s.readInt(0)
		case "h":
			own.H = s.readInt(0)
		case "format":
			d.sizes = d.sizes[:from]
			d.formats(b, from)
		case "wmin":
			b.WMin = s.readInt(0)
		case "wmax":
			b.WMax = s.readInt(0)
		case "hmin":
			b.HMin = s.readInt(0)
		case "hmax":
			b.HMax = s.readInt(0)
		case "pos":
			b.Pos = s.readInt(-1)
		case "mimes":
			d.block(&b.Mimes, &b.ListsBad, mimeTypes)
		case "battr":
			d.blockCodes(&b.BAttr, &b.ListsBad)
		case "btype":
			d.blockCodes(&b.BType, &b.ListsBad)
		case "api":
			d.offeredCodes(&b.API)
		case "expdir":
			d.offeredCodes(&b.ExpDir)
		default:
			s.skip()
		}
	}
	d.addSize(own, from)
	b.Sizes = d.sizes[from:len(d.sizes):len(d.sizes)]
}

// addSize adds a size, unless it is empty or already listed.
func (d *Decoder) addSize(z rtb.Size, from int) {
	if z.W > 0 && z.H > 0 && !slices.Contains(d.sizes[from:], z) {
		d.sizes = append(d.sizes, z)
	}
}

// formats reads banner.format (OpenRTB 2.6 §3.2.10).
func (d *Decoder) formats(b *rtb.Banner, from int) {
	s := &d.s
	if !s.open('[') {
		return
	}
	fromFlex := len(d.flex)
	for n := 0; s.element(); n++ {
		if n >= maxFormats || !s.enter('{') {
			s.skip()
			continue
		}
		var z rtb.Size
		var f rtb.FlexSize
		for s.member() {
			switch string(s.key) {
			case "w":
				z.W = s.readInt(0)
			case "h":
				z.H = s.readInt(0)
			case "wratio":
				f.WRatio = s.readInt(0)
			case "hratio":
				f.HRatio = s.readInt(0)
			case "wmin":
				f.WMin = s.readInt(0)
			default:
				s.skip()
			}
		}
		d.addSize(z, from)
		if f.WRatio > 0 && f.HRatio > 0 {
			d.flex = append(d.flex, f)
		}
	}
	b.Flex = d.flex[fromFlex:len(d.flex):len(d.flex)]
}
