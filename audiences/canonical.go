package audiences

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rebound/events"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Limits of one canonical text.
const (
	maxConditions = 16
	maxEventName  = 100
)

// rule selects the events that one segment counts: those of one advertiser and
// one name that meet every condition. Its canonical text has the advertiser, the
// event and the conditions sorted by their text:
//
//	shop "view_item" item.category under "shoes > running" & url.path prefix "/p/"
//
// A segment that also sums the value of its events names the currency of the sum:
//
//	shop "purchase" sum "EUR" item.category under "shoes"
//
// A segment of list members has the event @list, which no visitor can send:
//
//	shop "@list" list eq "vip" & trait.tier eq "gold"
type rule struct {
	id         rtb.SegmentID
	advertiser string
	event      string
	sum        rtb.Currency // zero: no sum
	onEvent    []*condition
	onItem     []*condition // one item must meet all of them
	onMember   []*condition
	text       string
}

// memberEvent takes the place of an event's name in the rules about list members.
const memberEvent = "@list"

// newRule sorts the conditions, drops duplicates and derives the segment.
func newRule(advertiser, event string, sum rtb.Currency, conditions []*condition) *rule {
	conditions = slices.Clone(conditions)
	slices.SortFunc(conditions, func(a, b *condition) int { return strings.Compare(a.text(), b.text()) })
	conditions = slices.CompactFunc(conditions, func(a, b *condition) bool { return a.text() == b.text() })
	r := &rule{advertiser: advertiser, event: event, sum: sum}
	r.text = advertiser + " " + strconv.Quote(event)
	if !sum.IsZero() {
		r.text += " sum " + strconv.Quote(sum.String())
	}
	for i, c := range conditions {
		if i > 0 {
			r.text += " &"
		}
		r.text += " " + c.text()
		switch {
		case c.ofItem():
			r.onItem = append(r.onItem, c)
		case c.def.kind == memberText:
			r.onMember = append(r.onMember, c)
		default:
			r.onEvent = append(r.onEvent, c)
		}
	}
	r.id = SegmentOf(r.text)
	return r
}

// SegmentOf returns the segment of a canonical text: the first 64 bits of its
// SHA-256.
func SegmentOf(text string) rtb.SegmentID {
	sum := sha256.Sum256([]byte(text))
	return rtb.SegmentID(binary.BigEndian.Uint64(sum[:8]))
}

// CheckText returns an error unless text is a canonical text that this version
// can parse.
func CheckText(text string) error {
	_, err := parseRule(text)
	return err
}

// parseRule parses a canonical text. It refuses any other spelling of the same
// rule, which would be another segment.
func parseRule(text string) (*rule, error) {
	r, err := parseWords(text)
	if err == nil && r.text != text {
		err = errors.New("the spelling is not canonical")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot parse segment rule: got %.200q; want advertiser \"event\" [field op \"value\"...]: %w", text, err)
	}
	return r, nil
}

func parseWords(text string) (*rule, error) {
	advertiser, rest, _ := strings.Cut(text, " ")
	if !spec.ValidID(advertiser) {
		return nil, errors.New("the advertiser is missing")
	}
	event, rest, err := quoted(rest)
	if err != nil {
		return nil, err
	}
	if event == "" || len(event) > maxEventName {
		return nil, errors.New("the event name is missing or too long")
	}
	sum, rest, err := parseSum(rest)
	if err != nil {
		return nil, err
	}
	var conditions []*condition
	for rest != "" {
		if len(conditions) == maxConditions {
			return nil, errors.New("too many conditions")
		}
		if len(conditions) > 0 {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, " &"); !ok {
				return nil, errors.New("& is missing between conditions")
			}
		}
		var c *condition
		if c, rest, err = parseCondition(rest); err != nil {
			return nil, err
		}
		conditions = append(conditions, c)
	}
	r := newRule(advertiser, event, sum, conditions)
	if member := event == memberEvent; member != (len(r.onMember) > 0) || member && len(conditions) > len(r.onMember) {
		return nil, errors.New("conditions of an event and of a list are mixed")
	}
	return r, nil
}

// parseSum parses ` sum "EUR"` at the start of s, if it is there.
func parseSum(s string) (sum rtb.Currency, rest string, err error) {
	after, ok := strings.CutPrefix(s, " sum ")
	if !ok {
		return sum, s, nil
	}
	code, rest, err := quoted(after)
	if err != nil {
		return sum, "", err
	}
	if sum, ok = rtb.ParseCurrency(code); !ok {
		return sum, "", errors.New("the currency of the sum is unknown")
	}
	return sum, rest, nil
}

// parseCondition parses ` field op[.cs] "value"...` at the start of s.
func parseCondition(s string) (*condition, string, error) {
	s, ok := strings.CutPrefix(s, " ")
	field, rest, ok2 := strings.Cut(s, " ")
	if !ok || !ok2 {
		return nil, "", errors.New("the field is missing")
	}
	raw := Condition{Field: field}
	end := strings.IndexByte(rest, ' ')
	if end < 0 {
		return nil, "", errors.New("the value is missing")
	}
	raw.Op, rest = rest[:end], rest[end:]
	raw.Op, raw.CS = strings.CutSuffix(raw.Op, ".cs")
	for strings.HasPrefix(rest, ` "`) && len(raw.Value) <= maxValues {
		v, tail, err := quoted(rest[1:])
		if err != nil {
			return nil, "", err
		}
		raw.Value, rest = append(raw.Value, v), tail
	}
	c, flaw := conditionOf(raw, memberFields)
	if flaw != nil {
		return nil, "", fmt.Errorf("%s: got %s; want %s", flaw.part, flaw.got, flaw.want)
	}
	return c, rest, nil
}

// quoted parses a quoted string at the start of s and returns the rest.
func quoted(s string) (value, rest string, err error) {
	prefix, err := strconv.QuotedPrefix(s)
	if err != nil || prefix[0] != '"' {
		return "", "", errors.New("a quoted text is missing")
	}
	value, err = strconv.Unquote(prefix)
	return value, s[len(prefix):], err
}

// match reports whether an event meets the conditions. The caller has checked
// its advertiser and name.
func (r *rule) match(e *events.Event) bool {
	for _, c := range r.onEvent {
		if !c.matchEvent(e) {
			return false
		}
	}
	if len(r.onItem) == 0 {
		return true
	}
	for i := range e.Items {
		if r.matchItem(&e.Items[i]) {
			return true
		}
	}
	return false
}

func (r *rule) matchItem(it *events.Item) bool {
	for _, c := range r.onItem {
		if !c.matchItem(it) {
			return false
		}
	}
	return true
}

// matchMember reports whether a row of a list meets the conditions.
func (r *rule) matchMember(m *Member) bool {
	for _, c := range r.onMember {
		if !c.matchMember(m) {
			return false
		}
	}
	return true
}
