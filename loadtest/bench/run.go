package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"rebound/loadtest"
	"rebound/loadtest/scale"
)

// Options configure a report.
type Options struct {
	Bidder string // path of the bidder's program
	Self   string // path of the program that serves the bare handler with the verb floor
	Rounds int    // alternating pairs per case
	// Duration is how long each server gets requests in a round.
	Duration time.Duration
	// Only, if not empty, keeps the cases whose name contains it.
	Only string
	// Progress receives one line per step.
	Progress func(string)
	Now      func() time.Time
}

// Shop is the configuration of the bidder that is measured. A visitor who viewed one
// product is a candidate for about Size.Candidates of its lines.
type Shop struct {
	Size     scale.Options
	NoBidLog bool // switches the bid log off
}

// write writes the configuration to a folder and returns its path.
func (s *Shop) write(dir string) (string, error) {
	path, err := scale.Write(dir, s.Size)
	if err != nil || !s.NoBidLog {
		return path, err
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text, "\nlogs: {bids: {off: true}}\n"...), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("cannot switch the bid log off: %w", err)
	}
	return path, nil
}

// group is a configuration and the cases that are measured with it.
type group struct {
	shop     Shop
	visitors int
	cases    []Case
}

// Case is one line of the table.
type Case struct {
	Name     string
	KnownPct float64
	// First, Aim and Stretch are ratios: of the first version, and the two goals.
	First, Aim, Stretch string
}

// groups are the cases, by the configuration that they need.
func groups() []group {
	return []group{
		{Shop{Size: scale.Options{Lines: 1000, Candidates: 4}}, 20_000, []Case{
			{"0 % known visitors", 0, "2.4", "1.1", "1.0"},
			{"10 % known visitors, 1,000 lines", 10, "4.1", "1.45", "1.25"},
			{"100 % known visitors", 100, "10-16", "4.5", "3.5"},
		}},
		{Shop{Size: scale.Options{Lines: 1000, Candidates: 4}, NoBidLog: true}, 20_000, []Case{
			{"100 % known visitors, bid log off", 100, "-", "3.0", "2.5"},
		}},
		{Shop{Size: scale.Options{Lines: 10_000, Candidates: 100}}, 20_000, []Case{
			{"10 % known visitors, 100 candidates of 10,000 lines", 10, "5", "1.7", "1.5"},
			{"100 % known visitors, 100 candidates of 10,000 lines", 100, "30", "5.5", "4"},
		}},
	}
}

// Measurement is a case and what was measured.
type Measurement struct {
	Case
	Shop   Shop
	Result *loadtest.ComparisonResult
	Proof  Proof
	Failed string // why the case could not be measured; then Result is nil
}

// Proof holds the growth of the bidder's counters during a case, which shows what was
// switched on.
type Proof struct {
	Requests, Bids, Records, Dropped, Grants float64
	Reservations                             float64 // at the end: bids in flight
	NoBids                                   map[string]float64
	Bill                                     string // outcome of the billing notice of one bid
}

// Run measures all cases. A group that cannot be measured is reported as failed; only
// an interruption ends the run.
func Run(ctx context.Context, o Options) ([]Measurement, error) {
	floor, err := start(ctx, 0, o.Self, "floor", "--listen", "127.0.0.1:0", "--quiet")
	if err != nil {
		return nil, err
	}
	defer floor.stop()
	var out []Measurement
	for _, g := range groups() {
		g.cases = slices.DeleteFunc(g.cases, func(c Case) bool { return !strings.Contains(c.Name, o.Only) })
		if len(g.cases) == 0 {
			continue
		}
		done, err := o.group(ctx, floor, &g)
		out = append(out, done...)
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		for _, c := range g.cases[len(done):] {
			out = append(out, Measurement{Case: c, Shop: g.shop, Failed: short(err)})
		}
		if err != nil {
			o.Progress("failed: " + short(err))
		}
	}
	return out, nil
}

// short returns the beginning of an error's text on one line.
func short(err error) string {
	text := strings.Join(strings.Fields(fmt.Sprint(err)), " ")
	return text[:min(len(text), 240)]
}

// group starts a bidder with the group's configuration and measures its cases.
func (o *Options) group(ctx context.Context, floor *server, g *group) (out []Measurement, err error) {
	dir, err := os.MkdirTemp("", "rebound-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot create folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, err := g.shop.write(filepath.Join(dir, "config"))
	if err != nil {
		return nil, err
	}
	o.Progress(fmt.Sprintf("starting a bidder with %d lines", g.shop.Size.Lines))
	b, err := start(ctx, 0, o.Bidder, "serve", "--config", path, "--data", filepath.Join(dir, "data"),
		"--bid", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	o.Progress(fmt.Sprintf("introducing %d visitors", g.visitors))
	t := loadtest.Traffic{Visitors: g.visitors, KnownPct: 100, Seed: 1}
	shop := loadtest.Shop{EdgeURL: "http://" + b.addr["edge"], Key: scale.Key, Products: products()}
	if err := t.Introduce(ctx, shop, &loadtest.Attack{Target: target(b), Deadline: time.Second}, nil); err != nil {
		return nil, err
	}
	for _, c := range g.cases {
		m, err := o.measure(ctx, b, floor, g, c)
		if err != nil {
			return out, err
		}
		out = append(out, *m)
		r := m.Result
		o.Progress(fmt.Sprintf("%s: %.2f times the bare handler (%.2f to %.2f; quietest rounds %.2f: %.1f us / %.1f us)", c.Name, r.Ratio.Median, r.Ratio.Min, r.Ratio.Max, r.QuietRatio, r.SubjectCPU.Min, r.ControlCPU.Min))
	}
	return out, nil
}

// bidPath is the path of the exchange of the configuration.
const bidPath = "/openrtb2/demo"

// target is the URL of the exchange.
func target(b *server) string { return "http://" + b.addr["bid"] + bidPath }

// products are those of the smallest configuration, which the others have too.
func products() []string {
	out := make([]string, 200)
	for i := range out {
		out[i] = fmt.Sprintf("SKU%d", i+1)
	}
	return out
}

// bodies is the number of different requests of a case: with 2 KB each they are far
// larger than the caches of the processor.
const bodies = 10_000

// sampled is how many responses go by between two that are checked.
const sampled = 500

// measure measures one case.
func (o *Options) measure(ctx context.Context, b, floor *server, g *group, c Case) (*Measurement, error) {
	t := loadtest.Traffic{Visitors: g.visitors, KnownPct: c.KnownPct, Seed: 1}
	client := runtime.NumCPU() - 1
	loop := loadtest.ClosedLoop{Target: target(b), Bodies: t.Bodies(bodies), CPU: client, Now: o.Now, Check: loadtest.CheckResponse, CheckEvery: sampled}
	control := loop
	control.Target, control.Check = "http://"+floor.addr["addr"]+"/", nil
	var err error
	bid := &[]byte{} // one of the responses with a bid
	if control.Paths, err = o.controlPaths(ctx, &loop, &control, bid); err != nil {
		return nil, err
	}
	before, err := readMetrics(ctx, b.addr["admin"])
	if err != nil {
		return nil, err
	}
	compared := loadtest.Comparison{
		Subject: loadtest.Side{Name: "bidder", Loop: loop, PID: b.cmd.Process.Pid}, Control: loadtest.Side{Name: "bare handler", Loop: control, PID: floor.cmd.Process.Pid},
		Rounds: o.Rounds, Duration: o.Duration, Warmup: o.Duration / 5, Settle: 200 * time.Millisecond,
	}
	m := &Measurement{Case: c, Shop: g.shop}
	if m.Result, err = compared.Run(ctx); err != nil {
		return nil, err
	}
	after, err := readMetrics(ctx, b.addr["admin"])
	if err != nil {
		return nil, err
	}
	m.Proof = proofOf(before, after)
	m.Proof.Bill, err = bill(ctx, b, *bid)
	return m, err
}

var burl = regexp.MustCompile(`"burl":"([^"]+)"`)

// bill sends the billing notice of a bid, and one whose token was changed, and returns
// how the bidder counted them.
func bill(ctx context.Context, b *server, response []byte) (string, error) {
	m := burl.FindSubmatch(response)
	if m == nil {
		return "no bid", nil
	}
	url := strings.NewReplacer("${AUCTION_PRICE}", "1.00", "${AUCTION_CURRENCY}", "USD", "${AUCTION_MIN_TO_WIN}", "1.00").Replace(string(m[1]))
	before, err := readMetrics(ctx, b.addr["admin"])
	if err != nil {
		return "", err
	}
	for _, u := range []string{url, strings.Replace(url, "&p=", "A&p=", 1)} {
		rq, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
		if err != nil {
			return "", fmt.Errorf("cannot send a billing notice: %w", err)
		}
		rs, err := http.DefaultClient.Do(rq)
		if err != nil {
			return "", fmt.Errorf("cannot send a billing notice: %w", err)
		}
		rs.Body.Close()
	}
	after, err := readMetrics(ctx, b.addr["admin"])
	if err != nil {
		return "", err
	}
	var out []string
	for series, n := range after {
		if kind, code, ok := strings.Cut(series, `",kind="`); ok && strings.HasPrefix(series, "rebound_tracking_notices_total{") && n > before[series] {
			out = append(out, strings.TrimSuffix(code, `"}`)+" "+kind[strings.LastIndexByte(kind, '"')+1:])
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", "), nil
}

// controlPaths sends every body to the bidder once and returns paths at which the
// floor answers with as many bytes, header included.
func (o *Options) controlPaths(ctx context.Context, loop, control *loadtest.ClosedLoop, bid *[]byte) ([]string, error) {
	sizes, first := make([]int, len(loop.Bodies)), *loop
	answered := 0
	first.Duration = time.Minute
	once, done := context.WithCancel(ctx)
	defer done()
	first.Observe = func(body, status int, response []byte) {
		if sizes[body] == 0 {
			answered++
		}
		if sizes[body] = len(response); status != 200 {
			sizes[body] = -1
		} else if len(*bid) == 0 {
			*bid = append(*bid, response...)
		}
		if answered >= len(sizes) {
			done()
		}
	}
	if _, err := first.Run(once); err != nil {
		return nil, err
	}
	header, err := o.floorHeader(ctx, control)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(sizes))
	for i, n := range sizes {
		paths[i] = loadtest.FloorPath(len(bidPath), max(n-header, 0))
	}
	return paths, nil
}

// floorHeader measures the size of the header of the floor's responses with a body.
func (o *Options) floorHeader(ctx context.Context, control *loadtest.ClosedLoop) (int, error) {
	const body = 1000
	ctx, done := context.WithCancel(ctx)
	defer done()
	probe := *control
	probe.Bodies, probe.Paths, probe.Duration, probe.Conns = probe.Bodies[:1], []string{loadtest.FloorPath(len(bidPath), body)}, startTime, 1
	size := 0
	probe.Observe = func(_, _ int, response []byte) { size = len(response); done() }
	if _, err := probe.Run(ctx); err != nil {
		return 0, err
	}
	if size <= body {
		return 0, fmt.Errorf("cannot measure the bare handler: got a response of %d bytes; want more than %d", size, body)
	}
	return size - body, nil
}

// proofOf returns what the counters grew by.
func proofOf(before, after metrics) Proof {
	p := Proof{
		Requests: after.since(before, "rebound_bidder_requests_total"), Bids: after.since(before, "rebound_bidder_bids_total"),
		Records: after.since(before, "rebound_events_bid_records_written_total"), Dropped: after.since(before, "rebound_events_bid_records_dropped_total"),
		Grants: after.since(before, "rebound_pacing_grants_total"), Reservations: after.sum("rebound_pacing_reservations"),
		NoBids: map[string]float64{},
	}
	const name = "rebound_bidder_nobids_total"
	for series := range after {
		if _, reason, ok := strings.Cut(series, `reason="`); ok && strings.HasPrefix(series, name+"{") {
			if n := after[series] - before[series]; n > 0 {
				p.NoBids[strings.TrimSuffix(reason, `"}`)] = n
			}
		}
	}
	return p
}

// reasons returns the no-bid reasons of a proof with their counts, most frequent first.
func (p *Proof) reasons() string {
	keys := slices.SortedFunc(maps.Keys(p.NoBids), func(a, b string) int { return int(p.NoBids[b] - p.NoBids[a]) })
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s %.0f", k, p.NoBids[k]))
	}
	return strings.Join(out, ", ")
}
