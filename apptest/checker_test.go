package apptest

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strings"
)

// The checker reads a bid request and its response as an exchange would, from the
// text of OpenRTB alone. It shares no package with the bidder, so that a bug
// there is not repeated here.

type object = map[string]any

func obj(v any) object { o, _ := v.(object); return o }
func list(v any) []any { l, _ := v.([]any); return l }
func str(v any) string { s, _ := v.(string); return s }
func num(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case string:
		var f float64
		if _, err := fmt.Sscanf(x, "%g", &f); err == nil {
			return f, true
		}
	}
	return 0, false
}

func strs(v any) []string {
	var out []string
	for _, s := range list(v) {
		if t := str(s); t != "" {
			out = append(out, t)
		}
	}
	return out
}

func ints(v any) []int {
	var out []int
	for _, s := range list(v) {
		if f, ok := num(s); ok {
			out = append(out, int(f))
		}
	}
	return out
}

// ourSeat is the seat of the sample shop's exchanges.
const ourSeat = "seat-1"

var plainPrice = regexp.MustCompile(`"price":\d+(\.\d{1,6})?[,}]`)

// checkResponse lists every violation in a response with status 200.
func checkResponse(request object, body []byte) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var res object
	if err := json.Unmarshal(body, &res); err != nil {
		return []string{fmt.Sprintf("the answer is no JSON: %v", err)}
	}
	if want := idText(request["id"]); str(res["id"]) != want {
		bad("id %q; want %q", res["id"], want)
	}
	cur := str(res["cur"])
	allowed := strs(request["cur"])
	if cur == "" || (len(allowed) > 0 && !containsFold(allowed, cur)) {
		bad("cur %q; want one of %v", cur, allowed)
	}
	if !plainPrice.Match(body) {
		bad("a price is no plain decimal of at most six digits")
	}
	if str(res["bidid"]) == "" {
		bad("no bidid")
	}
	seats := list(res["seatbid"])
	if len(seats) == 0 {
		bad("status 200 without a seatbid")
	}
	seen := map[string]bool{}
	for _, s := range seats {
		seat := str(obj(s)["seat"])
		if w := strs(request["wseat"]); len(w) > 0 && !contains(w, seat) {
			bad("seat %q is not in wseat %v", seat, w)
		}
		if contains(strs(request["bseat"]), seat) || seat == "" {
			bad("seat %q is blocked or empty", seat)
		}
		for _, b := range list(obj(s)["bid"]) {
			bid := obj(b)
			if id := str(bid["id"]); id == "" || seen[id] {
				bad("bid id %q is empty or doubled", id)
			} else {
				seen[id] = true
			}
			wrong = append(wrong, checkBid(request, bid, cur)...)
		}
	}
	return wrong
}

// checkBid lists the violations of one bid.
func checkBid(request, bid object, cur string) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	imp := findImp(request, str(bid["impid"]))
	if imp == nil {
		return []string{fmt.Sprintf("impid %q is not in the request", bid["impid"])}
	}
	price, ok := num(bid["price"])
	if !ok || price <= 0 || math.IsInf(price, 0) || price > 1000 {
		bad("price %v", bid["price"])
	}
	if floor, has := num(imp["bidfloor"]); has && str(bid["dealid"]) == "" {
		floorCur := str(imp["bidfloorcur"])
		if floorCur == "" {
			floorCur = "USD"
		}
		if strings.EqualFold(floorCur, cur) && price+1e-9 < floor {
			bad("price %g is below the floor %g %s", price, floor, floorCur)
		}
	}
	wrong = append(wrong, checkMarkup(imp, bid)...)
	wrong = append(wrong, checkLists(request, imp, bid)...)
	for _, field := range []string{"adm", "crid", "cid"} {
		if str(bid[field]) == "" {
			bad("no %s", field)
		}
	}
	if len(str(bid["crid"])) > 64 {
		bad("crid %q is longer than 64 bytes", bid["crid"])
	}
	for _, field := range []string{"nurl", "burl", "lurl"} {
		u := str(bid[field])
		if u == "" {
			continue
		}
		if _, err := url.Parse(strings.ReplaceAll(u, "${", "")); err != nil || len(u) > 2000 {
			bad("%s of %d characters: %v", field, len(u), err)
		}
	}
	if !strings.Contains(str(bid["burl"]), "${AUCTION_PRICE}") {
		bad("burl has no ${AUCTION_PRICE}: %q", bid["burl"])
	}
	return wrong
}

// formatNames are the objects of an impression by bid.mtype.
var formatNames = map[float64]string{1: "banner", 2: "video", 3: "audio", 4: "native"}

// formatOf returns the object for which a bid is made; nil if the impression
// has none of that kind.
func formatOf(imp, bid object) (kind string, offered object) {
	m, ok := num(bid["mtype"])
	if !ok { // before OpenRTB 2.6 only the impression shows the type
		for _, name := range formatNames {
			if imp[name] != nil {
				kind, offered = name, obj(imp[name])
			}
		}
		return kind, offered
	}
	return formatNames[m], obj(imp[formatNames[m]])
}

// checkMarkup checks the type of the markup, and the markup by its type.
func checkMarkup(imp, bid object) []string {
	kind, offered := formatOf(imp, bid)
	switch {
	case offered == nil:
		return []string{fmt.Sprintf("mtype %v on an impression without %q", bid["mtype"], kind)}
	case kind == "banner":
		return checkBanner(imp, offered, bid)
	case kind == "native":
		return checkNative(imp, bid)
	}
	return checkFilm(imp, offered, bid)
}

// checkBanner checks the size and the links of a banner.
func checkBanner(imp, banner, bid object) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	w, _ := num(bid["w"])
	h, _ := num(bid["h"])
	if !offersSize(banner, w, h) {
		bad("size %gx%g was not offered", w, h)
	}
	adm := str(bid["adm"])
	if strings.Contains(adm, "%24%7B") || strings.Contains(adm, "$%7B") {
		bad("a macro in the markup is percent-encoded")
	}
	if secure(imp) && regexp.MustCompile(`(src|href)=["']?http://`).MatchString(strings.ReplaceAll(adm, "http://127.0.0.1", "")) {
		bad("plain http in the markup of a secure impression")
	}
	if strings.Contains(adm, "{{") {
		bad("an unfilled macro of ours in the markup")
	}
	return wrong
}

// checkLists checks the block lists and the bid's declarations.
func checkLists(request, imp, bid object) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	domains := strs(bid["adomain"])
	if len(domains) == 0 {
		bad("no adomain")
	}
	for _, d := range domains {
		for _, b := range strs(request["badv"]) {
			b = strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(b), "."), "www.")
			if d == b || strings.HasSuffix(d, "."+b) {
				bad("adomain %s is in badv", d)
			}
		}
	}
	for _, c := range strs(bid["cat"]) {
		for _, b := range strs(request["bcat"]) {
			if c == b || strings.HasPrefix(c, b+"-") {
				bad("category %s is blocked by %s", c, b)
			}
		}
	}
	_, offered := formatOf(imp, bid)
	for _, a := range ints(bid["attr"]) {
		for _, b := range ints(offered["battr"]) {
			if a == b {
				bad("attribute %d is blocked", a)
			}
		}
	}
	if lang := str(bid["language"]); lang != "" && lang != "xx" {
		if w := strs(request["wlang"]); len(w) > 0 && !containsFold(w, lang) {
			bad("language %s is not in wlang %v", lang, w)
		}
	}
	return wrong
}

func findImp(request object, id string) object {
	for _, i := range list(request["imp"]) {
		if imp := obj(i); imp != nil && idText(imp["id"]) == id && id != "" {
			return imp
		}
	}
	return nil
}

// idText is an id as text: some senders write numbers.
func idText(v any) string {
	if f, ok := v.(float64); ok {
		return fmt.Sprintf("%v", f)
	}
	return str(v)
}

func offersSize(banner object, w, h float64) bool {
	same := func(o object) bool {
		ow, okW := num(o["w"])
		oh, okH := num(o["h"])
		return okW && okH && ow == w && oh == h
	}
	for _, f := range list(banner["format"]) {
		if same(obj(f)) {
			return true
		}
	}
	return same(banner)
}

func secure(imp object) bool {
	switch v := imp["secure"].(type) {
	case float64:
		return v == 1
	case bool:
		return v
	case string:
		return v == "1"
	}
	return false
}

func contains(l []string, s string) bool {
	for _, x := range l {
		if x == s {
			return true
		}
	}
	return false
}

func containsFold(l []string, s string) bool {
	for _, x := range l {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}
