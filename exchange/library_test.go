package exchange

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prebid/openrtb/v20/openrtb2"

	"rebound/rtb"
)

// libraryFacts is the differential test's other side: what the library read, in
// the words of ourFacts; refused tells that no bid may answer such a request.
func libraryFacts(r *openrtb2.BidRequest) (f facts, refused bool) {
	if r.ID == "" || len(r.ID) > maxID || len(r.Imp) == 0 || present(r.Site)+present(r.App)+present(r.DOOH) > 1 {
		return nil, true
	}
	at := int(r.AT)
	if at <= 0 {
		at = 2 // no auction type; the library cannot tell 0 from absent
	}
	f = facts{
		"id": r.ID, "at": at, "tmax": min(max(r.TMax, 0), 3600_000), "test": r.Test == 1,
		"wseat": nonEmpty(r.WSeat), "bseat": nonEmpty(r.BSeat), "bcat": nonEmpty(r.BCat), "acat": nonEmpty(r.ACat), "badv": nonEmpty(r.BAdv), "bapp": nonEmpty(r.BApp),
		"wlang": nonEmpty(r.WLang), "site": r.Site != nil, "app": r.App != nil, "dooh": r.DOOH != nil, "blocked": false,
	}
	cur := []rtb.Currency{}
	for _, c := range r.Cur {
		if p, ok := rtb.ParseCurrency(c); ok {
			cur = append(cur, p)
		}
	}
	f["cur"] = cur
	librarySupply(r, f)
	libraryDevice(r, f)
	libraryUser(r, f)
	usable := 0
	seen := map[string]bool{}
	for i := range r.Imp {
		m := &r.Imp[i]
		if m.ID != "" && seen[m.ID] {
			return f, true
		}
		seen[m.ID] = true
		formats := present(m.Banner) + present(m.Video) + present(m.Audio) + present(m.Native)
		if m.ID == "" || len(m.ID) > maxID || formats == 0 {
			continue
		}
		libraryImp(m, fmt.Sprintf("imp%d ", usable), f)
		usable++
	}
	f["imps"] = usable
	return f, usable == 0
}

// readExt reads an ext object; facts note it when the library cannot.
func readExt(f facts, ext json.RawMessage, dst any) {
	if len(ext) > 0 && json.Unmarshal(ext, dst) != nil {
		f["unread"] = true
	}
}

func present[T any](p *T) int {
	if p != nil {
		return 1
	}
	return 0
}

func librarySupply(r *openrtb2.BidRequest, f facts) {
	f["domain"], f["page"], f["ref"], f["bundle"], f["publisher"] = "", "", "", "", ""
	var publisher *openrtb2.Publisher
	switch {
	case r.Site != nil:
		f["domain"], f["page"], f["ref"], publisher = r.Site.Domain, r.Site.Page, r.Site.Ref, r.Site.Publisher
	case r.App != nil:
		f["domain"], f["bundle"], publisher = r.App.Domain, r.App.Bundle, r.App.Publisher
	case r.DOOH != nil:
		f["domain"], publisher = r.DOOH.Domain, r.DOOH.Publisher
	}
	if publisher != nil {
		f["publisher"] = publisher.ID
	}
	type withChain struct {
		SChain *openrtb2.SupplyChain `json:"schain"`
	}
	chains := make([]withChain, 3)
	if r.Source != nil {
		chains[0].SChain = r.Source.SChain
		readExt(f, r.Source.Ext, &chains[1])
	}
	readExt(f, r.Ext, &chains[2])
	f["schain"], f["nodes"] = false, 0
	for _, c := range chains {
		if c.SChain != nil {
			f["schain"], f["nodes"] = true, len(c.SChain.Nodes)
			break
		}
	}
}

func libraryDevice(r *openrtb2.BidRequest, f facts) {
	d := r.Device
	if d == nil {
		d = &openrtb2.Device{}
	}
	f["ua"], f["ip"], f["ipv6"], f["make"], f["devicetype"], f["language"] = d.UA, d.IP, d.IPv6, d.Make, int(d.DeviceType), d.Language
	f["w"], f["h"], f["lmt"], f["dnt"] = clamp(d.W), clamp(d.H), flagOf(d.Lmt), flagOf(d.DNT)
	f["country"], f["city"] = "", ""
	if d.Geo != nil {
		f["country"], f["city"] = d.Geo.Country, d.Geo.City
	}
}

func clamp(n int64) int { return int(max(min(n, maxInt), -maxInt)) }

func flagOf(p *int8) rtb.Flag {
	switch {
	case p == nil:
		return rtb.Absent
	case *p == 1:
		return rtb.Yes
	case *p == 0:
		return rtb.No
	}
	return rtb.Unreadable
}

// libraryUser reads identifiers and privacy signals, from both places.
func libraryUser(r *openrtb2.BidRequest, f facts) {
	type regsExt struct {
		GDPR *int8  `json:"gdpr"`
		USP  string `json:"us_privacy"`
		GPP  string `json:"gpp"`
		SID  []int  `json:"gpp_sid"`
	}
	var re regsExt
	regs := openrtb2.Regs{}
	if r.Regs != nil {
		regs = *r.Regs
		readExt(f, regs.Ext, &re)
	}
	var ue struct {
		GDPR    *int8          `json:"gdpr"`
		Consent string         `json:"consent"`
		USP     string         `json:"us_privacy"`
		EIDs    []openrtb2.EID `json:"eids"`
	}
	user := openrtb2.User{}
	if r.User != nil {
		user = *r.User
		readExt(f, user.Ext, &ue)
	}
	f["coppa"] = regs.COPPA == 1 || extCOPPA(r.Ext) || extCOPPA(regs.Ext)
	f["gdpr"] = flagOf(regs.GDPR).Or(flagOf(re.GDPR)).Or(flagOf(ue.GDPR))
	f["consent"], f["gpp"] = last(user.Consent, ue.Consent), last(regs.GPP, re.GPP)
	f["us_privacy"] = last(regs.USPrivacy, re.USP, ue.USP)
	f["gpp_sid"] = codes(append(codes(regs.GPPSID), re.SID...))
	eids := user.EIDs
	if countUIDs(eids) == 0 {
		eids = ue.EIDs
	}
	add := func(kind rtb.IDKind, scope, id string) {
		if id != "" && len(id) <= maxIdentifier {
			k := fmt.Sprintf("ids %d", kind)
			f[k] = fmt.Sprintf("%v %s=%s", f[k], scope, id)
		}
	}
	add(rtb.IDVisitor, "", user.BuyerUID)
	for _, e := range eids {
		for _, u := range e.UIDs {
			if e.Source != "" {
				add(rtb.IDEID, e.Source, u.ID)
			}
		}
	}
	libraryIFA(r, add)
	add(rtb.IDExchange, "", user.ID)
}

func libraryIFA(r *openrtb2.BidRequest, add func(rtb.IDKind, string, string)) {
	d := r.Device
	if d == nil || flagOf(d.Lmt) >= rtb.Yes || flagOf(d.DNT) >= rtb.Yes || r.DOOH != nil || d.DeviceType == deviceTypeDOOH {
		return
	}
	var ext struct {
		Type string `json:"ifa_type"`
	}
	json.Unmarshal(d.Ext, &ext)
	if ext.Type != "sessionid" && strings.Trim(d.IFA, "0-") != "" {
		add(rtb.IDIFA, "", d.IFA)
	}
}

func extCOPPA(ext json.RawMessage) bool {
	var e struct {
		COPPA any `json:"coppa"`
	}
	json.Unmarshal(ext, &e)
	return e.COPPA == 1.0 || e.COPPA == true || e.COPPA == "1" || e.COPPA == "true"
}

func countUIDs(eids []openrtb2.EID) (n int) {
	for _, e := range eids {
		for _, u := range e.UIDs {
			if e.Source != "" && u.ID != "" {
				n++
			}
		}
	}
	return n
}

func last(list ...string) (s string) {
	for _, x := range list {
		if x != "" {
			s = x
		}
	}
	return s
}

// floorOf is the library's floor in micros; bad as we see it.
func floorOf(v float64) (rtb.CPM, bool) {
	text, _ := json.Marshal(v)
	m, err := rtb.ParseMicros(text, rtb.RoundUp)
	if err != nil || m > rtb.Micros(rtb.MaxCPM) || math.IsNaN(v) {
		return 0, true
	}
	return max(rtb.CPM(m), 0), false
}

func curOf(s string) (c rtb.Currency, bad bool) {
	if s == "" {
		return rtb.USD, false
	}
	c, ok := rtb.ParseCurrency(s)
	if !ok {
		return rtb.USD, true
	}
	return c, false
}

func libraryImp(m *openrtb2.Imp, k string, f facts) {
	floor, bad := floorOf(m.BidFloor)
	cur, badCur := curOf(m.BidFloorCur)
	f[k+"id"], f[k+"tagid"], f[k+"floor"], f[k+"cur"], f[k+"bad"] = m.ID, m.TagID, floor, cur, bad || badCur
	f[k+"secure"], f[k+"instl"], f[k+"exp"] = flagOf(m.Secure), m.Instl == 1, float64(max(clamp(m.Exp), 0))
	formats := rtb.Formats(present(m.Banner)) | rtb.Formats(present(m.Video))<<1 | rtb.Formats(present(m.Audio))<<2 | rtb.Formats(present(m.Native))<<3
	f[k+"formats"], f[k+"private"] = formats, m.PMP != nil && m.PMP.PrivateAuction != 0
	if b := m.Banner; b != nil {
		sizes := []rtb.Size{}
		add := func(w, h int64) {
			if z := (rtb.Size{W: clamp(w), H: clamp(h)}); w > 0 && h > 0 && !slices.Contains(sizes, z) {
				sizes = append(sizes, z)
			}
		}
		for _, z := range b.Format {
			add(z.W, z.H)
		}
		if b.W != nil && b.H != nil {
			add(*b.W, *b.H)
		}
		f[k+"sizes"], f[k+"battr"], f[k+"btype"], f[k+"mimes"], f[k+"api"] = fmt.Sprint(sizes), codes(b.BAttr), codes(b.BType), nonEmpty(b.MIMEs), codes(b.API)
	}
	if v := m.Video; v != nil {
		w, h, delay := int64(0), int64(0), 0
		if v.W != nil {
			w = max(*v.W, 0)
		}
		if v.H != nil {
			h = max(*v.H, 0)
		}
		if v.StartDelay != nil {
			delay = clamp(int64(*v.StartDelay))
		}
		protocols := codes(v.Protocols)
		if len(protocols) == 0 && v.Protocol > 0 {
			protocols = []int{int(v.Protocol)}
		}
		f[k+"v"] = fmt.Sprint(nonEmpty(v.MIMEs), protocols, float64(max(clamp(v.MinDuration), 0)), float64(max(clamp(v.MaxDuration), 0)), clamp(w), clamp(h),
			v.StartDelay != nil, delay, int(v.Linearity), flagOf(v.Skip), int(v.Placement), int(v.Plcmt), codes(v.PlaybackMethod), codes(v.API), codes(v.BAttr), codes(v.Delivery))
	}
	if m.PMP != nil {
		for _, d := range m.PMP.Deals {
			if d.ID != "" {
				floor, bad := floorOf(d.BidFloor)
				cur, badCur := curOf(d.BidFloorCur)
				f[k+"deal "+d.ID] = fmt.Sprint(floor, cur, int(d.AT), nonEmpty(d.WSeat), nonEmpty(d.WADomain), bad || badCur)
			}
		}
	}
}
