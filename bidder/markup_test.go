package bidder_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
)

// checkMarkup parses the markup of a bid by its type: VAST must be strict XML, native
// must be one JSON object. It must contain what the scenario expects.
func checkMarkup(e *expect, bid map[string]any, fail func(string, ...any)) {
	adm, _ := bid["adm"].(string)
	switch bid["mtype"] {
	case 2.0, 3.0:
		doc, err := readXML(adm)
		if err != nil {
			fail("VAST: %v in %s", err, adm)
			return
		}
		for _, path := range slices.Sorted(maps.Keys(e.VAST)) {
			checkElement(doc, path, e.VAST[path], fail)
		}
	case 4.0:
		var doc any
		if err := json.Unmarshal([]byte(adm), &doc); err != nil {
			fail("native: %v in %s", err, adm)
			return
		}
		subset(fail, "native", e.Native, doc)
	default:
		if e.VAST != nil || e.Native != nil {
			fail("got mtype %v; want VAST or native", bid["mtype"])
		}
	}
}

// checkElement checks that the text of an element, or of an attribute after @,
// contains a text; null means that it must be absent.
func checkElement(doc map[string][]string, path string, want *string, fail func(string, ...any)) {
	got := doc[path]
	switch {
	case want == nil && len(got) > 0:
		fail("VAST %s: got %q; want nothing", path, got)
	case want != nil && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, *want) }):
		fail("VAST %s: got %q; want %q", path, got, *want)
	}
}

// readXML returns the texts of a document by the path of their element below the
// root; attributes follow @. Tracking elements have their event in the path.
func readXML(text string) (map[string][]string, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	doc := map[string][]string{}
	var stack []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if len(doc) == 0 {
				return nil, errors.New("no element")
			}
			return doc, nil
		}
		if err != nil {
			return nil, err
		}
		switch x := token.(type) {
		case xml.StartElement:
			name := x.Name.Local
			for _, a := range x.Attr {
				if a.Name.Local == "event" {
					name += ":" + a.Value
				}
			}
			stack = append(stack, name)
			path := strings.Join(stack, "/")
			doc[path] = append(doc[path], "")
			for _, a := range x.Attr {
				doc[path+"@"+a.Name.Local] = append(doc[path+"@"+a.Name.Local], a.Value)
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if list := doc[strings.Join(stack, "/")]; len(list) > 0 {
				list[len(list)-1] += string(x)
			}
		}
	}
}

// markupURL returns a URL in a bid's markup: that of "vast " and a path, or of
// "native " and imptracker, clicktracker or an event tracker's number.
func markupURL(bid map[string]any, notice string) string {
	adm, _ := bid["adm"].(string)
	if path, ok := strings.CutPrefix(notice, "vast "); ok {
		if doc, err := readXML(adm); err == nil && len(doc[path]) > 0 {
			return doc[path][0]
		}
		return ""
	}
	var doc struct {
		Link          struct{ ClickTrackers []string }
		ImpTrackers   []string
		EventTrackers []struct {
			Event int
			URL   string
		}
	}
	if json.Unmarshal([]byte(adm), &doc) != nil {
		return ""
	}
	switch {
	case notice == "native imptracker" && len(doc.ImpTrackers) > 0:
		return doc.ImpTrackers[0]
	case notice == "native clicktracker" && len(doc.Link.ClickTrackers) > 0:
		return doc.Link.ClickTrackers[0]
	}
	for _, t := range doc.EventTrackers {
		if notice == "native event "+string(rune('0'+t.Event)) {
			return t.URL
		}
	}
	return ""
}
