package exchange

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prebid/openrtb/v20/openrtb2"

	"rebound/internal/inventory"
	"rebound/rtb"
)

// disagreements are the classes of values that the decoder and the library read
// differently on purpose, and why. Nothing else may differ.
var disagreements = map[string]string{
	"auction type":              "absent, 0 and less are no auction type: the standard says second price, the library 0",
	"tmax":                      "a negative tmax is absent, one beyond an hour is an hour",
	"empty text":                "an empty text in a list names nothing and is left out",
	"zero code":                 "null within a list of numbers is 0 for the library; 0 is no code of any list",
	"blanks":                    "blanks around a category or an app do not matter",
	"taxonomy":                  "a taxonomy below 1 makes category lists unreadable",
	"currency":                  "a text that is no currency code is left out of cur; in a floor it voids the floor",
	"category label":            "what follows the code of a category in a block list is a label, which is dropped",
	"form of a name":            "names of hosts are read in punycode, in a block list without scheme and path, and without blanks around them",
	"restriction in other case": "a block list or a list of seats counts under a key in any case: what restricts may not be missed",
	"media type":                "an alias of a media type, such as image/jpg, is the registered name",
	"tracking status":           "device.ext.atts other than authorized restricts as lmt does",
	"flag":                      "a flag that is neither 0 nor 1 is unreadable, which restricts",
	"integer":                   "integers beyond 32 bits are held at the limit, negative lengths are none",
	"floor":                     "floors are rounded up to a micro, negative ones are 0, those beyond the limit void the impression",
	"size":                      "a size without width or height, and a doubled one, is left out",
	"old protocol":              "the scalar protocol of 2.3 counts where there is no list",
	"ext place":                 "the places of 2.5 in ext are read in addition to those of 2.6; the library leaves ext to its caller",
	"advertising id":            "an all-zero id, and one of a limited, session or screen device, names nobody",
	"identifier":                "an empty identifier, one longer than 1024 bytes, an eid without source and a deal without id name nobody and nothing",
	"skipped imp":               "an impression without id or format is skipped, and the request stands",
	"invalid request":           "no id, no impression, two of site, app and dooh, two impressions of one id, or none that can be used: refused, while the library only reads",
	"key in other case":         "keys are compared as written, and only privacy signals in any case; the library takes every case",
}

// settled is how often each class was met.
type settled map[string]int

// settle takes our reading of a value for the library's, and counts the class
// when they differ.
func settle[T any](n settled, class string, library, ours T) T {
	if fmt.Sprint(library) != fmt.Sprint(ours) {
		n.add(class)
	}
	return ours
}

func (n settled) add(class string) {
	if disagreements[class] == "" {
		panic("no reason is given for " + class)
	}
	n[class]++
}

// libraryFacts lists the library's result in the form of ourFacts; refused
// reports that such a request must not get a bid.
func libraryFacts(r *openrtb2.BidRequest, n settled) (f facts, refused bool) {
	if r.ID == "" || len(r.ID) > maxID || len(r.Imp) == 0 || present(r.Site)+present(r.App)+present(r.DOOH) > 1 {
		n.add("invalid request")
		return nil, true
	}
	at := int(r.AT)
	if at <= 0 {
		at = 2
	}
	f = facts{
		"id": r.ID, "at": settle(n, "auction type", int(r.AT), at), "tmax": settle(n, "tmax", r.TMax, min(max(r.TMax, 0), 3600_000)), "test": r.Test == 1,
		"site": r.Site != nil, "app": r.App != nil, "dooh": r.DOOH != nil, "blocked": settle(n, "taxonomy", false, r.CatTax < 0 && len(r.BCat)+len(r.ACat) > 0),
	}
	for name, list := range map[string][]string{"wseat": r.WSeat, "bseat": r.BSeat, "bcat": r.BCat, "acat": r.ACat, "badv": r.BAdv, "bapp": r.BApp, "wlang": r.WLang} {
		if name == "bcat" || name == "acat" || name == "bapp" {
			trimmed := make([]string, len(list))
			for i := range list {
				trimmed[i] = strings.TrimSpace(list[i])
			}
			list = settle(n, "blanks", list, trimmed)
		}
		f[name] = n.texts(list)
	}
	cur := []rtb.Currency{}
	for _, c := range r.Cur {
		if p, ok := rtb.ParseCurrency(c); ok {
			cur = append(cur, p)
		} else {
			n.add("currency")
		}
	}
	f["cur"] = cur
	librarySupply(r, f, n)
	libraryDevice(r, f, n)
	libraryUser(r, f, n)
	usable := 0
	seen := map[string]bool{}
	for i := range r.Imp {
		m := &r.Imp[i]
		if m.ID != "" && seen[m.ID] {
			n.add("invalid request")
			return f, true
		}
		seen[m.ID] = true
		formats := present(m.Banner) + present(m.Video) + present(m.Audio) + present(m.Native)
		if m.ID == "" || len(m.ID) > maxID || formats == 0 {
			n.add("skipped imp")
			continue
		}
		libraryImp(m, fmt.Sprintf("imp%d ", usable), f, n)
		usable++
	}
	if f["imps"] = usable; usable == 0 {
		n.add("invalid request")
	}
	return f, usable == 0
}

// texts leaves out what is empty.
func (n settled) texts(list []string) []string { return settle(n, "empty text", list, nonEmpty(list)) }

// mediaTypes gives media types their registered names.
func (n settled) mediaTypes(list []string) []string {
	var named []string
	for _, m := range n.texts(list) {
		named = append(named, string(inventory.MediaType([]byte(m))))
	}
	return settle(n, "media type", n.texts(list), named)
}

// limited is lmt, or the tracking status of Apple's devices where that restricts.
func (n settled) limited(d *openrtb2.Device) rtb.Flag {
	lmt := n.flag(d.Lmt)
	var ext struct {
		Status *int `json:"atts"`
	}
	if json.Unmarshal(d.Ext, &ext) != nil || ext.Status == nil {
		return lmt
	}
	status := rtb.Yes
	switch s := *ext.Status; {
	case s == 3:
		status = rtb.No
	case s < 0 || s > 3:
		status = rtb.Unreadable
	}
	return settle(n, "tracking status", lmt, lmt.Or(status))
}

// codes leaves out what is 0.
func codesOf[T ~int8 | ~int64 | ~int](n settled, list []T) []int {
	raw := make([]int, 0, len(list))
	for _, c := range list {
		raw = append(raw, int(c))
	}
	return settle(n, "zero code", raw, codes(list))
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

func librarySupply(r *openrtb2.BidRequest, f facts, n settled) {
	f["domain"], f["page"], f["bundle"], f["publisher"] = "", "", "", ""
	var publisher *openrtb2.Publisher
	switch {
	case r.Site != nil:
		f["domain"], f["page"], publisher = r.Site.Domain, r.Site.Page, r.Site.Publisher
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
	for i, c := range chains {
		if c.SChain != nil {
			settle(n, "ext place", 0, i)
			f["schain"], f["nodes"] = true, len(c.SChain.Nodes)
			break
		}
	}
}

func libraryDevice(r *openrtb2.BidRequest, f facts, n settled) {
	d := r.Device
	if d == nil {
		d = &openrtb2.Device{}
	}
	f["ua"], f["ip"], f["ipv6"], f["devicetype"], f["language"] = d.UA, d.IP, d.IPv6, int(d.DeviceType), d.Language
	f["w"], f["h"], f["lmt"], f["dnt"] = n.clamp(d.W), n.clamp(d.H), n.limited(d), n.flag(d.DNT)
	f["country"], f["city"] = "", ""
	if d.Geo != nil {
		f["country"], f["city"] = d.Geo.Country, d.Geo.City
	}
}

func (n settled) clamp(v int64) int {
	return int(settle(n, "integer", v, max(min(v, maxInt), -maxInt)))
}

func (n settled) length(v int64) int { return int(settle(n, "integer", v, max(min(v, maxInt), 0))) }

// flag is flagOf, which counts what is neither 0 nor 1.
func (n settled) flag(p *int8) rtb.Flag {
	f := flagOf(p)
	if f == rtb.Unreadable {
		n.add("flag")
	}
	return f
}

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
func libraryUser(r *openrtb2.BidRequest, f facts, n settled) {
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
	f["coppa"] = settle(n, "ext place", regs.COPPA == 1, regs.COPPA == 1 || extCOPPA(r.Ext) || extCOPPA(regs.Ext))
	f["gdpr"] = settle(n, "ext place", n.flag(regs.GDPR), flagOf(regs.GDPR).Or(flagOf(re.GDPR)).Or(flagOf(ue.GDPR)))
	f["consent"], f["gpp"] = settle(n, "ext place", user.Consent, last(user.Consent, ue.Consent)), settle(n, "ext place", regs.GPP, last(regs.GPP, re.GPP))
	f["us_privacy"] = settle(n, "ext place", regs.USPrivacy, last(regs.USPrivacy, re.USP, ue.USP))
	f["gpp_sid"] = settle(n, "ext place", codesOf(n, regs.GPPSID), codesOf(n, append(codes(regs.GPPSID), re.SID...)))
	eids := user.EIDs
	if countUIDs(eids) == 0 && countUIDs(ue.EIDs) > 0 {
		n.add("ext place")
		eids = ue.EIDs
	}
	add := func(kind rtb.IDKind, scope, id string) {
		if len(id) > maxIdentifier {
			n.add("identifier")
		} else if id != "" {
			k := fmt.Sprintf("ids %d", kind)
			f[k] = fmt.Sprintf("%v %s=%s", f[k], scope, id)
		}
	}
	add(rtb.IDVisitor, "", user.BuyerUID)
	for _, e := range eids {
		for _, u := range e.UIDs {
			if e.Source == "" || u.ID == "" {
				n.add("identifier")
				continue
			}
			add(rtb.IDEID, e.Source, u.ID)
		}
	}
	libraryIFA(r, add, n)
	add(rtb.IDExchange, "", user.ID)
}

func libraryIFA(r *openrtb2.BidRequest, add func(rtb.IDKind, string, string), n settled) {
	d := r.Device
	if d == nil || d.IFA == "" {
		return
	}
	if n.limited(d) >= rtb.Yes || flagOf(d.DNT) >= rtb.Yes || r.DOOH != nil || d.DeviceType == deviceTypeDOOH {
		n.add("advertising id")
		return
	}
	var ext struct {
		Type string `json:"ifa_type"`
	}
	json.Unmarshal(d.Ext, &ext)
	if ext.Type == "sessionid" || strings.Trim(d.IFA, "0-") == "" {
		n.add("advertising id")
		return
	}
	add(rtb.IDIFA, "", d.IFA)
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

// floor is the library's floor in micros; bad as we see it.
func (n settled) floor(v float64) (rtb.CPM, bool) {
	text, _ := json.Marshal(v)
	m, err := rtb.ParseMicros(text, rtb.RoundUp)
	if err != nil || m > rtb.Micros(rtb.MaxCPM) || math.IsNaN(v) {
		n.add("floor")
		return 0, true
	}
	return settle(n, "floor", rtb.CPM(math.Round(v*1e6)), max(rtb.CPM(m), 0)), false
}

func (n settled) currency(s string) (c rtb.Currency, bad bool) {
	if s == "" {
		return rtb.USD, false
	}
	c, ok := rtb.ParseCurrency(s)
	if !ok {
		n.add("currency")
		return rtb.USD, true
	}
	return c, false
}

func libraryImp(m *openrtb2.Imp, k string, f facts, n settled) {
	floor, bad := n.floor(m.BidFloor)
	cur, badCur := n.currency(m.BidFloorCur)
	f[k+"id"], f[k+"floor"], f[k+"cur"], f[k+"bad"] = m.ID, floor, cur, bad || badCur
	f[k+"secure"], f[k+"instl"], f[k+"exp"] = n.flag(m.Secure), m.Instl == 1, float64(n.length(m.Exp))
	formats := rtb.Formats(present(m.Banner)) | rtb.Formats(present(m.Video))<<1 | rtb.Formats(present(m.Audio))<<2 | rtb.Formats(present(m.Native))<<3
	f[k+"formats"], f[k+"private"] = formats, m.PMP != nil && m.PMP.PrivateAuction != 0
	if b := m.Banner; b != nil {
		sizes := []rtb.Size{}
		add := func(w, h int64) {
			if z := (rtb.Size{W: n.clamp(w), H: n.clamp(h)}); w > 0 && h > 0 && !slices.Contains(sizes, z) {
				sizes = append(sizes, z)
			} else {
				n.add("size")
			}
		}
		for _, z := range b.Format {
			add(z.W, z.H)
		}
		if b.W != nil && b.H != nil {
			add(*b.W, *b.H)
		}
		f[k+"sizes"], f[k+"battr"], f[k+"btype"], f[k+"mimes"], f[k+"api"] = fmt.Sprint(sizes), codesOf(n, b.BAttr), codesOf(n, b.BType), n.mediaTypes(b.MIMEs), codesOf(n, b.API)
	}
	if v := m.Video; v != nil {
		w, h, delay := int64(0), int64(0), 0
		if v.W != nil {
			w = int64(n.length(*v.W))
		}
		if v.H != nil {
			h = int64(n.length(*v.H))
		}
		if v.StartDelay != nil {
			delay = n.clamp(int64(*v.StartDelay))
		}
		protocols := codesOf(n, v.Protocols)
		if len(protocols) == 0 && v.Protocol > 0 {
			n.add("old protocol")
			protocols = []int{int(v.Protocol)}
		}
		f[k+"v"] = fmt.Sprint(n.mediaTypes(v.MIMEs), protocols, float64(n.length(v.MinDuration)), float64(n.length(v.MaxDuration)), w, h,
			v.StartDelay != nil, delay, int(v.Linearity), n.flag(v.Skip), int(v.Placement), int(v.Plcmt), codesOf(n, v.PlaybackMethod), codesOf(n, v.API), codesOf(n, v.BAttr), codesOf(n, v.Delivery))
	}
	if m.PMP != nil {
		for _, d := range m.PMP.Deals {
			if d.ID == "" {
				n.add("identifier")
				continue
			}
			floor, bad := n.floor(d.BidFloor)
			cur, badCur := n.currency(d.BidFloorCur)
			f[k+"deal "+d.ID] = fmt.Sprint(floor, cur, int(d.AT), n.texts(d.WSeat), n.texts(d.WADomain), bad || badCur)
		}
	}
}
