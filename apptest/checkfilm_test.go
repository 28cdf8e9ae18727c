package apptest

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// vastVersions maps AdCOM's protocol codes to VAST versions, and states whether
// each is a wrapper.
var vastVersions = map[int]struct {
	root, version string
	wrapper       bool
}{
	1: {"VAST", "1.0", false}, 2: {"VAST", "2.0", false}, 3: {"VAST", "3.0", false}, 4: {"VAST", "1.0", true}, 5: {"VAST", "2.0", true},
	6: {"VAST", "3.0", true}, 7: {"VAST", "4.0", false}, 8: {"VAST", "4.0", true}, 9: {"DAAST", "1.0", false}, 10: {"DAAST", "1.0", true},
	11: {"VAST", "4.1", false}, 12: {"VAST", "4.1", true}, 13: {"VAST", "4.2", false}, 14: {"VAST", "4.2", true}, 15: {"VAST", "4.3", false}, 16: {"VAST", "4.3", true},
}

// vast holds the parts of a document that a player needs.
type vast struct {
	root, version string
	elements      map[string]int
	texts         map[string][]string // by element
	types         []string            // of media files
}

func readVAST(adm string) (*vast, error) {
	v := &vast{elements: map[string]int{}, texts: map[string][]string{}}
	d := xml.NewDecoder(strings.NewReader(adm))
	d.Strict = true
	var path []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			return v, nil
		}
		if err != nil {
			return nil, err
		}
		switch x := token.(type) {
		case xml.StartElement:
			name := x.Name.Local
			if len(path) == 0 {
				v.root = name
			}
			path = append(path, name)
			v.elements[name]++
			for _, a := range x.Attr {
				switch {
				case len(path) == 1 && a.Name.Local == "version":
					v.version = a.Value
				case name == "MediaFile" && a.Name.Local == "type":
					v.types = append(v.types, a.Value)
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if text := strings.TrimSpace(string(x)); text != "" && len(path) > 0 {
				name := path[len(path)-1]
				v.texts[name] = append(v.texts[name], text)
			}
		}
	}
}

// checkFilm checks the VAST or DAAST of a bid on imp.video or imp.audio.
func checkFilm(imp, video, bid object) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	adm := str(bid["adm"])
	v, err := readVAST(adm)
	if err != nil {
		return []string{fmt.Sprintf("the markup is no XML: %v", err)}
	}
	code, _ := num(bid["protocol"])
	said := vastVersions[int(code)]
	if v.root != said.root || v.version != said.version || (v.elements["Wrapper"] > 0) != said.wrapper {
		bad("protocol %g, and the markup is %s %s, wrapper %v", code, v.root, v.version, v.elements["Wrapper"] > 0)
	}
	offered := ints(video["protocols"])
	if p, ok := num(video["protocol"]); ok && len(offered) == 0 {
		offered = []int{int(p)}
	}
	if len(offered) > 0 && !slices.Contains(offered, int(code)) {
		bad("protocol %g is not one of %v", code, offered)
	}
	for _, element := range []string{"AdSystem", "Impression", "Creative"} {
		if v.elements[element] == 0 {
			bad("no %s in the markup", element)
		}
	}
	mimes := strs(video["mimes"])
	if !said.wrapper && !slices.ContainsFunc(v.types, func(m string) bool {
		return containsFold(mimes, m) || containsFold(mimes, otherNames[m])
	}) {
		bad("media of %v; want one of %v", v.types, mimes)
	}
	wrong = append(wrong, checkDuration(video, bid, v)...)
	for name, texts := range v.texts {
		for _, text := range texts {
			if secure(imp) && strings.HasPrefix(strings.ReplaceAll(text, "http://127.0.0.1", ""), "http://") {
				bad("plain http in %s of a secure impression", name)
			}
		}
	}
	if strings.Contains(adm, "%24%7B") || strings.Contains(adm, "{{") {
		bad("a macro is encoded or unfilled")
	}
	return wrong
}

// checkDuration compares the duration of the markup, of the bid, and of the
// impression.
func checkDuration(video, bid object, v *vast) []string {
	if _, newer := num(bid["mtype"]); !newer && bid["dur"] == nil {
		return nil // dur was added with mtype, in OpenRTB 2.6
	}
	seconds, ok := num(bid["dur"])
	if len(v.texts["Duration"]) == 0 {
		return nil // a wrapper
	}
	told := clock(v.texts["Duration"][0])
	if !ok || told != seconds {
		return []string{fmt.Sprintf("dur %v, and %s in the markup", bid["dur"], v.texts["Duration"][0])}
	}
	if exact := ints(video["rqddurs"]); len(exact) > 0 {
		if !slices.Contains(exact, int(seconds)) {
			return []string{fmt.Sprintf("%g seconds; want one of %v", seconds, exact)}
		}
		return nil
	}
	least, _ := num(video["minduration"])
	most, limited := num(video["maxduration"])
	extended, _ := num(video["maxextended"])
	if seconds < least || limited && most > 0 && extended >= 0 && seconds > most+extended {
		return []string{fmt.Sprintf("%g seconds; want %g to %g", seconds, least, most)}
	}
	return nil
}

// clock reads hh:mm:ss.
func clock(s string) float64 {
	total := 0.0
	for _, part := range strings.Split(s, ":") {
		f, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return -1
		}
		total = 60*total + f
	}
	return total
}

// otherNames are names of media types that exchanges send instead of the registered ones.
var otherNames = map[string]string{"audio/mpeg": "audio/mp3", "video/mp4": "video/x-m4v"}
