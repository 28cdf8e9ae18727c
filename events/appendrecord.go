package events

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"rebound/rtb"
)

// AppendRecord appends a record as one line of the bid log, without the newline.
// A request that spans several lines is written on one; a request that is not JSON,
// a number that JSON cannot represent, and a time outside the years 0 to 9999 are
// errors, which leave dst unchanged.
func AppendRecord(dst []byte, r *BidRecord) ([]byte, error) {
	return appendRecord(dst, r, func(dst []byte) ([]byte, error) {
		if len(r.Request) == 0 {
			return append(dst, "null"...), nil
		}
		line := bytes.NewBuffer(dst)
		if err := json.Compact(line, r.Request); err != nil {
			return dst, fmt.Errorf("cannot write request: %w", err)
		}
		return line.Bytes(), nil
	})
}

// appendRecord is AppendRecord with the request that request appends. The fields and
// their order are those of the struct's tags.
func appendRecord(dst []byte, r *BidRecord, request func(dst []byte) ([]byte, error)) ([]byte, error) {
	e := encoder{b: dst}
	e.recordHead(r)
	e.b = append(e.b, `,"request":`...)
	var err error
	if e.b, err = request(e.b); err != nil {
		return dst, err
	}
	if r.Visitor != nil {
		e.visitor(r.Visitor)
	}
	if r.Decision != nil {
		e.decision(r.Decision)
	}
	if len(r.Market) > 0 {
		e.market(r.Market)
	}
	if e.err != nil {
		return dst, e.err
	}
	return append(e.b, '}'), nil
}

// recordHead writes the fields before the request.
func (e *encoder) recordHead(r *BidRecord) {
	e.b = rtb.AppendInt(append(e.b, `{"v":`...), int64(r.V))
	e.key(`,"bid_id":`, rtb.Key(r.BidID))
	if r.TS.IsZero() {
		e.b = append(e.b, `,"ts":"0001-01-01T00:00:00Z"`...)
	}
	e.time(`,"ts":`, r.TS)
	e.text(`,"exchange":`, r.Exchange)
	e.str(`,"node":`, r.Node)
	e.str(`,"build":`, r.Build)
	e.str(`,"config":`, r.Config)
	e.str(`,"activation":`, r.Activation)
	if r.Pos != (RecordPos{}) {
		e.b = rtb.AppendUint(append(e.b, `,"pos":{"segments":`...), r.Pos.Segments)
		e.b = rtb.AppendUint(append(e.b, `,"money":`...), r.Pos.Money)
		e.b = append(e.b, '}')
	}
	if r.SampleWeight != 0 {
		e.float(`,"sample_weight":`, r.SampleWeight)
	}
	if p := &r.Privacy; *p != (RecordPrivacy{}) {
		e.text(`,"privacy":{"level":`, p.Level.String())
		e.str(`,"signal":`, p.Signal)
		e.str(`,"consent_hash":`, p.ConsentHash)
		if p.Refusal != rtb.NoBidNone {
			e.text(`,"refusal":`, p.Refusal.String())
		}
		e.bool(`,"precise_geo":`, p.PreciseGeo)
		e.b = append(e.b, '}')
	}
	e.bool(`,"anonymous":`, r.Anonymous)
	e.int(`,"deadline_us":`, r.DeadlineUS)
	e.int(`,"took_us":`, r.TookUS)
	if len(r.Inputs) > 0 {
		e.b = append(e.b, `,"inputs":"`...)
		e.b = append(base64.StdEncoding.AppendEncode(e.b, r.Inputs), '"')
	}
}

func (e *encoder) visitor(v *rtb.Visitor) {
	e.b = append(e.b, `,"visitor":{`...)
	start := len(e.b)
	e.key(`,"key":`, v.Key)
	for i := range v.Segments {
		e.segment(i, &v.Segments[i])
	}
	e.endList(len(v.Segments))
	for i := range v.Products {
		p := &v.Products[i]
		e.text(element(i, `,"products":[{"advertiser":`, `,{"advertiser":`), p.Advertiser)
		e.text(`,"id":`, p.ID)
		e.number(`,"last":`, uint64(p.Last))
		e.number(`,"kind":`, uint64(p.Kind))
		e.b = append(e.b, '}')
	}
	e.endList(len(v.Products))
	for i := range v.Frequency {
		e.frequency(i, &v.Frequency[i])
	}
	e.endList(len(v.Frequency))
	e.bool(`,"opted_out":`, v.OptedOut)
	e.int(`,"match":`, int64(v.Match))
	e.uint(`,"pos":`, v.Position)
	if len(e.b) > start { // the first field wrote a comma
		copy(e.b[start:], e.b[start+1:])
		e.b = e.b[:len(e.b)-1]
	}
	e.b = append(e.b, '}')
}

func (e *encoder) segment(i int, s *rtb.SegmentState) {
	b := append(e.b, element(i, `,"segments":[{"id":"`, `,{"id":"`)...)
	b = append(rtb.AppendUint(b, uint64(s.ID)), `","first":`...)
	b = append(rtb.AppendUint(b, uint64(s.First)), `,"last":`...)
	b = append(rtb.AppendUint(b, uint64(s.Last)), `,"count":`...)
	b = rtb.AppendUint(b, uint64(s.Count))
	for j, at := range s.Recent {
		b = append(b, element(j, `,"recent":[`, `,`)...)
		b = rtb.AppendUint(b, uint64(at))
	}
	e.b = b
	e.endList(len(s.Recent))
	for j := range s.Sums {
		e.number(element(j, `,"sums":[{"day":`, `,{"day":`), uint64(s.Sums[j].Day))
		e.b = rtb.AppendInt(append(e.b, `,"value_micros":`...), int64(s.Sums[j].Value))
		e.b = append(e.b, '}')
	}
	e.endList(len(s.Sums))
	e.b = append(e.b, '}')
}

func (e *encoder) frequency(i int, f *rtb.FrequencyState) {
	e.number(element(i, `,"frequency":[{"scope":"`, `,{"scope":"`), uint64(f.Scope))
	e.number(`","last":`, uint64(f.Last))
	e.b = append(e.b, `,"buckets":[`...)
	for j := range f.Buckets {
		b := &f.Buckets[j]
		e.number(element(j, `{"start":`, `,{"start":`), uint64(b.Start))
		e.number(`,"span":`, uint64(b.Span))
		e.number(`,"count":`, uint64(b.Count))
		e.b = append(e.b, '}')
	}
	e.b = append(e.b, ']', '}')
}

func (e *encoder) decision(d *Decision) {
	e.b = append(e.b, `,"decision":{`...)
	start := len(e.b)
	if d.NoBid != rtb.NoBidNone {
		e.text(`,"nobid":`, d.NoBid.String())
	}
	e.int(`,"code":`, int64(d.Code))
	if d.Draw != 0 {
		e.float(`,"draw":`, d.Draw)
	}
	for i := range d.Bids {
		e.bid(i, &d.Bids[i])
	}
	e.endList(len(d.Bids))
	e.dropped(d)
	e.int(`,"skipped":`, int64(d.Skipped))
	e.int(`,"lost_options":`, int64(d.LostOptions))
	e.int(`,"lost_drops":`, int64(d.LostDrops))
	if len(e.b) > start { // the first field wrote a comma
		copy(e.b[start:], e.b[start+1:])
		e.b = e.b[:len(e.b)-1]
	}
	e.b = append(e.b, '}')
}

func (e *encoder) bid(i int, b *DecisionBid) {
	e.b = append(e.b, element(i, `,"bids":[{`, `,{`)...)
	start := len(e.b)
	e.key(`,"bid_id":`, rtb.Key(b.BidID))
	e.text(`,"impid":`, b.ImpID)
	copy(e.b[start:], e.b[start+1:])
	e.b = e.b[:len(e.b)-1]
	e.str(`,"advertiser":`, b.Advertiser)
	e.str(`,"campaign":`, b.Campaign)
	e.text(`,"line":`, b.Line)
	e.text(`,"creative":`, b.Creative)
	e.str(`,"item":`, b.Item)
	e.str(`,"deal":`, b.Deal)
	e.b = b.Price.AppendDecimal(append(e.b, `,"price":`...))
	e.b = b.Value.AppendDecimal(append(e.b, `,"value":`...))
	e.b = rtb.AppendInt(append(e.b, `,"reserved_micros":`...), int64(b.Reserved))
	e.int(`,"expected_micros":`, int64(b.Expected))
	e.int(`,"recency_s":`, b.RecencyS)
	e.int(`,"frequency":`, int64(b.Frequency))
	f := &b.Factors
	e.b = f.CPM.AppendDecimal(append(e.b, `,"factors":{"cpm":`...))
	e.float(`,"recency":`, f.Recency)
	e.float(`,"intensity":`, f.Intensity)
	e.float(`,"multiplier":`, f.Multiplier)
	e.float(`,"shading":`, f.Shading)
	if f.Adjust != 0 {
		e.float(`,"adjust":`, f.Adjust)
	}
	e.estimate(&f.Estimate)
	e.float(`,"rate":`, f.Rate)
	e.cpm(`,"floor":`, f.Floor)
	if f.Chance != 0 {
		e.float(`,"chance":`, f.Chance)
	}
	if f.Explored {
		e.b = append(e.b, `,"explored":true`...)
	}
	e.cpm(`,"quote":`, f.Quote)
	e.float(`},"draw":`, b.Draw)
	e.b = append(e.b, '}')
}

// estimate writes an estimate, if there is one.
func (e *encoder) estimate(x *Estimate) {
	if *x == (Estimate{}) {
		return
	}
	e.b = append(e.b, `,"estimate":{`...)
	start := len(e.b)
	for _, f := range [...]struct {
		name  string
		value float64
	}{
		{`,"click":`, x.Click}, {`,"conversion":`, x.Conversion}, {`,"deviation":`, x.Deviation}, {`,"draw":`, x.Draw}, {`,"data":`, x.Data},
	} {
		if f.value != 0 {
			e.float(f.name, f.value)
		}
	}
	e.int(`,"target_micros":`, int64(x.Target))
	e.int(`,"worth_micros":`, int64(x.Worth))
	if x.Multiplier != 0 {
		e.float(`,"multiplier":`, x.Multiplier)
	}
	e.close(start)
}

// dropped lists the lines that were refused and counts those that were only outbid.
func (e *encoder) dropped(d *Decision) {
	listed, outbid := 0, 0
	for i := range d.Dropped {
		x := &d.Dropped[i]
		if x.Reason == rtb.NoBidNone {
			outbid++
			continue
		}
		e.b = append(e.b, element(listed, `,"dropped":[{`, `,{`)...)
		listed++
		start := len(e.b)
		e.str(`,"impid":`, x.ImpID)
		e.str(`,"advertiser":`, x.Advertiser)
		e.str(`,"campaign":`, x.Campaign)
		e.text(`,"line":`, x.Line)
		copy(e.b[start:], e.b[start+1:])
		e.b = e.b[:len(e.b)-1]
		e.text(`,"reason":`, x.Reason.String())
		e.b = append(e.b, '}')
	}
	e.endList(listed)
	e.int(`,"outbid":`, int64(max(outbid, d.Outbid)))
}

// market writes the impressions sorted by id.
func (e *encoder) market(m map[string]Market) {
	for i, id := range slices.Sorted(maps.Keys(m)) {
		v := m[id]
		e.b = rtb.AppendQuoted(append(e.b, element(i, `,"market":{`, `,`)...), id)
		e.b = v.MinToWin.AppendDecimal(append(e.b, `:{"min_to_win":`...))
		e.bool(`,"clicked":`, v.Clicked)
		e.bool(`,"converted":`, v.Converted)
		e.b = append(e.b, '}')
	}
	e.b = append(e.b, '}')
}

// element returns what to write before element i of a list.
func element(i int, first, next string) string {
	if i == 0 {
		return first
	}
	return next
}

// endList closes a list of n elements; without elements there is no list.
func (e *encoder) endList(n int) {
	if n > 0 {
		e.b = append(e.b, ']')
	}
}

// text is str that also writes an empty text.
func (e *encoder) text(name, v string) { e.b = rtb.AppendQuoted(append(e.b, name...), v) }

// number is uint that also writes a zero.
func (e *encoder) number(name string, v uint64) {
	e.b = rtb.AppendUint(append(e.b, name...), v)
}

// float writes the shortest decimal that reads as f.
func (e *encoder) float(name string, f float64) {
	e.b = append(e.b, name...)
	switch abs := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		e.err = fmt.Errorf("cannot write number: got %v; want a finite one", f)
	case abs < 1e15 && f == math.Trunc(f):
		e.b = rtb.AppendInt(e.b, int64(f))
	case abs < 1e9 && isDecimal(f): // at most 13 significant digits, so the decimal is the shortest one that reads as f
		e.b = rtb.Micros(int64(f*1e4) * 100).AppendDecimal(e.b)
	case abs < 1e-6 || abs >= 1e21:
		e.b = appendExponent(e.b, f)
	default:
		e.b = strconv.AppendFloat(e.b, f, 'f', -1, 64)
	}
}

// appendExponent appends f with an exponent as encoding/json writes it: 1e-9 instead of 1e-09.
func appendExponent(dst []byte, f float64) []byte {
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst = append(dst[:n-2], dst[n-1])
	}
	return dst
}

// isDecimal reports whether f is the number nearest to a decimal with at most four fraction digits.
func isDecimal(f float64) bool {
	scaled := f * 1e4
	return scaled == math.Trunc(scaled) && scaled/1e4 == f
}
