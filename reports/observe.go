package reports

import (
	"strconv"
	"strings"

	"rebound/rtb"
)

// record counts a bid record: its request, its bids and the refusals of lines.
func (t *step) record(r *record) error {
	t.records++
	o := &t.request
	*o = observation{kind: ofRequest, at: r.at}
	t.place(o, r)
	t.slot(o, r, nil)
	o.dims[dimExchange] = t.word(r.exchange)
	o.dims[dimNoBid] = t.text(r.nobid.String())
	r.stages(o)
	t.add(o)
	for i := range r.bids {
		if err := t.recordBid(r, &r.bids[i]); err != nil {
			return err
		}
	}
	for i := range r.dropped {
		if x := &r.dropped[i]; x.reason != rtb.NoBidNone {
			t.refusal(r, x)
		}
	}
	return nil
}

// recordBid counts a bid, and remembers its impression for the notices about it.
func (t *step) recordBid(r *record, b *recordBid) error {
	o := &t.part
	*o = observation{kind: ofBid, at: r.at, dims: t.request.dims}
	t.slot(o, r, b.imp)
	o.dims[dimNoBid] = 0
	o.dims[dimAdvertiser], o.dims[dimCampaign], o.dims[dimLine] = t.word(b.advertiser), t.word(b.campaign), t.word(b.line)
	o.dims[dimCreative], o.dims[dimItem], o.dims[dimDeal] = t.word(b.creative), t.cleaned(b.item), t.cleaned(b.deal)
	o.dims[dimRecency], o.dims[dimFrequency] = t.text(recencyBucket(b.recency)), t.text(frequencyBucket(b.recency, b.frequency))
	o.sum[mBids], o.sum[mBidCost] = 1, b.reserved
	t.add(o)
	if b.id.IsZero() {
		return nil
	}
	return t.remember(b.id, o)
}

func (t *step) refusal(r *record, x *recordDrop) {
	o := &t.part
	*o = observation{kind: ofRefusal, at: r.at, dims: t.request.dims}
	o.dims[dimAdvertiser], o.dims[dimCampaign], o.dims[dimLine] = t.word(x.advertiser), t.word(x.campaign), t.word(x.line)
	o.dims[dimNoBid] = t.text(x.reason.String())
	o.sum[mRefusals] = r.weight
	switch x.reason {
	case rtb.NoBidPaced:
		o.sum[mPaced] = r.weight
	case rtb.NoBidBudget, rtb.NoBidGrant:
		o.sum[mNoBudget] = r.weight
	}
	t.add(o)
}

// stages sets how far the request came. The reason of a no-bid is the furthest stage that
// any line reached, so later reasons imply the earlier stages.
func (r *record) stages(o *observation) {
	w, reason, bids := r.weight, r.nobid, len(r.bids) > 0
	o.sum[mRecords], o.sum[mRequests] = 1, w
	if !r.anonymous && (bids || reason > rtb.NoBidPrivacyOptedOut) {
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
func (t *step) place(o *observation, r *record) {
	switch {
	case len(r.domain) > 0:
		o.dims[dimDomain] = t.outside(r.domain, classLower)
	case len(r.page) > 0:
		o.dims[dimDomain] = t.outside([]byte(hostOf(string(r.page))), classLower)
	}
	o.dims[dimBundle], o.dims[dimRegion] = t.outside(r.bundle, classClean), t.outside(r.region, classClean)
	o.dims[dimOS], o.dims[dimCountry] = t.outside(r.os, classLower), t.outside(r.country, classUpper)
	o.dims[dimDevice], o.dims[dimBrowser] = t.text(deviceName(string(r.deviceType))), t.browser(r.agent)
}

// slot sets the format and size of an impression; of the first one without an id.
func (t *step) slot(o *observation, r *record, id []byte) {
	for i := range r.imps {
		m := &r.imps[i]
		if len(id) > 0 && string(m.id) != string(id) {
			continue
		}
		format, size := "", recordSize{}
		switch {
		case m.banner:
			format, size = "banner", m.bannerSize
		case m.video:
			format, size = "video", m.videoSize
		case m.native:
			format = "native"
		case m.audio:
			format = "audio"
		}
		if format != "" {
			o.dims[dimFormat] = t.text(format)
		}
		o.dims[dimSize] = 0
		if len(size.w) > 0 && len(size.h) > 0 {
			t.scratch = append(append(append(t.scratch[:0], size.w...), 'x'), size.h...)
			o.dims[dimSize] = t.outside(t.scratch, classClean)
		}
		return
	}
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
func frequencyBucket(recency, n int64) string {
	switch {
	case recency <= 0 && n == 0:
		return ""
	case n <= 3:
		return strconv.FormatInt(n, 10)
	case n <= 5:
		return "4-5"
	case n <= 10:
		return "6-10"
	case n <= 20:
		return "11-20"
	}
	return ">20"
}
