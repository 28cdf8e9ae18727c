package mock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"rebound/rtb"
)

// Comparison is the outcome of comparing the exchange's books with the bidder's.
type Comparison struct {
	// Budgets are the caps of /admin/budgets and what they should have grown by.
	Budgets []BudgetCheck `json:"budgets,omitempty"`
	// Total is the bidder's spend by line, added up, from /metrics; Expected is ours.
	Total    rtb.Micros `json:"total_micros"`
	Expected rtb.Micros `json:"expected_micros"`
	// Log is the comparison bill by bill with the log; nil without a data folder.
	Log *LogCheck `json:"log,omitempty"`
	// Differences says what does not fit, at most 20 lines; empty: every cent agrees.
	Differences []string `json:"differences"`
	Compared    bool     `json:"compared"`
}

// BudgetCheck is one cap.
type BudgetCheck struct {
	Campaign string     `json:"campaign"`
	Window   string     `json:"window"`
	Day      string     `json:"day,omitempty"`
	Expected rtb.Micros `json:"expected_micros"`
	Spent    rtb.Micros `json:"spent_micros"`
}

// LogCheck is the comparison with the bills in the log of facts.
type LogCheck struct {
	Bills   int        `json:"bills"`  // of our bids, in the log
	Billed  rtb.Micros `json:"micros"` // their sum
	Missing int        `json:"missing"`
	Twice   int        `json:"twice"`
	Wrong   int        `json:"wrong_price"`
	Unknown int        `json:"unknown"` // bills since the start that are not in our books
}

// budget is a row of GET /admin/budgets.
type budget struct {
	Advertiser, Campaign, Line, Window, Day string
	Unit                                    string     // impressions, or empty for money
	Spent                                   rtb.Micros `json:"-"`
	SpentMicros                             int64      `json:"spent_micros"`
}

func (b *budget) key() string {
	return strings.Join([]string{b.Advertiser, b.Campaign, b.Line, b.Window, b.Day, b.Unit}, "/")
}

// bidderBooks are the bidder's books at one moment.
type bidderBooks struct {
	budgets map[string]budget
	spend   rtb.Micros // by line, added up
	seq     uint64     // of the last fact
}

// readBooks reads the bidder's books; nil if it has no admin listener.
func (e *Exchange) readBooks(ctx context.Context) (*bidderBooks, error) {
	if e.o.Bidder.Admin == "" {
		return nil, nil
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := e.get(limited, e.o.Bidder.Admin+"/admin/budgets")
	if err != nil {
		return nil, err
	}
	var rows struct{ Budgets []budget }
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, fmt.Errorf("cannot read the bidder's budgets: %w", err)
	}
	b := &bidderBooks{budgets: map[string]budget{}}
	for _, r := range rows.Budgets {
		b.budgets[r.key()] = r
	}
	if text, err = e.get(limited, e.o.Bidder.Admin+"/metrics"); err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		v, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			continue
		}
		switch {
		case strings.HasPrefix(series, "rebound_pacing_spend_micros_total{"):
			b.spend += rtb.Micros(v)
		case series == "rebound_journal_last":
			b.seq = uint64(v)
		}
	}
	return b, nil
}

// get reads a page of the admin listener.
func (e *Exchange) get(ctx context.Context, url string) ([]byte, error) {
	w := worker{Exchange: e, ctx: ctx}
	rs, err := w.call(http.MethodGet, url, nil, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the bidder's books; check its admin listener: %w", err)
	case rs.code != http.StatusOK:
		return nil, fmt.Errorf("cannot read the bidder's books: got status %d from %s; want 200", rs.code, url)
	case len(rs.body) >= maxReply:
		return nil, fmt.Errorf("cannot read the bidder's books: got more than %d bytes from %s", maxReply, url)
	}
	return rs.body, nil
}

// settleTime is how long the bidder's folds may take until its books are final.
const settleTime = 20 * time.Second

// compare compares the books once the bidder has folded the last bills.
func (e *Exchange) compare(ctx context.Context, before *bidderBooks) *Comparison {
	c := &Comparison{Expected: e.b.totals.Spend}
	if before != nil {
		deadline := time.NewTimer(settleTime)
		defer deadline.Stop()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for waiting := true; waiting; {
			c.Differences = nil
			e.compareBudgets(ctx, before, c)
			if len(c.Differences) == 0 {
				break
			}
			select {
			case <-tick.C:
			case <-deadline.C:
				waiting = false
			}
		}
	}
	if e.o.Bidder.Data != "" {
		e.compareLog(before, c)
	}
	return c
}

func (c *Comparison) differ(format string, args ...any) {
	if len(c.Differences) < 20 {
		c.Differences = append(c.Differences, fmt.Sprintf(format, args...))
	}
}

// compareBudgets compares campaigns' caps, and the spend of all lines.
func (e *Exchange) compareBudgets(ctx context.Context, before *bidderBooks, c *Comparison) {
	c.Compared = true
	after, err := e.readBooks(ctx)
	if err != nil {
		c.differ("%v", err)
		return
	}
	byDay, byCampaign := map[string]rtb.Micros{}, map[string]rtb.Micros{}
	for _, x := range e.b.entries {
		if x.Billed {
			byDay[x.Campaign+"/"+x.Day] += x.Cost()
			byCampaign[x.Campaign] += x.Cost()
		}
	}
	c.Budgets, c.Total = nil, after.spend-before.spend
	for _, key := range slices.Sorted(maps.Keys(after.budgets)) {
		row := after.budgets[key]
		check := BudgetCheck{Campaign: row.Campaign, Window: row.Window, Day: row.Day, Spent: rtb.Micros(row.SpentMicros - before.budgets[key].SpentMicros)}
		switch {
		case row.Campaign == "" || row.Line != "" || row.Unit != "":
			continue
		case row.Window == "day":
			check.Expected = byDay[row.Campaign+"/"+row.Day]
		case row.Window == "total":
			check.Expected = byCampaign[row.Campaign]
		default:
			continue
		}
		c.Budgets = append(c.Budgets, check)
		if check.Spent != check.Expected {
			c.differ("campaign %s, %s %s: the bidder has %s USD; the exchange %s", row.Campaign, row.Window, row.Day, check.Spent, check.Expected)
		}
	}
	if c.Total != c.Expected {
		c.differ("all lines: the bidder has %s USD; the exchange %s", c.Total, c.Expected)
	}
}

// logged is what the comparison needs of a fact.
type logged struct {
	Seq   uint64 `json:"seq"`
	Kind  string `json:"kind"`
	Bills bool   `json:"bills"`
	BidID string `json:"bid_id"`
	Line  string `json:"line"`
	Price int64  `json:"price_micros"`
}

// compareLog compares every bill with the log of facts, and learns the lines from it.
func (e *Exchange) compareLog(before *bidderBooks, c *Comparison) {
	c.Compared = true
	l := &LogCheck{}
	c.Log = l
	seen := map[string]int{}
	err := readFacts(filepath.Join(e.o.Bidder.Data, "log", "facts"), func(f *logged) {
		x := e.b.entries[f.BidID]
		if x != nil && f.Line != "" {
			x.Line = f.Line
		}
		if !f.Bills {
			return
		}
		if x == nil {
			if before != nil && f.Seq > before.seq {
				l.Unknown++
			}
			return
		}
		seen[f.BidID]++
		l.Bills++
		l.Billed += rtb.Micros(f.Price)
		if seen[f.BidID] > 1 {
			l.Twice++
			c.differ("bid %s is billed twice in the log", f.BidID)
		}
		if rtb.Micros(f.Price) != x.Cost() {
			l.Wrong++
			c.differ("bid %s: the log has %s USD; the exchange %s", f.BidID, rtb.Micros(f.Price), x.Cost())
		}
	})
	if err != nil {
		c.differ("cannot read the log: %v", err)
		return
	}
	for id, x := range e.b.entries {
		if x.Billed && seen[id] == 0 {
			l.Missing++
			c.differ("bid %s: the bidder acknowledged the bill, but the log has none", id)
		}
	}
	if l.Unknown > 0 {
		c.differ("the log has %d bills that are not in the exchange's books", l.Unknown)
	}
}

// readFacts calls f for every fact of a log with a bid. It reads the plain file where a
// file exists both plain and compressed.
func readFacts(dir string, f func(*logged)) error {
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*.ndjson*"))
	if err != nil || len(names) == 0 {
		return errors.Join(err, fmt.Errorf("cannot find facts in %s", dir))
	}
	slices.Sort(names) // a plain name sorts before the compressed one
	last := ""
	for _, name := range names {
		stem, _, _ := strings.Cut(filepath.Base(name), ".")
		if stem == last {
			continue
		}
		last = stem
		if err := readFactFile(name, f); err != nil {
			return fmt.Errorf("cannot read %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func readFactFile(name string, f func(*logged)) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	if strings.HasSuffix(name, ".zst") {
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		in = bufio.NewScanner(z)
	}
	in.Buffer(make([]byte, 64<<10), 8<<20)
	for in.Scan() {
		if !bytes.Contains(in.Bytes(), []byte(`"bid_id"`)) {
			continue
		}
		var x logged
		if json.Unmarshal(in.Bytes(), &x) == nil { // a line that is being written is incomplete
			f(&x)
		}
	}
	return in.Err()
}
