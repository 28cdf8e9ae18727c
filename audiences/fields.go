package audiences

import (
	"net/url"
	"slices"
	"strings"

	"rebound/events"
	"rebound/rtb"
)

// fieldKind is how a field is read and compared.
type fieldKind uint8

const (
	textField   fieldKind = iota // of the event
	numberField                  // of the event, an amount
	itemText                     // of one item
	itemNumber                   // of one item, an amount
	memberText                   // of a row of a list
)

// fieldDef is a field, or a family of fields if its name ends in a dot.
type fieldDef struct {
	name string
	kind fieldKind
}

var fieldDefs = []fieldDef{
	{"url", textField}, {"url.host", textField}, {"url.path", textField}, {"url.query.", textField},
	{"ref.host", textField}, {"q", textField}, {"order_id", textField}, {"action_source", textField},
	{"utm.source", textField}, {"utm.medium", textField}, {"utm.campaign", textField}, {"utm.term", textField},
	{"utm.content", textField}, {"prop.", textField}, {"geo.country", textField}, {"device.type", textField},
	{"trait.", memberText}, {"value", numberField},
	{"item.id", itemText}, {"item.category", itemText}, {"item.brand", itemText}, {"item.price", itemNumber},
}

// memberFields are the fields of a list's row that only canonical texts name.
var memberFields = []fieldDef{{"list", memberText}, {"purpose", memberText}}

// Fields returns the fields that a condition may name, with <key> in place of
// the key of a family.
func Fields() []string {
	names := make([]string, 0, len(fieldDefs))
	for _, d := range fieldDefs {
		if strings.HasSuffix(d.name, ".") {
			d.name += "<key>"
		}
		names = append(names, d.name)
	}
	return names
}

const maxFieldKey = 64

// findField returns the definition of a field and, for a family, the key.
func findField(name string) (def fieldDef, key string, ok bool) {
	for _, d := range fieldDefs {
		if d.name == name && !strings.HasSuffix(name, ".") {
			return d, "", true
		}
		key, family := strings.CutPrefix(name, d.name)
		if family && strings.HasSuffix(d.name, ".") && validKey(key) {
			return d, key, true
		}
	}
	return fieldDef{}, "", false
}

// validKey reports whether a key can be part of a canonical text: it has none
// of the characters that separate words there.
func validKey(key string) bool {
	if key == "" || len(key) > maxFieldKey {
		return false
	}
	for i := range len(key) {
		c := key[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && !strings.ContainsRune("_-.[]:", rune(c)) {
			return false
		}
	}
	return true
}

var (
	textOps   = []string{"eq", "neq", "in", "not_in", "contains", "not_contains", "prefix", "suffix", "regex", "exists"}
	numberOps = []string{"eq", "neq", "in", "not_in", "exists"} // with orderOps, on amounts
	orderOps  = []string{"gt", "gte", "lt", "lte"}              // on any field; texts are parsed as numbers
)

// Ops returns the operators that a condition may use; under is for
// item.category only.
func Ops() []string {
	return append(append(slices.Clone(textOps), orderOps...), "under")
}

// opsOf returns the operators that a field accepts.
func opsOf(d fieldDef) []string {
	switch {
	case d.name == "item.category":
		return Ops()
	case d.kind == numberField || d.kind == itemNumber:
		return append(slices.Clone(numberOps), orderOps...)
	}
	return append(slices.Clone(textOps), orderOps...)
}

// eventText returns a text field of an event; ok is false if the event does not
// have it.
func eventText(e *events.Event, field, key string) (string, bool) {
	var s string
	switch field {
	case "url", "url.host", "url.path", "url.query.":
		return urlText(e.URL, field, key)
	case "ref.host":
		s = e.RefHost
	case "q":
		s = e.Query
	case "order_id":
		s = e.OrderID
	case "action_source":
		s = e.Source
	case "prop.":
		s, ok := e.Props[key]
		return s, ok
	case "geo.country", "device.type":
		s = e.Props[contextProps[field]]
	default: // utm.source and the like: the map is keyed by the last part
		s, ok := e.UTM[strings.TrimPrefix(field, "utm.")]
		return s, ok
	}
	return s, s != ""
}

// contextProps are the properties in which a server sends where and with what device
// the visitor was. Rebound does not derive them from addresses.
var contextProps = map[string]string{"geo.country": "country", "device.type": "device_type"}

func urlText(u *events.URL, field, key string) (string, bool) {
	if u == nil {
		return "", false
	}
	switch field {
	case "url.host":
		return u.Host, u.Host != ""
	case "url.path":
		return u.Path, u.Path != ""
	case "url.query.":
		return queryValue(u.Query, key)
	}
	if u.Query == "" {
		return u.Host + u.Path, u.Host+u.Path != ""
	}
	return u.Host + u.Path + "?" + u.Query, true
}

// queryValue returns the first value of a key in a raw query.
func queryValue(query, key string) (string, bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if strings.ContainsAny(name, "%+") {
			name, _ = url.QueryUnescape(name)
		}
		if name != key {
			continue
		}
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		return value, true
	}
	return "", false
}

func itemFieldText(it *events.Item, field string) (string, bool) {
	switch field {
	case "item.id":
		return it.ID, it.ID != ""
	case "item.brand":
		return it.Brand, it.Brand != ""
	}
	return it.Category, it.Category != ""
}

// amount returns money in major units; ok is false for zero, which means
// absent. The quotient is the float64 nearest to the decimal, so it equals the
// parsed text of that decimal.
func amount(m rtb.Micros) (float64, bool) { return float64(m) / 1e6, m != 0 }
