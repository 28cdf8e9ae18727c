package explain

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"rebound/campaigns"
	"rebound/privacy"
	"rebound/rtb"
)

// maxListed is how many lines without a qualifying audience the text lists.
const maxListed = 50

// Write writes the explanation in the order in which the decision was made. Errors of w
// are ignored: it is a terminal or a buffer.
func (x *Explanation) Write(w io.Writer) {
	fmt.Fprintf(w, "request %s at %s, %s\n", x.Read.ID, x.Exchange, x.At.Format(time.RFC3339))
	fmt.Fprintf(w, "  identifiers: %s\n", orNone(strings.Join(x.Read.Kinds, ", ")))
	fmt.Fprintf(w, "  privacy: %s (%s)\n", x.Privacy.text(), orNone(strings.Join(x.Privacy.Given, ", ")))
	x.writeVisitor(w)
	for i := range x.Audiences {
		if a := &x.Audiences[i]; !a.In && strings.HasPrefix(a.Audience, campaigns.BuiltinPrefix) {
			continue // the usual case
		}
		fmt.Fprintf(w, "  audience %s\n", x.Audiences[i].Text())
	}
	x.writeBids(w)
	for _, name := range slices.Sorted(maps.Keys(x.Frequency)) {
		fmt.Fprintf(w, "  frequency of %s: %s\n", name, x.Frequency[name])
	}
	x.writeLines(w)
	if x.NoBid != rtb.NoBidNone {
		fmt.Fprintf(w, "  no bid: %s (nbr %d), status %d\n", x.NoBid, x.NBR, x.Status)
		if x.Why != "" {
			fmt.Fprintf(w, "    %s\n", x.Why)
		}
	} else {
		fmt.Fprintf(w, "  response: status %d, %d bids\n", x.Status, len(x.Decision.Bids))
	}
	for _, name := range slices.Sorted(maps.Keys(x.Reasons)) {
		r := x.Reasons[name]
		fmt.Fprintf(w, "%s: %s\n  what to do: %s\n", name, r.Meaning, r.Remedy)
	}
}

func (p *Privacy) text() string {
	switch {
	case p.Signal == "":
		return "not examined"
	case p.Refusal != rtb.NoBidNone:
		return fmt.Sprintf("%s, by %s: %s", p.Level, p.Signal, p.Refusal)
	case p.Signal == privacy.SignalNone:
		return p.Level.String() + ", because no signal refuses it"
	}
	return fmt.Sprintf("%s, by %s", p.Level, p.Signal)
}

func (x *Explanation) writeVisitor(w io.Writer) {
	if x.Visitor == nil {
		fmt.Fprintln(w, "  visitor: unknown, or not looked up")
		return
	}
	fmt.Fprintf(w, "  visitor: known, %d segments", len(x.Visitor.Segments))
	if m := x.Matched; m != nil {
		fmt.Fprintf(w, ", found by %s", m.Identifier)
		if !m.SeenAt.IsZero() {
			fmt.Fprintf(w, ", which was last seen with it at %s", m.SeenAt.Format(time.RFC3339))
		}
	}
	fmt.Fprintln(w)
}

func (x *Explanation) writeBids(w io.Writer) {
	for i := range x.Decision.Bids {
		b := &x.Decision.Bids[i]
		id := rtb.LineID{Advertiser: b.Advertiser, Campaign: b.Campaign, Line: b.Line}
		fmt.Fprintf(w, "  bid on %s: line %s, creative %s at %s, floor %s", b.ImpID, id, b.Creative, b.Price, b.Factors.Floor)
		if b.Deal != "" {
			fmt.Fprintf(w, ", deal %s", b.Deal)
		}
		fmt.Fprintln(w)
		for j := range x.Prices {
			if p := &x.Prices[j]; p.id == id && p.ImpID == b.ImpID && p.Deal == b.Deal && p.Reason == rtb.NoBidNone {
				fmt.Fprintf(w, "    %s\n", p.Text())
				if len(p.Products) > 0 {
					fmt.Fprintf(w, "    products %s\n", strings.Join(p.Products, ", "))
				}
			}
		}
	}
}

// writeLines writes the lines that do not bid.
func (x *Explanation) writeLines(w io.Writer) {
	listed, left := 0, 0
	for i := range x.Lines {
		l := &x.Lines[i]
		if l.Result == resultBid {
			continue
		}
		if l.Reason == rtb.NoBidNoAudience || l.Reason == rtb.NoBidNoCampaign || l.Result == resultSkipped {
			if listed++; listed > maxListed {
				left++
				continue
			}
		}
		fmt.Fprintf(w, "  %s\n", l.text())
	}
	if left > 0 {
		fmt.Fprintf(w, "  and %d more lines that are not for this visitor; --json lists them\n", left)
	}
}

func (l *Line) text() string {
	text := "line " + l.Line
	if l.ImpID != "" {
		text += " on impression " + l.ImpID
	}
	switch l.Result {
	case resultOutbid:
		text += ": another bid was better"
	case resultSkipped:
	default:
		text += ": " + l.Reason.String()
	}
	if l.Text != "" {
		text += ": " + l.Text
	}
	return text
}
