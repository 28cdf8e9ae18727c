package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rebound/rtb"
)

// record is the part of a bid record that the reports count.
type record struct {
	V         int             `json:"v"`
	TS        time.Time       `json:"ts"`
	Exchange  string          `json:"exchange"`
	Weight    float64         `json:"sample_weight"`
	Anonymous bool            `json:"anonymous"`
	Request   json.RawMessage `json:"request"`
	Decision  struct {
		NoBid   rtb.NoBidReason `json:"nobid"`
		Bids    []recordBid     `json:"bids"`
		Dropped []recordDrop    `json:"dropped"`
	} `json:"decision"`
	request recordRequest
}

type recordBid struct {
	BidID      rtb.BidID  `json:"bid_id"`
	ImpID      string     `json:"impid"`
	Advertiser string     `json:"advertiser"`
	Campaign   string     `json:"campaign"`
	Line       string     `json:"line"`
	Creative   string     `json:"creative"`
	Item       string     `json:"item"`
	Deal       string     `json:"deal"`
	Reserved   rtb.Micros `json:"reserved_micros"`
	RecencyS   int64      `json:"recency_s"`
	Frequency  int        `json:"frequency"`
}

type recordDrop struct {
	ImpID      string          `json:"impid"`
	Advertiser string          `json:"advertiser"`
	Campaign   string          `json:"campaign"`
	Line       string          `json:"line"`
	Reason     rtb.NoBidReason `json:"reason"`
}

type recordRequest struct {
	Imp  []recordImp `json:"imp"`
	Site *struct {
		Domain string `json:"domain"`
		Page   string `json:"page"`
	} `json:"site"`
	App *struct {
		Bundle loose `json:"bundle"`
	} `json:"app"`
	Device struct {
		UA   string `json:"ua"`
		OS   string `json:"os"`
		Type loose  `json:"devicetype"`
		Geo  struct {
			Country string `json:"country"`
			Region  string `json:"region"`
		} `json:"geo"`
	} `json:"device"`
}

type recordImp struct {
	ID     string      `json:"id"`
	Banner *recordSize `json:"banner"`
	Video  *recordSize `json:"video"`
	Audio  *struct{}   `json:"audio"`
	Native *struct{}   `json:"native"`
}

type recordSize struct {
	W      loose `json:"w"`
	H      loose `json:"h"`
	Format []struct {
		W loose `json:"w"`
		H loose `json:"h"`
	} `json:"format"`
}

// loose is a scalar of which exchanges send the number or the string.
type loose string

// UnmarshalJSON never fails: a value that is no scalar is empty.
func (l *loose) UnmarshalJSON(b []byte) error {
	*l = ""
	if text := bytes.Trim(b, `"`); len(text) > 0 && text[0] != '{' && text[0] != '[' && string(text) != "null" {
		*l = loose(text)
	}
	return nil
}

// decode reads one line of the bid log. Members of the request that have the wrong type
// are left out.
func (r *record) decode(line []byte) error {
	*r = record{}
	if err := json.Unmarshal(line, r); err != nil {
		return fmt.Errorf("cannot read bid record: %w", err)
	}
	if r.V == 0 || r.TS.IsZero() {
		return errors.New("cannot read bid record: got no v or no ts; want a line of the bid log")
	}
	if len(r.Request) == 0 || string(r.Request) == "null" {
		return nil
	}
	var kind *json.UnmarshalTypeError
	if err := json.Unmarshal(r.Request, &r.request); err != nil && !errors.As(err, &kind) {
		return fmt.Errorf("cannot read the request of a bid record: %w", err)
	}
	return nil
}

// weight returns the number of requests that the record stands for, in millionths.
func (r *record) weight() int64 {
	if r.Weight <= 0 || r.Weight > 1e9 {
		return million
	}
	return int64(r.Weight*million + 0.5)
}

const million = 1_000_000

// observe calls each with everything that the record counts as: the request, its bids with
// their ids, and the refusals of lines.
func (r *record) observe(each func(o *observation, bid *rtb.BidID)) {
	o := observation{kind: ofRequest, at: r.TS.Unix()}
	r.place(&o)
	r.slot(&o, "")
	o.dims[dimExchange] = r.Exchange
	o.dims[dimNoBid] = r.Decision.NoBid.String()
	r.stages(&o)
	each(&o, nil)
	for i := range r.Decision.Bids {
		b := &r.Decision.Bids[i]
		o := observation{kind: ofBid, at: o.at, dims: o.dims}
		r.slot(&o, b.ImpID)
		o.dims[dimNoBid] = ""
		o.dims[dimAdvertiser], o.dims[dimCampaign], o.dims[dimLine] = b.Advertiser, b.Campaign, b.Line
		o.dims[dimCreative], o.dims[dimItem], o.dims[dimDeal] = b.Creative, clean(b.Item), clean(b.Deal)
		o.dims[dimRecency], o.dims[dimFrequency] = recencyBucket(b.RecencyS), frequencyBucket(b.RecencyS, b.Frequency)
		o.sum[mBids], o.sum[mBidCost] = 1, int64(b.Reserved)
		each(&o, &b.BidID)
	}
	for i := range r.Decision.Dropped {
		x := &r.Decision.Dropped[i]
		if x.Reason == rtb.NoBidNone {
			continue
		}
		o := observation{kind: ofRefusal, at: o.at, dims: o.dims}
		o.dims[dimAdvertiser], o.dims[dimCampaign], o.dims[dimLine], o.dims[dimNoBid] = x.Advertiser, x.Campaign, x.Line, x.Reason.String()
		o.sum[mRefusals] = r.weight()
		switch x.Reason {
		case rtb.NoBidPaced:
			o.sum[mPaced] = r.weight()
		case rtb.NoBidBudget, rtb.NoBidGrant:
			o.sum[mNoBudget] = r.weight()
		}
		each(&o, nil)
	}
}

// stages sets how far the request came. The reason of a no-bid is the furthest stage that
// any line reached, so later reasons imply the earlier stages.
func (r *record) stages(o *observation) {
	w, reason, bids := r.weight(), r.Decision.NoBid, len(r.Decision.Bids) > 0
	o.sum[mRecords], o.sum[mRequests] = 1, w
	if !r.Anonymous && (bids || reason > rtb.NoBidPrivacyOptedOut) {
		o.sum[mMatched] = w
		if bids || reason > rtb.NoBidAudienceExcluded {
			o.sum[mAudience] = w
		}
	}
	if bids || reason >= rtb.NoBidCurrency {
		o.sum[mEligible] = w
	}
	if bids {
		o.sum[mAnswered] = w
	}
}

// place sets where the request came from.
func (r *record) place(o *observation) {
	q := &r.request
	if q.Site != nil {
		if o.dims[dimDomain] = strings.ToLower(clean(q.Site.Domain)); q.Site.Domain == "" {
			o.dims[dimDomain] = hostOf(q.Site.Page)
		}
	}
	if q.App != nil {
		o.dims[dimBundle] = clean(string(q.App.Bundle))
	}
	d := &q.Device
	o.dims[dimCountry], o.dims[dimRegion] = strings.ToUpper(clean(d.Geo.Country)), clean(d.Geo.Region)
	o.dims[dimDevice], o.dims[dimOS], o.dims[dimBrowser] = deviceName(string(d.Type)), strings.ToLower(clean(d.OS)), browserOf(d.UA)
}

// slot sets the format and size of an impression; of the first one for an empty id.
func (r *record) slot(o *observation, id string) {
	for i := range r.request.Imp {
		m := &r.request.Imp[i]
		if id != "" && m.ID != id {
			continue
		}
		size := m.Banner
		switch {
		case m.Banner != nil:
			o.dims[dimFormat] = "banner"
		case m.Video != nil:
			size, o.dims[dimFormat] = m.Video, "video"
		case m.Native != nil:
			o.dims[dimFormat] = "native"
		case m.Audio != nil:
			o.dims[dimFormat] = "audio"
		}
		o.dims[dimSize] = size.text()
		return
	}
}

func (s *recordSize) text() string {
	if s == nil {
		return ""
	}
	w, h := s.W, s.H
	if len(s.Format) > 0 && (w == "" || w == "0") {
		w, h = s.Format[0].W, s.Format[0].H
	}
	if w == "" || h == "" {
		return ""
	}
	return clean(string(w) + "x" + string(h))
}

// maxText bounds a value of a dimension that comes from outside, in bytes.
const maxText = 128

// clean makes a text from outside safe as a value of a dimension.
func clean(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}

// hostOf returns the host of a page's URL.
func hostOf(page string) string {
	_, rest, ok := strings.Cut(page, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		rest = rest[:i]
	}
	return strings.ToLower(clean(rest))
}

// deviceNames are the kinds of devices (AdCOM 1.0, List: Device Types).
var deviceNames = map[string]string{
	"1": "mobile", "2": "pc", "3": "tv", "4": "phone", "5": "tablet", "6": "connected", "7": "set_top_box", "8": "out_of_home",
}

func deviceName(code string) string {
	if code == "" || deviceNames[code] != "" {
		return deviceNames[code]
	}
	return "other"
}

// browsers are the families of browsers, by a part of their user agent, in the order in
// which they must be tried: most user agents also name the browsers that they resemble.
var browsers = [][2]string{
	{"Edg", "edge"}, {"OPR/", "opera"}, {"SamsungBrowser", "samsung"}, {"YaBrowser", "yandex"}, {"UCBrowser", "uc"}, {"Firefox/", "firefox"},
	{"FxiOS", "firefox"}, {"CriOS", "chrome"}, {"Chrome/", "chrome"}, {"Safari/", "safari"},
}

func browserOf(ua string) string {
	if ua == "" {
		return ""
	}
	for _, b := range browsers {
		if strings.Contains(ua, b[0]) {
			return b[1]
		}
	}
	return "other"
}

// recencyBuckets are the upper ends of the buckets in seconds.
var recencyBuckets = []struct {
	below int64
	name  string
}{
	{3600, "<1h"}, {4 * 3600, "1-4h"}, {12 * 3600, "4-12h"}, {24 * 3600, "12-24h"}, {2 * 86400, "1-2d"}, {7 * 86400, "2-7d"}, {14 * 86400, "7-14d"}, {30 * 86400, "14-30d"},
}

func recencyBucket(seconds int64) string {
	if seconds <= 0 {
		return ""
	}
	for _, b := range recencyBuckets {
		if seconds < b.below {
			return b.name
		}
	}
	return ">30d"
}

// frequencyBucket is empty if nothing is known of the visitor's past.
func frequencyBucket(recency int64, n int) string {
	switch {
	case recency <= 0 && n == 0:
		return ""
	case n <= 3:
		return strconv.Itoa(n)
	case n <= 5:
		return "4-5"
	case n <= 10:
		return "6-10"
	case n <= 20:
		return "11-20"
	}
	return ">20"
}
