package apptest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hostileCase is one line of the corpus of hostile bodies.
type hostileCase struct {
	Name, Kind, Expect string
	Headers            map[string]string
	B64                []byte
}

// overruled are the cases whose expectation a conformance rule overrules, with
// the rule.
var overruled = map[string]string{
	"rtb/number-id":          "V5: one odd scalar must not lose the auction; the id is read as text and echoed as such",
	"rtb/at-501":             "P1: at 500 and above is exchange-defined; the profile says which price type it is",
	"rtb/at-3":               "P2: 3 is a type of deals; on a request it is unknown, and V4 ignores unknown values",
	"rtb/no-site-app":        "V12: without site, app and dooh it is the profile that allows a bid; the generic one does",
	"rtb/video-garbage":      "V5: a single string where a list is wanted is read as a list of one",
	"rtb/cur-string":         "V5: a single string where a list is wanted is read as a list of one",
	"rtb/banner-frac-size":   "V5: w:300.5 is on its list of scalars that must not lose the auction; it is read as 300",
	"rtb/cur-eur-only":       "P9: the answer may be in any listed currency for which there is a rate, and the sample has one",
	"rtb/floor-raw-neg-zero": "P5: -0.0 is a valid number, and zero; there is no floor",
	"rtb/badv-ours":          "B10: the blocked domain, advertiser.example, is not the sample shop's",
}

// TestHostile posts every body of the hostile corpus, its one visitor made
// known first so that nothing is refused for the wrong reason.
func TestHostile(t *testing.T) {
	f := shared(t, "hostile.jsonl")
	b := startBidder(t)
	w := b.browser()
	w.pixel("a=shop&e=view_item&id=SKU1")
	for _, id := range []string{"u1", "last"} {
		if rs, _ := call(t, w.c, http.MethodGet, "http://"+b.Edge+"/v1/match?ex=demo&uid="+id, "", nil); rs.StatusCode != http.StatusOK {
			t.Fatalf("match: %d", rs.StatusCode)
		}
	}
	ordinary := []byte(`{"id":"o","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s","page":"https://e.example/"},"user":{"id":"last"},"tmax":500}`)
	within(t, patience, "the visitor is known", func() bool {
		status, _ := b.ask("demo", ordinary)
		return status == http.StatusOK
	})
	before := b.memory()
	outcomes := map[string]int{}
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 1<<20), 64<<20)
	for s.Scan() {
		var c hostileCase
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		status, body := b.hostile(t, &c)
		outcomes[fmt.Sprintf("%-45s %d", c.Expect, status)]++
		if wrong := c.judge(t, b, status, body); wrong != "" {
			if rule := overruled[c.Name]; rule != "" {
				t.Logf("%s: %s; overruled by %s", c.Name, wrong, rule)
				continue
			}
			t.Errorf("%s (%s): %s\nbody %.300q", c.Name, c.Expect, wrong, c.B64)
		}
		if status, _ := b.ask("demo", ordinary); status != http.StatusOK {
			t.Fatalf("after %s an ordinary request gets %d; want a bid", c.Name, status)
		}
	}
	t.Logf("outcomes:\n%s", tableText(outcomes))
	t.Logf("no-bids by reason:\n%s", b.reasons())
	if after := b.memory(); after > before+64<<20 {
		t.Errorf("memory went from %d to %d MiB", before>>20, after>>20)
	} else {
		t.Logf("resident memory: %d MiB before, %d MiB after", before>>20, after>>20)
	}
}

// hostile posts one case; a closed connection fails the test.
func (b *bidder) hostile(t *testing.T, c *hostileCase) (int, []byte) {
	t.Helper()
	contentType := c.Headers["Content-Type"]
	if contentType == "" {
		contentType = "application/json"
	}
	var header []string
	if e := c.Headers["Content-Encoding"]; e != "" {
		header = []string{"Content-Encoding", e}
	}
	rs, body := call(t, nil, http.MethodPost, "http://"+b.Bid+"/openrtb2/demo", contentType, c.B64, header...)
	if rs.Close {
		t.Errorf("%s: the connection is closed", c.Name)
	}
	return rs.StatusCode, body
}

// judge says how a response falls short of the case's expectation.
func (c *hostileCase) judge(t *testing.T, b *bidder, status int, body []byte) string {
	t.Helper()
	bid := status == http.StatusOK
	if !slices.Contains([]int{200, 204, 400, 413, 415}, status) {
		return fmt.Sprintf("status %d", status)
	}
	var rq object
	if bid && json.Unmarshal(c.B64, &rq) == nil {
		if wrong := checkResponse(rq, body); len(wrong) > 0 && c.Name != "rtb/number-id" {
			return strings.Join(wrong, "; ")
		}
	}
	switch {
	case strings.HasPrefix(c.Expect, "no-bid, never"), c.Expect == "no-bid", strings.HasPrefix(c.Expect, "no-bid or 400"):
		if bid {
			return "a bid"
		}
	case c.Expect == "bid-allowed":
		if !bid {
			return fmt.Sprintf("status %d, though a bid is allowed and the visitor is ours", status)
		}
	case c.Expect == "413/400":
		if status != 413 && status != 400 {
			return fmt.Sprintf("status %d", status)
		}
	case c.Expect == "415/400":
		if status != 415 && status != 400 {
			return fmt.Sprintf("status %d", status)
		}
	case c.Expect == "no spend counted":
		if r, _ := num(b.budget("autumn", "", "day")["spent_micros"]); r != 0 {
			return fmt.Sprintf("spent %g", r)
		}
	case strings.HasPrefix(c.Expect, "no duplicate bid"):
		if strings.Count(string(body), `"impid":"1"`) > 1 {
			return "two bids for one impression"
		}
	}
	return ""
}

// memory is the process's resident memory in bytes.
func (b *bidder) memory() int {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.cmd.Process.Pid))
	if err != nil {
		b.t.Skip("no /proc on this system")
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
