package apptest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tallied are sums by metric for each combination of dimensions.
type tallied map[string]map[string]float64

func (x tallied) add(key, metric string, n float64) {
	if x[key] == nil {
		x[key] = map[string]float64{}
	}
	x[key][metric] += n
}

// logCount is a recount of the raw log. It shares no code with the bidder: lines are
// generic JSON, and what is counted is written down here a second time.
type logCount struct {
	zone *time.Location
	bids map[string]map[string]any // the bid by its id, with what its record says of the impression
	seen map[string]bool
	sums map[string]tallied // by report
}

func recountLog(t *testing.T, data string) *logCount {
	t.Helper()
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	c := &logCount{zone: zone, bids: map[string]map[string]any{}, seen: map[string]bool{}, sums: map[string]tallied{}}
	for _, r := range []string{"delivery", "recency_frequency", "nobid", "refused", "match_rate", "losses", "qps_waste", "reconcile", "funnel", "pacing"} {
		c.sums[r] = tallied{}
	}
	for _, line := range rawLines(t, filepath.Join(data, "log", "bids")) {
		c.record(line)
	}
	for _, line := range rawLines(t, filepath.Join(data, "log", "facts")) {
		c.fact(line)
	}
	return c
}

// rawLines reads every line of the files of a log, with the zstd program for packed ones.
func rawLines(t *testing.T, dir string) (out []map[string]any) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.ndjson*"))
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(names)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if strings.HasSuffix(name, ".zst") {
			text, err = exec.Command("zstd", "-dcq", name).Output()
			if err != nil {
				t.Skipf("cannot unpack %s without the zstd program: %v", name, err)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var m map[string]any
			d := json.NewDecoder(strings.NewReader(line))
			if d.Decode(&m) == nil {
				out = append(out, m)
			}
		}
	}
	return out
}

func amount(v any) float64 { f, _ := v.(float64); return f }

func at(m map[string]any, path ...string) any {
	var v any = m
	for _, p := range path {
		v = obj(v)[p]
	}
	return v
}

// The stage that a no-bid reason belongs to, as docs/reference.md orders them.
var (
	beforeVisitor = strings.Fields("error malformed duplicate_imp unauthorised throttled overloaded late crawler invalid_traffic test_ignored blind paused " +
		"privacy_coppa privacy_gdpr privacy_gpp privacy_usp privacy_gpc privacy_lmt privacy_npa privacy_unknown_country no_id unknown_visitor privacy_opted_out")
	beforeAudience = strings.Fields("no_campaign seat_blocked site_blocked schain ads_txt inventory no_audience audience_excluded")
	money          = strings.Fields("currency rate_stale frequency in_flight floor paced same_impression budget grant")
)

// record counts a bid record.
func (c *logCount) record(m map[string]any) {
	when, err := time.Parse(time.RFC3339Nano, str(m["ts"]))
	if err != nil {
		return
	}
	exchange, reason, bids := str(m["exchange"]), str(at(m, "decision", "nobid")), list(at(m, "decision", "bids"))
	weight := amount(m["sample_weight"])
	imps := list(at(m, "request", "imp"))
	size := func(id string) string {
		for _, i := range imps {
			if b := obj(obj(i)["banner"]); id == "" || str(obj(i)["id"]) == id {
				w, h := b["w"], b["h"]
				if formats := list(b["format"]); w == nil && len(formats) > 0 {
					w, h = obj(formats[0])["w"], obj(formats[0])["h"]
				}
				if v := obj(obj(i)["video"]); b == nil && v != nil {
					w, h = v["w"], v["h"]
				}
				if w == nil || h == nil {
					return ""
				}
				return fmt.Sprintf("%vx%v", w, h)
			}
		}
		return ""
	}
	where := map[string]string{"exchange": exchange, "country": str(at(m, "request", "device", "geo", "country")), "domain": str(at(m, "request", "site", "domain"))}
	if page := str(at(m, "request", "site", "page")); where["domain"] == "" && page != "" {
		where["domain"], _, _ = strings.Cut(strings.SplitN(page, "://", 2)[1], "/")
	}
	stage := func(metric string) {
		c.sums["match_rate"].add(exchange, metric, weight)
		c.sums["funnel"].add("", metric, weight)
		for by, v := range where {
			c.sums["qps_waste"].add(by+" "+v, metric, weight)
		}
		c.sums["qps_waste"].add("size "+size(""), metric, weight)
	}
	stage("requests")
	anonymous, _ := m["anonymous"].(bool)
	known := !anonymous && (len(bids) > 0 || !slices.Contains(beforeVisitor, reason))
	if known {
		stage("matched_users")
		if len(bids) > 0 || !slices.Contains(beforeAudience, reason) {
			stage("in_audience")
		}
	}
	if len(bids) > 0 || slices.Contains(money, reason) {
		stage("eligible")
	}
	if len(bids) > 0 {
		stage("answered")
	} else {
		c.sums["nobid"].add(reason, "requests", weight)
	}
	for _, x := range list(at(m, "decision", "dropped")) {
		d := obj(x)
		if r := str(d["reason"]); r != "" {
			c.sums["refused"].add(lineOf(d)+" "+r, "refusals", weight)
			five := when.In(c.zone).Truncate(5 * time.Minute).Format("2006-01-02T15:04Z07:00")
			c.sums["pacing"].add(five+" "+lineOf(d), "refusals", weight)
		}
	}
	for _, x := range bids {
		b := obj(x)
		b["exchange"], b["size"], b["country"], b["domain"] = exchange, size(str(b["impid"])), where["country"], where["domain"]
		b["recency"], b["often"] = recencyOf(amount(b["recency_s"])), oftenOf(amount(b["recency_s"]), amount(b["frequency"]))
		c.bids[str(b["bid_id"])] = b
		c.count(b, when, lineOf(b), "bids", 1)
	}
}

func recencyOf(s float64) string {
	for _, x := range []struct {
		below float64
		name  string
	}{{1, "unknown"}, {3600, "<1h"}, {14400, "1-4h"}, {43200, "4-12h"}, {86400, "12-24h"}, {172800, "1-2d"}, {604800, "2-7d"}} {
		if s < x.below {
			return x.name
		}
	}
	return "old"
}

func oftenOf(recency, n float64) string {
	switch {
	case recency == 0 && n == 0:
		return "unknown"
	case n < 4:
		return strconv.Itoa(int(n))
	case n < 6:
		return "4-5"
	case n < 11:
		return "6-10"
	case n < 21:
		return "11-20"
	}
	return ">20"
}

func lineOf(m map[string]any) string {
	return str(m["advertiser"]) + " " + str(m["campaign"]) + " " + str(m["line"])
}

// count adds an amount to the reports about bids, at the time of the bid.
func (c *logCount) count(b map[string]any, when time.Time, line, metric string, n float64) {
	local := when.In(c.zone)
	day := local.Format(time.DateOnly)
	c.sums["delivery"].add(day+" "+line, metric, n)
	c.sums["reconcile"].add(day+" "+str(b["exchange"]), metric, n)
	c.sums["recency_frequency"].add(str(b["recency"])+" "+str(b["often"]), metric, n)
	c.sums["funnel"].add("", metric, n)
	c.sums["pacing"].add(local.Truncate(5*time.Minute).Format("2006-01-02T15:04Z07:00")+" "+line, metric, n)
	for _, by := range []string{"exchange", "size", "country", "domain"} {
		c.sums["qps_waste"].add(by+" "+str(b[by]), metric, n)
	}
}

// fact counts a notice: each kind once for each bid, and the charge with the first notice
// that bills.
func (c *logCount) fact(m map[string]any) {
	id, kind := str(m["bid_id"]), str(m["kind"])
	if id == "" {
		return
	}
	when, err := time.Parse(time.RFC3339Nano, str(m["issued"]))
	if err != nil {
		return
	}
	b, line := c.bids[id], lineOf(m)
	if b == nil {
		b = map[string]any{"exchange": m["exchange"], "recency": "unknown", "often": "unknown"}
	}
	once := func(what string) bool {
		first := !c.seen[what+id]
		c.seen[what+id] = true
		return first
	}
	metric := map[string]string{"imp": "imps", "click": "clicks", "view": "viewable", "loss": "losses"}[kind]
	if metric != "" && once(kind) {
		if c.count(b, when, line, metric, 1); kind == "loss" {
			c.sums["losses"].add(str(m["exchange"])+" "+line+" "+strconv.Itoa(int(amount(m["loss_reason"]))), "losses", 1)
		}
	}
	bills, _ := m["bills"].(bool)
	if (kind == "win" || bills) && once("win") {
		c.count(b, when, line, "wins", 1)
	}
	if bills && once("charge") {
		c.count(b, when, line, "bills", 1)
		c.count(b, when, line, "spend_micros", amount(m["price_micros"]))
	}
}

// reportRows reads a report as JSON, and returns its rows by the values of some columns.
func reportRows(t *testing.T, data string, name string, by ...string) tallied {
	t.Helper()
	status, out, errs := program(t, "bidder", "report", name, "--data", data, "--format", "json", "--from", "2d")
	if status != 0 {
		t.Fatalf("bidder report %s: status %d\n%s%s", name, status, out, errs)
	}
	return rowsOf(t, []byte(out), by...)
}

func rowsOf(t *testing.T, text []byte, by ...string) tallied {
	t.Helper()
	rows := tallied{}
	for _, r := range list(parse(t, text)["rows"]) {
		var key []string
		for _, d := range by {
			key = append(key, str(obj(r)[d]))
		}
		for metric, v := range obj(r) {
			if n, ok := v.(float64); ok {
				rows.add(strings.Join(key, " "), metric, n)
			}
		}
	}
	return rows
}

// same compares the metrics of a report with the recount, in both directions.
func same(t *testing.T, what string, got, want tallied, metrics ...string) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		for _, m := range metrics {
			if g, w := got[key][m], want[key][m]; g != w {
				t.Errorf("%s: %q: got %s %v; the log has %v", what, key, m, g, w)
			}
		}
	}
	for key := range got {
		for _, m := range metrics {
			if want[key] == nil && got[key][m] != 0 {
				t.Errorf("%s: %q: got %s %v; the log has no such row", what, key, m, got[key][m])
			}
		}
	}
	if len(want) == 0 {
		t.Errorf("%s: the log has nothing to compare", what)
	}
}

// compareReports compares every canned report with a recount of the raw log.
func compareReports(t *testing.T, data string) {
	t.Helper()
	c := recountLog(t, data)
	line := []string{"advertiser", "campaign", "line"}
	outcomes := []string{"bids", "wins", "bills", "imps", "clicks", "spend_micros"}
	same(t, "delivery", reportRows(t, data, "delivery", append([]string{"day"}, line...)...), c.sums["delivery"], append(outcomes, "viewable")...)
	same(t, "reconcile", reportRows(t, data, "reconcile", "day", "exchange"), c.sums["reconcile"], "bids", "wins", "bills", "imps", "spend_micros")
	same(t, "recency_frequency", reportRows(t, data, "recency_frequency", "recency_bucket", "frequency_bucket"), c.sums["recency_frequency"], "bids", "wins", "imps", "clicks", "spend_micros")
	same(t, "nobid", reportRows(t, data, "nobid", "nobid_reason"), c.sums["nobid"], "requests")
	same(t, "match_rate", reportRows(t, data, "match_rate", "exchange"), c.sums["match_rate"], "requests", "matched_users", "in_audience", "eligible", "answered")
	same(t, "losses", reportRows(t, data, "losses", append(append([]string{"exchange"}, line...), "loss_reason")...), c.sums["losses"], "losses")
	same(t, "qps_waste", reportRows(t, data, "qps_waste", "by", "value"), c.sums["qps_waste"], "requests", "matched_users", "eligible", "answered", "bids", "wins")
	same(t, "pacing", reportRows(t, data, "pacing", append([]string{"minute5"}, line...)...), c.sums["pacing"], "bids", "wins", "spend_micros", "refusals")
	funnel, want := reportRows(t, data, "funnel", "step"), c.sums["funnel"][""]
	for step, metric := range map[string]string{"requests": "requests", "known user": "matched_users", "audience": "in_audience", "eligible": "eligible", "answered": "answered",
		"bids": "bids", "won": "wins", "impressions": "imps", "clicks": "clicks"} {
		if funnel[step]["count"] != want[metric] {
			t.Errorf("funnel: %s: got %v; the log has %v", step, funnel[step]["count"], want[metric])
		}
	}
	_, out, _ := program(t, "bidder", "report", "nobid", "--data", data, "--format", "json", "--advertiser", "shop")
	same(t, "nobid of an advertiser", rowsOf(t, []byte(out), append(line, "nobid_reason")...), c.sums["refused"], "refusals")
	if want["spend_micros"] == 0 || want["clicks"] == 0 || want["wins"] == want["bids"] {
		t.Errorf("too little happened: %v", want)
	}
}

// awaitBidLog waits until all bid records are in the log.
func (b *bidder) awaitBidLog() {
	b.t.Helper()
	within(b.t, patience, "the bid log to be written", func() bool { return b.metric("rebound_events_bid_records_waiting") == 0 })
}

// TestReportsEqualTheLog: every canned report equals a recount of the raw log to the micro,
// on a running and on a stopped bidder, after late and repeated notices, after a kill, after
// an erasure and after the rollups were lost.
func TestReportsEqualTheLog(t *testing.T) {
	examples := filepath.Join(t.TempDir(), "examples")
	copyFolder(t, "../examples", examples)
	config := filepath.Join(examples, "shop", "rebound.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	sampled := strings.Replace(string(text), "known_nobid_pct: 1, unknown_nobid_pct: 0.1", "known_nobid_pct: 100, unknown_nobid_pct: 25", 1)
	if sampled == string(text) {
		t.Fatal("the sample configuration has other shares of no-bids")
	}
	if err := os.WriteFile(config, []byte(sampled), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBidder(t, "--config", config)
	uid, _ := b.loop()
	trade := func(seed string) {
		t.Helper()
		status, out, errs := program(t, "loadtest", b.exchangeArgs("--pages", "450", "--duration", "0", "--rate", "0", "--visitors", "60", "--tmax", "10s", "--click-pct", "30", "--convert-pct", "50",
			"--lost-pct", "5", "--late-pct", "5", "--late-delay", "200ms", "--duplicate-pct", "10", "--reordered-pct", "20", "--billed-loss-pct", "20", "--seed", seed)...)
		if status != 0 {
			t.Fatalf("status %d:\n%s%s", status, out, errs)
		}
		b.awaitBidLog()
	}
	trade("1")
	compareReports(t, b.dir)

	b.kill()
	b.start()
	trade("2")
	compareReports(t, b.dir)

	rows := func(url string, header ...string) (int, tallied) {
		rs, body := call(t, nil, http.MethodGet, url, "", nil, header...)
		if rs.StatusCode != http.StatusOK {
			return rs.StatusCode, nil
		}
		return rs.StatusCode, rowsOf(t, body, "line")
	}
	key := []string{"Authorization", "Bearer demo-shop-key"}
	_, all := rows("http://" + b.Admin + "/v1/reports?dims=line&metrics=bids,spend")
	_, own := rows("http://"+b.Edge+"/v1/reports?dims=line&metrics=bids,spend", key...)
	if len(own) == 0 || fmt.Sprint(all) != fmt.Sprint(own) {
		t.Errorf("got %v for the only advertiser and %v for all", own, all)
	}
	for path, want := range map[string]int{"/v1/reports/qps_waste": 403, "/v1/reports?metrics=requests": 403, "/v1/reports/delivery?advertiser=other": 403, "/v1/reports/x": 404, "/v1/reports?metrics=x": 400} {
		if got, _ := rows("http://"+b.Edge+path, key...); got != want {
			t.Errorf("%s: got status %d; want %d", path, got, want)
		}
	}
	before := reportRows(t, b.dir, "recency_frequency", "recency_bucket", "frequency_bucket")
	if status, out, errs := program(t, "bidder", "erase", "--admin", b.Admin, "uid:"+uid); status != 0 {
		t.Fatalf("erase: status %d\n%s%s", status, out, errs)
	}
	b.terminate()
	if after := reportRows(t, b.dir, "recency_frequency", "recency_bucket", "frequency_bucket"); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("an erasure changed the report from\n%v to\n%v", before, after)
	}
	compareReports(t, b.dir)
	if err := os.RemoveAll(filepath.Join(b.dir, "reports")); err != nil {
		t.Fatal(err)
	}
	compareReports(t, b.dir)
}

// TestReportsDocument runs the commands of docs/reports.md on the folder of a running bidder.
func TestReportsDocument(t *testing.T) {
	text, blocks := script(t, "docs/reports.md")
	if blocks != 3 {
		t.Fatalf("got %d blocks of shell; want 3", blocks)
	}
	b := startBidder(t)
	uid, _ := b.loop()
	if uid == "" {
		t.Fatal("no visitor")
	}
	b.awaitBidLog()
	dir := t.TempDir()
	cmd := exec.Command("bash", "-c", "set -eu\n"+strings.ReplaceAll(text, "./data", b.dir))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Delivery by day and line", "biggest leak", "by,value,requests", "2026-10-01", "viewed"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if page, err := os.ReadFile(filepath.Join(dir, "delivery.html")); err != nil || !strings.Contains(string(page), "<table>") || strings.Contains(string(page), "<script") {
		t.Errorf("page: %v %s", err, page)
	}
}
