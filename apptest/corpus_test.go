package apptest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shared opens a file of the corpus next to the checkout; tests that need it
// are skipped if it is missing.
func shared(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "corpus", name))
	if err != nil {
		t.Skip("no corpus next to the checkout")
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestCorpus posts every request of the corpus to a bidder to which their
// visitors are known, and reads every response as an exchange would.
func TestCorpus(t *testing.T) {
	f := shared(t, "requests.jsonl")
	b := startBidder(t)
	var lines [][]byte
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 1<<20), 8<<20)
	for s.Scan() {
		lines = append(lines, slices.Clone(s.Bytes()))
	}
	known := introduce(t, b, lines)

	reasons, formats := map[string]int{}, map[string]*share{}
	responses := schemas(t)
	for i, line := range lines {
		status, body := b.ask("demo", line)
		var rq object
		if json.Unmarshal(line, &rq) != nil {
			rq = nil
		}
		why := forbids(rq, known)
		switch {
		case status == http.StatusOK:
			reasons["bid"]++
			wrong := checkResponse(rq, body)
			for version, s := range responses {
				for _, w := range s.check(body) {
					wrong = append(wrong, "by the schema of "+version+", "+w)
				}
			}
			for _, w := range wrong {
				t.Errorf("line %d: %s\nrequest %s\nanswer %s", i+1, w, line, body)
			}
		case status == http.StatusNoContent || status == http.StatusBadRequest:
			reasons[fmt.Sprintf("%d, %s", status, orWord(why, "nothing forbids it"))]++
		default:
			t.Errorf("line %d: status %d: %s", i+1, status, line)
		}
		if knows(rq, known) {
			f := formatsOf(rq)
			if formats[f] == nil {
				formats[f] = &share{}
			}
			formats[f].count(why == "", body, fmt.Sprintf("line %d: %.300s", i+1, line))
		}
	}
	t.Logf("%d requests; by the checker's reading:\n%s", len(lines), tableText(reasons))
	t.Logf("no-bids by the bidder's reason:\n%s", b.reasons())
	t.Logf("known visitors' requests by the formats that they offer:\n%s", shareTable(formats))
	for f, s := range formats {
		if s.eligible >= 5 && s.bidOn*100 < s.eligible*80 {
			t.Errorf("%s: %d of %d that no rule forbids are bid on; want at least 80 %%:\n%s", f, s.bidOn, s.eligible, strings.Join(s.missed, "\n"))
		}
	}
	if s := formats["banner"]; s == nil || s.eligible < 50 {
		t.Errorf("got %+v banner requests; want at least 50 that no rule forbids", s)
	}
	if status, _ := b.get("http://" + b.Bid + "/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
}

// introduce makes every id of the requests known: our own by server event, device
// ids likewise, an exchange's user by a browser that is matched. It gives the set
// of ids that were accepted.
func introduce(t *testing.T, b *bidder, lines [][]byte) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	var batch []string
	event := func(kind, id string) {
		if id == "" || known[kind+id] || len(id) > 128 {
			return
		}
		known[kind+id] = true
		e, _ := json.Marshal(map[string]any{"event": "view_item", "user": map[string]string{kind: id}, "items": []any{map[string]string{"id": "SKU3"}}})
		batch = append(batch, string(e))
	}
	for _, line := range lines {
		var rq object
		if json.Unmarshal(line, &rq) != nil {
			continue
		}
		user := obj(rq["user"])
		event("uid", str(user["buyeruid"]))
		if ifa := str(obj(rq["device"])["ifa"]); strings.Trim(ifa, "0-") != "" {
			event("ifa", ifa)
		}
		if id := str(user["id"]); id != "" && !known["id"+id] {
			known["id"+id] = true
			w := b.browser()
			w.pixel("a=shop&e=view_item&id=SKU3")
			rs, _ := call(t, w.c, http.MethodGet, "http://"+b.Edge+"/v1/match?ex=demo&uid="+url.QueryEscape(id), "", nil)
			if rs.StatusCode != http.StatusOK {
				t.Fatalf("match %q: status %d", id, rs.StatusCode)
			}
		}
	}
	// Our own visitor comes last in the batch: when it gets a bid, all events are folded.
	batch = append(batch, `{"event":"view_item","user":{"uid":"corpus-last"},"items":[{"id":"SKU3"}]}`)
	reply := b.events("[" + strings.Join(batch, ",") + "]")
	for _, r := range list(reply["rejected"]) {
		i, _ := num(obj(r)["i"])
		var e struct{ User map[string]string }
		if json.Unmarshal([]byte(batch[int(i)]), &e) == nil {
			for kind, id := range e.User {
				delete(known, kind+id)
				t.Logf("not accepted: %s %q: %v", kind, id, obj(r)["code"])
			}
		}
	}
	within(t, patience, "the corpus' visitors are known", func() bool {
		status, _ := b.ask("demo", request("last", "corpus-last"))
		return status == http.StatusOK
	})
	return known
}

// forbids returns the rule that forbids a banner bid of the sample shop on a
// request; empty if there is none. It reads the raw request only.
func forbids(rq object, known map[string]bool) string {
	if rq == nil || idText(rq["id"]) == "" || len(list(rq["imp"])) == 0 {
		return "not a valid request"
	}
	places := 0
	for _, k := range []string{"site", "app", "dooh"} {
		if rq[k] != nil {
			places++
		}
	}
	user, device := obj(rq["user"]), obj(rq["device"])
	if r := forbidsVisitor(rq, user, device); r != "" {
		return r
	}
	switch {
	case places != 1:
		return "no site or app, or several"
	case rq["dooh"] != nil:
		return "a screen, not a person"
	case !knows(rq, known):
		return "no known visitor"
	}
	if tmax, ok := num(rq["tmax"]); ok && tmax > 0 && tmax < 60 {
		return "too little time"
	}
	if r := forbidsTrade(rq); r != "" {
		return r
	}
	best := "no impression"
	ids := map[string]bool{}
	for _, i := range list(rq["imp"]) {
		imp := obj(i)
		if ids[idText(imp["id"])] {
			return "impression ids doubled"
		}
		ids[idText(imp["id"])] = true
		r := forbidsImp(imp)
		if r == "" {
			best = ""
		} else if best != "" {
			best = r
		}
	}
	return best
}

// forbidsVisitor reads the privacy signals of both layouts.
func forbidsVisitor(rq, user, device object) string {
	regs := obj(rq["regs"])
	ext := obj(regs["ext"])
	on := func(v any) bool { s := fmt.Sprint(v); return v != nil && s != "0" && s != "" && s != "false" }
	switch {
	case on(regs["coppa"]) || on(ext["coppa"]):
		return "coppa"
	case on(regs["gdpr"]) || on(ext["gdpr"]):
		return "gdpr without our consent"
	case str(regs["gpp"]) != "" || str(ext["gpp"]) != "" || regs["gpp_sid"] != nil:
		return "gpp"
	case on(regs["gpc"]) || on(ext["gpc"]):
		return "gpc"
	case on(device["lmt"]) || on(device["dnt"]):
		return "lmt or dnt"
	}
	for _, usp := range []any{regs["us_privacy"], ext["us_privacy"]} {
		if s := str(usp); usp != nil && (len(s) != 4 || s[0] != '1' || s[2] == 'Y' || s[2] == 'y') {
			return "us_privacy"
		}
	}
	return ""
}

// forbidsTrade reads seats, block lists and currencies.
func forbidsTrade(rq object) string {
	if w := strs(rq["wseat"]); len(w) > 0 && !contains(w, ourSeat) {
		return "wseat"
	}
	for _, d := range strs(rq["badv"]) {
		if strings.HasSuffix(strings.ToLower(d), "shop.example") {
			return "badv"
		}
	}
	for _, c := range strs(rq["bcat"]) {
		if c == "IAB22" {
			return "bcat"
		}
	}
	if a := strs(rq["acat"]); len(a) > 0 && !contains(a, "IAB22") {
		return "acat"
	}
	if c := strs(rq["cur"]); len(c) > 0 && !containsFold(c, "USD") {
		return "currency"
	}
	if w := strs(rq["wlang"]); len(w) > 0 && !containsFold(w, "en") {
		return "language"
	}
	return ""
}

// reasons lists the bidder's no-bid counters that are not zero.
func (b *bidder) reasons() string {
	_, text := b.get("http://" + b.Admin + "/metrics")
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, `rebound_bidder_nobids_total{exchange="demo"`) && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
			out = append(out, strings.TrimSpace(strings.TrimPrefix(line, "rebound_bidder_nobids_total")))
		}
	}
	return strings.Join(out, "\n")
}

func tableText(m map[string]int) string {
	var out []string
	for k, n := range m {
		out = append(out, fmt.Sprintf("%5d  %s", n, k))
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(b, a) })
	return strings.Join(out, "\n")
}

func orWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// TestCheckerFindsFaults shows that the checker can fail: a valid response passes,
// and each fault in it is found.
func TestCheckerFindsFaults(t *testing.T) {
	var rq object
	if err := json.Unmarshal([]byte(`{"id":"q","cur":["USD"],"badv":["bad.example"],"bcat":["IAB7"],"imp":[{"id":"1","bidfloor":1,"secure":1,"banner":{"battr":[3],"format":[{"w":300,"h":250}]}}]}`), &rq); err != nil {
		t.Fatal(err)
	}
	good := `{"id":"q","bidid":"b","cur":"USD","seatbid":[{"seat":"seat-1","bid":[{"id":"x","impid":"1","price":1.5,"adm":"<img src='https://a.example'>","adomain":["shop.example"],"cid":"c","crid":"r","cat":["IAB22"],"attr":[1],"mtype":1,"w":300,"h":250,"burl":"https://e.example/b?p=${AUCTION_PRICE}"}]}]}`
	if wrong := checkResponse(rq, []byte(good)); len(wrong) > 0 {
		t.Fatalf("a good answer: %v", wrong)
	}
	for _, change := range [][2]string{
		{`"id":"q"`, `"id":"other"`}, {`"cur":"USD"`, `"cur":"EUR"`}, {`"bidid":"b",`, ``}, {`"seat":"seat-1"`, `"seat":""`},
		{`"impid":"1"`, `"impid":"2"`}, {`"price":1.5`, `"price":0.99`}, {`"price":1.5`, `"price":-1`}, {`"price":1.5`, `"price":1e1`},
		{`"price":1.5`, `"price":1.1234567`}, {`https://a.`, `http://a.`}, {`<img`, `{{click}}<img`}, {`<img`, `%24%7BAUCTION_PRICE}<img`},
		{`shop.example`, `www.bad.example`}, {`"adomain":["shop.example"],`, ``}, {`IAB22`, `IAB7-3`}, {`"attr":[1]`, `"attr":[3]`},
		{`"mtype":1`, `"mtype":2`}, {`"w":300`, `"w":320`}, {`"crid":"r"`, `"crid":""`}, {`"cid":"c",`, ``}, {`${AUCTION_PRICE}`, `1`},
		{`"seatbid":[`, `"seatbid":[],"x":[`}, {`"id":"x"`, `"id":""`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good || len(checkResponse(rq, []byte(bad))) == 0 {
			t.Errorf("%s for %s was not found", change[1], change[0])
		}
	}
}
