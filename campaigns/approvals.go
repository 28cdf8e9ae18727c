package campaigns

import (
	"fmt"
	"io"
	"strings"
	"time"

	"rebound/creatives"
	"rebound/internal/spec"
)

// States of a creative at an exchange.
const (
	ApprovalAuto     = "auto"     // unknown: shown unless the exchange requires approval
	ApprovalPending  = "pending"  // under review: not shown
	ApprovalApproved = "approved" // shown
	ApprovalRejected = "rejected" // not shown
)

var approvalStates = []string{ApprovalAuto, ApprovalPending, ApprovalApproved, ApprovalRejected}

// Approval is the state of a creative at an exchange. With a CRID it applies to
// that content only, and no longer once the content changes.
type Approval struct {
	Creative string    `json:"creative"`
	Exchange string    `json:"exchange"`
	State    string    `json:"state"`
	CRID     string    `json:"crid,omitempty"`
	By       string    `json:"by,omitempty"`
	At       time.Time `json:"at,omitzero"`
}

// Check returns what is wrong with an approval. Paths are creative, exchange and
// state.
func (a *Approval) Check(creatives map[string]*creatives.Creative, exchanges []string) spec.Problems {
	var r spec.Report
	spec.KnownIn(&r, "creative", a.Creative, "a creative", creatives)
	r.Known("exchange", a.Exchange, "an exchange", exchanges)
	r.OneOf("state", a.State, approvalStates)
	return r.Problems
}

// Approvals holds the creatives that must not be shown, by exchange. It is
// immutable; nil refuses none.
type Approvals struct {
	refused map[string]map[*creatives.Creative]struct{}
}

// Refused returns the creatives that must not be shown on an exchange; nil if
// there are none.
func (a *Approvals) Refused(exchange string) map[*creatives.Creative]struct{} {
	if a == nil {
		return nil
	}
	return a.refused[exchange]
}

// NewApprovals returns the creatives that are refused. exchanges maps each
// exchange to whether it requires approval before a creative is shown. Of
// several approvals of a creative at an exchange the last one that applies
// counts.
func NewApprovals(list []Approval, all map[string]*creatives.Creative, exchanges map[string]bool) *Approvals {
	type at struct{ creative, exchange string }
	state := map[at]string{}
	for _, x := range list {
		if c := all[x.Creative]; c != nil && (x.CRID == "" || x.CRID == c.CRID) {
			state[at{x.Creative, x.Exchange}] = x.State
		}
	}
	out := &Approvals{refused: map[string]map[*creatives.Creative]struct{}{}}
	for exchange, required := range exchanges {
		refused := map[*creatives.Creative]struct{}{}
		for id, c := range all {
			switch state[at{id, exchange}] {
			case ApprovalApproved:
				continue
			case ApprovalPending, ApprovalRejected:
			default:
				if !required {
					continue
				}
			}
			if c != nil {
				refused[c] = struct{}{}
			}
		}
		if len(refused) > 0 {
			out.refused[exchange] = refused
		}
	}
	if len(out.refused) == 0 {
		return nil
	}
	return out
}

// maxApprovals is the largest approvals file in bytes.
const maxApprovals = 16 << 20

// ReadApprovals parses rows of creative, exchange, state and, for an approval
// of one content only, crid, separated by tabs or spaces; # begins a comment.
// lines are the line numbers of the approvals.
func ReadApprovals(r io.Reader) (list []Approval, lines []int, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxApprovals+1))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read approvals: %w", err)
	}
	if len(text) > maxApprovals {
		return nil, nil, fmt.Errorf("cannot read approvals: got more than %d bytes; want fewer", maxApprovals)
	}
	n := 0
	plain := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\ufeff"))
	for row := range strings.Lines(plain) {
		n++
		row, _, _ = strings.Cut(row, "#")
		cells := strings.Fields(row)
		if len(cells) == 0 {
			continue
		}
		a := Approval{}
		for i, dst := range []*string{&a.Creative, &a.Exchange, &a.State, &a.CRID} {
			if i < len(cells) {
				*dst = cells[i]
			}
		}
		list, lines = append(list, a), append(lines, n)
	}
	return list, lines, nil
}
