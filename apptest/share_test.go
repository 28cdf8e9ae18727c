package apptest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// share counts requests of known visitors that offer the same formats.
type share struct {
	requests int
	eligible int // no rule forbids a bid of the sample shop
	bidOn    int // of those
	bids     map[string]int
	missed   []string
}

// count takes one request: whether a bid was allowed, and the response's body.
func (s *share) count(eligible bool, body []byte, line string) {
	s.requests++
	if eligible {
		s.eligible++
	}
	var answer object
	if json.Unmarshal(body, &answer) != nil || len(list(answer["seatbid"])) == 0 {
		if eligible {
			s.missed = append(s.missed, line)
		}
		return
	}
	if eligible {
		s.bidOn++
	}
	for _, seat := range list(answer["seatbid"]) {
		for _, b := range list(obj(seat)["bid"]) {
			m, _ := num(obj(b)["mtype"])
			if s.bids == nil {
				s.bids = map[string]int{}
			}
			s.bids[formatNames[m]]++
		}
	}
}

func shareTable(formats map[string]*share) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-30s %8s %10s %6s %7s  %s\n", "formats", "requests", "may be bid", "bid on", "share", "bids")
	for _, f := range slices.Sorted(maps.Keys(formats)) {
		s := formats[f]
		percent := "-"
		if s.eligible > 0 {
			percent = fmt.Sprintf("%.1f %%", 100*float64(s.bidOn)/float64(s.eligible))
		}
		fmt.Fprintf(&b, "%-30s %8d %10d %6d %7s  %s\n", f, s.requests, s.eligible, s.bidOn, percent, strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(s.bids), "map["), "]"))
	}
	return b.String()
}

// formatsOf names the formats of a request's impressions.
func formatsOf(rq object) string {
	seen := map[string]bool{}
	for _, i := range list(rq["imp"]) {
		for _, f := range formatNames {
			if obj(obj(i)[f]) != nil {
				seen[f] = true
			}
		}
	}
	if len(seen) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), "+")
}

// knows reports whether one of the request's ids was introduced to the bidder.
func knows(rq object, known map[string]bool) bool {
	user, device := obj(rq["user"]), obj(rq["device"])
	return known["uid"+str(user["buyeruid"])] || known["ifa"+str(device["ifa"])] || known["id"+str(user["id"])]
}

// shopSizes are those of the sample shop's banners.
var shopSizes = [][2]float64{{300, 250}, {728, 90}, {160, 600}, {320, 50}, {300, 600}, {970, 250}, {320, 100}, {300, 50}, {468, 60}, {336, 280}}

// forbidsImp names what keeps the sample shop from an impression: the best of
// its formats counts.
func forbidsImp(imp object) string {
	if idText(imp["id"]) == "" {
		return "an impression without id"
	}
	if floor, _ := num(imp["bidfloor"]); floor > 3.5 {
		return "floor"
	}
	if c := str(imp["bidfloorcur"]); c != "" && !strings.EqualFold(c, "USD") {
		return "floor currency"
	}
	if p, _ := num(obj(imp["pmp"])["private_auction"]); p == 1 {
		return "private auction"
	}
	why := "no format"
	for kind, forbids := range map[string]func(object) string{"banner": forbidsBanner, "video": forbidsFilm("video/mp4", "video/webm"),
		"audio": forbidsFilm("audio/mpeg", "audio/mp3", "audio/mp4"), "native": forbidsNative} {
		if offered := obj(imp[kind]); offered != nil {
			r := forbids(offered)
			if r == "" {
				return ""
			}
			why = kind + " " + r
		}
	}
	return why
}

func forbidsBanner(banner object) string {
	if !slices.ContainsFunc(shopSizes, func(s [2]float64) bool { return offersSize(banner, s[0], s[1]) }) {
		return "size"
	}
	if m := strs(banner["mimes"]); len(m) > 0 && !containsFold(m, "text/html") && !containsFold(m, "image/jpeg") {
		return "mimes"
	}
	return ""
}

// forbidsFilm reports whether the request excludes the shop's video and audio
// ads: 15 seconds, linear, inline, in VAST 2 to 4 or DAAST, in these types.
func forbidsFilm(types ...string) func(object) string {
	return func(v object) string {
		if !slices.ContainsFunc(strs(v["mimes"]), func(m string) bool { return containsFold(types, m) }) {
			return "mimes"
		}
		protocols := ints(v["protocols"])
		if len(protocols) > 0 && !slices.ContainsFunc(protocols, func(p int) bool { return slices.Contains([]int{2, 3, 7, 9, 11, 13, 15}, p) }) {
			return "protocols"
		}
		if exact := ints(v["rqddurs"]); len(exact) > 0 && !slices.Contains(exact, 15) {
			return "duration"
		}
		least, _ := num(v["minduration"])
		most, limited := num(v["maxduration"])
		if least > 15 || limited && most > 0 && most < 15 {
			return "duration"
		}
		if l, ok := num(v["linearity"]); ok && l == 2 {
			return "linearity"
		}
		return ""
	}
}

// forbidsNative reports whether the request requires assets that the shop
// lacks: it has no video, and only the data assets of its creatives.
func forbidsNative(native object) string {
	request := nativeRequest(native)
	if len(list(request["assets"])) == 0 {
		return "request"
	}
	for _, x := range list(request["assets"]) {
		a := obj(x)
		if required, _ := num(a["required"]); required != 1 {
			continue
		}
		data, _ := num(obj(a["data"])["type"])
		image, _ := num(obj(a["img"])["type"])
		switch {
		case obj(a["title"]) != nil:
		case obj(a["img"]) != nil && slices.Contains([]float64{1, 3}, image):
		case obj(a["data"]) != nil && slices.Contains([]float64{1, 2, 6, 7, 11, 12}, data):
		default:
			return "required asset"
		}
	}
	return ""
}
