package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// logStats are counts of the entries of the logs.
type logStats struct {
	From     time.Time                `json:"from,omitzero"` // the first entry
	To       time.Time                `json:"to,omitzero"`   // the last one
	Kinds    map[string]uint64        `json:"kinds"`
	Exchange map[string]*exchangeStat `json:"exchanges"`
	Lines    map[string]*lineStat     `json:"lines"`
	// NoBids are the reasons of requests. Estimated counts each record with its sample
	// weight.
	NoBids map[string]*sampled `json:"nobids"`
	Broken int                 `json:"broken"` // lines that could not be read
}

// sampled counts records, and the requests that they stand for.
type sampled struct {
	Records   uint64  `json:"records"`
	Estimated float64 `json:"estimated"`
}

func (s *sampled) add(weight float64) {
	s.Records++
	s.Estimated += max(weight, 1)
}

type exchangeStat struct {
	Requests sampled `json:"requests"`
	Bids     uint64  `json:"bids"` // requests answered with a bid
	Wins     uint64  `json:"wins"`
	Bills    uint64  `json:"bills"`
	Losses   uint64  `json:"losses"`
}

// lineStat counts for one line. Charged are micros by currency.
type lineStat struct {
	Bids    uint64                `json:"bids"`
	Refused uint64                `json:"refused"`
	Wins    uint64                `json:"wins"`
	Bills   uint64                `json:"bills"`
	Losses  uint64                `json:"losses"`
	Imps    uint64                `json:"imps"`
	Clicks  uint64                `json:"clicks"`
	Charged map[string]rtb.Micros `json:"charged_micros,omitempty"`
}

// logStatsVerb counts the selected entries of the logs.
func (p *program) logStatsVerb(ctx context.Context, args []string) int {
	var f logFlags
	fs := flag.NewFlagSet("bidder log stats", flag.ContinueOnError)
	f.register(fs)
	return p.logTask(fs, &f, args, func(r *logReader, filter *logFilter) error {
		list, err := r.all(filter)
		if err != nil {
			return err
		}
		s := logStats{Kinds: map[string]uint64{}, Exchange: map[string]*exchangeStat{}, Lines: map[string]*lineStat{}, NoBids: map[string]*sampled{}}
		for e := range list {
			if s.add(&e); ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if s.Broken = r.broken; !f.json {
			s.write(p.stdout)
			return nil
		}
		text, err := json.MarshalIndent(&s, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(p.stdout, "%s\n", text)
		}
		return err
	})
}

func at[T any](m map[string]*T, key string) *T {
	x := m[key]
	if x == nil {
		x = new(T)
		m[key] = x
	}
	return x
}

// add counts one entry.
func (s *logStats) add(e *logEntry) {
	if s.From.IsZero() || e.at.Before(s.From) {
		s.From = e.at.UTC()
	}
	if e.at.After(s.To) {
		s.To = e.at.UTC()
	}
	s.Kinds[e.kind()]++
	if e.bid != nil {
		s.addRecord(e.bid)
	} else if e.fact.Notice != nil {
		s.addNotice(e.fact)
	}
}

func (s *logStats) addRecord(r *events.BidRecord) {
	x := at(s.Exchange, r.Exchange)
	x.Requests.add(r.SampleWeight)
	d := r.Decision
	if d == nil {
		return
	}
	if len(d.Bids) > 0 {
		x.Bids++
	} else {
		at(s.NoBids, d.NoBid.String()).add(r.SampleWeight)
	}
	for i := range d.Bids {
		at(s.Lines, rtb.LineID{Advertiser: d.Bids[i].Advertiser, Campaign: d.Bids[i].Campaign, Line: d.Bids[i].Line}.String()).Bids++
	}
	for i := range d.Dropped {
		if x := &d.Dropped[i]; x.Reason != rtb.NoBidNone {
			at(s.Lines, rtb.LineID{Advertiser: x.Advertiser, Campaign: x.Campaign, Line: x.Line}.String()).Refused++
		}
	}
}

func (s *logStats) addNotice(f *events.Fact) {
	x, l := at(s.Exchange, f.Notice.Exchange), at(s.Lines, rtb.LineID{Advertiser: f.Advertiser, Campaign: f.Campaign, Line: f.Line}.String())
	switch f.Kind {
	case events.KindWin:
		x.Wins, l.Wins = x.Wins+1, l.Wins+1
	case events.KindBill:
		x.Bills, l.Bills = x.Bills+1, l.Bills+1
	case events.KindLoss:
		x.Losses, l.Losses = x.Losses+1, l.Losses+1
	case events.KindImp:
		l.Imps++
	case events.KindClick:
		l.Clicks++
	}
	if f.Notice.Bills && f.Notice.Charge != 0 {
		if l.Charged == nil {
			l.Charged = map[string]rtb.Micros{}
		}
		l.Charged[f.Currency.String()] += f.Notice.Charge
	}
}

func (s *logStats) write(out io.Writer) {
	if len(s.Kinds) == 0 {
		fmt.Fprintln(out, "no entries")
		return
	}
	fmt.Fprintf(out, "from %s to %s\n\n", s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush() //nolint:errcheck // an error of standard output shows nowhere else either
	fmt.Fprintln(w, "kind\tentries\t")
	for _, k := range slices.Sorted(maps.Keys(s.Kinds)) {
		fmt.Fprintf(w, "%s\t%d\t\n", k, s.Kinds[k])
	}
	fmt.Fprintln(w, "\t\t\nexchange\trecords\trequests (estimate)\tbids\twins\tbills\tlosses\t")
	for _, k := range slices.Sorted(maps.Keys(s.Exchange)) {
		x := s.Exchange[k]
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%d\t%d\t%d\t%d\t\n", k, x.Requests.Records, x.Requests.Estimated, x.Bids, x.Wins, x.Bills, x.Losses)
	}
	fmt.Fprintln(w, "\t\t\nline\tbids\trefused\twins\tbills\tlosses\timps\tclicks\tcharged\t")
	for _, k := range slices.Sorted(maps.Keys(s.Lines)) {
		x := s.Lines[k]
		charged := ""
		for _, c := range slices.Sorted(maps.Keys(x.Charged)) {
			charged += fmt.Sprintf(" %s %s", x.Charged[c], c)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", k, x.Bids, x.Refused, x.Wins, x.Bills, x.Losses, x.Imps, x.Clicks, charged)
	}
	fmt.Fprintln(w, "\t\t\nno-bid\trecords\trequests (estimate)\t")
	reasons := slices.SortedFunc(maps.Keys(s.NoBids), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.NoBids[b].Estimated, s.NoBids[a].Estimated), cmp.Compare(a, b))
	})
	for _, k := range reasons {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t\n", k, s.NoBids[k].Records, s.NoBids[k].Estimated)
	}
}
