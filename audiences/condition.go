package audiences

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rebound/events"
	"rebound/internal/inventory"
	"rebound/internal/spec"
)

// Limits of one condition.
const (
	maxRegex  = 256
	maxValue  = 512
	maxValues = 200
)

// condition is a condition in its canonical form, ready to match events.
type condition struct {
	def    fieldDef
	key    string
	op     string
	cs     bool
	values []string // folded unless cs; sorted for in and not_in

	numbers []float64      // of values, for comparisons of numbers
	letters bool           // compares host names as people write them, not in ASCII
	re      *regexp.Regexp // of values[0], for regex
}

// flaw describes an error in a condition. part is field, op or value.
type flaw struct{ part, got, want string }

// newCondition returns the canonical form of a condition.
func newCondition(c Condition) (*condition, *flaw) { return conditionOf(c, nil) }

// conditionOf is newCondition with more fields.
func conditionOf(c Condition, more []fieldDef) (*condition, *flaw) {
	def, key, ok := findField(c.Field)
	for _, d := range more {
		if d.name == c.Field {
			def, ok = d, true
		}
	}
	if !ok {
		return nil, &flaw{"field", spec.Quote(c.Field), "one of " + strings.Join(Fields(), ", ")}
	}
	n := &condition{def: def, key: key, op: c.Op, cs: c.CS}
	if n.op == "" {
		n.op = "eq"
	}
	if allowed := opsOf(def); !slices.Contains(allowed, n.op) {
		return nil, &flaw{"op", spec.Quote(c.Op), "one of " + strings.Join(allowed, ", ") + " for " + c.Field}
	}
	if f := n.setValues(c.Value); f != nil {
		return nil, f
	}
	return n, nil
}

// setValues checks the values, folds their case and sorts them.
func (c *condition) setValues(values Values) *flaw {
	if c.op == "exists" && len(values) == 0 {
		values = Values{"true"}
	}
	if len(values) == 0 || len(values) > maxValues {
		return &flaw{"value", strconv.Itoa(len(values)) + " values", "1 to " + strconv.Itoa(maxValues) + " for " + c.op}
	}
	c.listOp(len(values))
	if len(values) > 1 && c.op != "in" && c.op != "not_in" {
		return &flaw{"value", "a list", "one value for " + c.op}
	}
	for _, v := range values {
		if len(v) > maxValue {
			return &flaw{"value", strconv.Itoa(len(v)) + " bytes", "at most " + strconv.Itoa(maxValue) + " bytes"}
		}
		v, f := c.canonicalValue(v)
		if f != nil {
			return f
		}
		c.values = append(c.values, v)
	}
	slices.Sort(c.values)
	c.values = slices.Compact(c.values)
	c.listOp(len(c.values))
	return c.prepare()
}

// listOp turns eq with several values into in, and in with one value into eq.
func (c *condition) listOp(n int) {
	switch {
	case n > 1 && c.op == "eq":
		c.op = "in"
	case n > 1 && c.op == "neq":
		c.op = "not_in"
	case n == 1 && c.op == "in":
		c.op = "eq"
	case n == 1 && c.op == "not_in":
		c.op = "neq"
	}
}

// numeric reports whether the condition compares numbers.
func (c *condition) numeric() bool {
	if c.op == "exists" {
		return false
	}
	return c.def.kind == numberField || c.def.kind == itemNumber || slices.Contains(orderOps, c.op)
}

// canonicalValue returns the canonical spelling of a value. It clears cs where
// case has no meaning.
func (c *condition) canonicalValue(v string) (string, *flaw) {
	switch {
	case c.op == "exists":
		c.cs = false
		if v != "true" && v != "false" {
			return "", &flaw{"value", strconv.Quote(v), "true or false for exists"}
		}
		return v, nil
	case c.numeric():
		c.cs = false
		x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return "", &flaw{"value", strconv.Quote(v), "a number for " + c.op}
		}
		return strconv.FormatFloat(x, 'f', -1, 64), nil
	case c.op == "regex":
		return v, nil
	case c.op == "under":
		v = categoryPath(v)
	case c.host():
		return c.hostValue(v), nil
	case c.def.name == "url" && c.op != "suffix" && c.op != "contains" && c.op != "not_contains":
		if from, to := inventory.HostPart(v); from == 0 && inventory.NeedsASCII(v[:to]) {
			v = inventory.ASCIIHost(v[:to]) + v[to:]
		}
	}
	if !c.cs {
		v = strings.ToLower(v)
	}
	return v, nil
}

// host reports whether the field is a host name.
func (c *condition) host() bool { return c.def.name == "url.host" || c.def.name == "ref.host" }

// hostValue returns the canonical spelling of a host name, or of a part of one. Events
// hold host names in ASCII. A whole name is converted to ASCII as well; a part of a
// name cannot be, so a part in letters is compared with the name in letters.
func (c *condition) hostValue(v string) string {
	c.cs = false
	switch c.op {
	case "eq", "neq", "in", "not_in":
		return inventory.ASCIIHost(v)
	}
	return strings.ToLower(v)
}

// prepare compiles the values for matching.
func (c *condition) prepare() *flaw {
	if c.numeric() {
		for _, v := range c.values {
			x, _ := strconv.ParseFloat(v, 64)
			c.numbers = append(c.numbers, x)
		}
	}
	c.letters = c.host() && slices.ContainsFunc(c.values, inventory.NeedsASCII[string])
	if c.op != "regex" {
		return nil
	}
	pattern := c.values[0]
	if len(pattern) > maxRegex {
		return &flaw{"value", strconv.Itoa(len(pattern)) + " bytes", "a regular expression of at most " + strconv.Itoa(maxRegex) + " bytes"}
	}
	if !c.cs {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return &flaw{"value", strconv.Quote(c.values[0]), fmt.Sprintf("a regular expression in RE2 syntax (%v)", err)}
	}
	c.re = re
	return nil
}

// categoryPath returns the canonical spelling of a category path: "Shoes >
// Running".
func categoryPath(s string) string {
	parts := strings.Split(s, ">")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, " > ")
}

// text returns the canonical text of the condition.
func (c *condition) text() string {
	var b strings.Builder
	b.WriteString(c.def.name + c.key + " " + c.op)
	if c.cs {
		b.WriteString(".cs")
	}
	for _, v := range c.values {
		b.WriteByte(' ')
		b.WriteString(strconv.Quote(v))
	}
	return b.String()
}

// ofItem reports whether the condition is about one item.
func (c *condition) ofItem() bool { return c.def.kind == itemText || c.def.kind == itemNumber }

func (c *condition) matchEvent(e *events.Event) bool {
	if c.def.kind == numberField {
		x, ok := amount(e.Value)
		return c.matchNumber(x, ok)
	}
	s, ok := eventText(e, c.def.name, c.key)
	return c.matchText(s, ok)
}

func (c *condition) matchItem(it *events.Item) bool {
	if c.def.kind == itemNumber {
		x, ok := amount(it.Price)
		return c.matchNumber(x, ok)
	}
	s, ok := itemFieldText(it, c.def.name)
	return c.matchText(s, ok)
}

func (c *condition) matchMember(m *Member) bool {
	var s string
	switch c.def.name {
	case "list":
		s = m.List
	case "purpose":
		s = m.Purpose
	default:
		s, ok := m.Traits[c.key]
		return c.matchText(s, ok)
	}
	return c.matchText(s, s != "")
}

// matchNumber compares a number. An absent number differs from every value.
func (c *condition) matchNumber(x float64, ok bool) bool {
	switch c.op {
	case "exists":
		return ok == (c.values[0] == "true")
	case "neq", "not_in":
		return !ok || !slices.Contains(c.numbers, x)
	}
	if !ok {
		return false
	}
	switch c.op {
	case "eq", "in":
		return slices.Contains(c.numbers, x)
	case "gt":
		return x > c.numbers[0]
	case "gte":
		return x >= c.numbers[0]
	case "lt":
		return x < c.numbers[0]
	}
	return x <= c.numbers[0] // lte
}

// matchText compares a text. An absent text differs from every value.
func (c *condition) matchText(s string, ok bool) bool {
	switch c.op {
	case "exists":
		return ok == (c.values[0] == "true")
	case "gt", "gte", "lt", "lte":
		x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		return c.matchNumber(x, ok && err == nil && !math.IsNaN(x))
	case "neq", "not_in", "not_contains":
		return !ok || !c.holds(s)
	}
	return ok && c.holds(s)
}

// holds reports whether the positive form of the operator is true.
func (c *condition) holds(s string) bool {
	if c.letters {
		s = inventory.UnicodeHost(s)
	}
	if c.op == "regex" {
		return c.re.MatchString(s)
	}
	if c.op == "under" {
		s = categoryPath(s)
	}
	if !c.cs {
		s = strings.ToLower(s)
	}
	v := c.values[0]
	switch c.op {
	case "in", "not_in":
		_, found := slices.BinarySearch(c.values, s)
		return found
	case "contains", "not_contains":
		return strings.Contains(s, v)
	case "prefix":
		return strings.HasPrefix(s, v)
	case "suffix":
		return strings.HasSuffix(s, v)
	case "under":
		return s == v || strings.HasPrefix(s, v) && strings.HasPrefix(s[len(v):], " > ")
	}
	return s == v // eq, neq
}
