package campaigns

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"rebound/internal/spec"
	"rebound/rtb"
)

// deviceNames, osNames and browserNames are the device types, operating systems
// and browsers that lines can target. A set of them is a bit mask.
var (
	deviceNames  = []string{"phone", "tablet", "desktop", "tv", "settopbox", "connected", "dooh"}
	osNames      = []string{"ios", "android", "windows", "macos", "linux", "chromeos", "tizen", "webos", "roku", "tvos"}
	browserNames = []string{"chrome", "safari", "firefox", "edge", "opera", "samsung", "yandex", "uc", "silk", "ie", "webview"}
)

// bitOf returns the bit of a name, or 0 if names does not have it.
func bitOf(names []string, name string) uint16 {
	if i := slices.Index(names, name); i >= 0 {
		return 1 << i
	}
	return 0
}

var (
	phone, tablet, desktop = bitOf(deviceNames, "phone"), bitOf(deviceNames, "tablet"), bitOf(deviceNames, "desktop")
	tv                     = bitOf(deviceNames, "tv")
)

// maxUA is how many bytes of a user agent are examined.
const maxUA = 512

func userAgent(d *rtb.Device) []byte { return d.UA[:min(len(d.UA), maxUA)] }

// osOf returns the operating system of a device; 0 means unknown.
func osOf(d *rtb.Device) uint16 {
	if os := familyOf(osBrands, d.OS); os != 0 {
		return os
	}
	return osTokens.in(userAgent(d))
}

// browserOf returns the browser of a device; 0 means unknown.
func browserOf(d *rtb.Device) uint16 {
	if browser := familyOf(browserBrands, d.Browser); browser != 0 {
		return browser
	}
	return browserTokens.in(userAgent(d))
}

// classOf returns the type of a device; 0 means unknown. devicetype decides if it is exact
// (AdCOM 1.0, List: Device Types); between phone, tablet and desktop sua.mobile
// comes first (OpenRTB 2.6 §3.2.18), then the user agent.
func classOf(d *rtb.Device) uint16 {
	switch d.Type {
	case 3:
		return tv
	case 4:
		return phone
	case 5:
		return tablet
	case 6:
		return bitOf(deviceNames, "connected")
	case 7:
		return bitOf(deviceNames, "settopbox")
	case 8:
		return bitOf(deviceNames, "dooh")
	}
	if d.Type == 2 && d.Mobile != rtb.Yes {
		return desktop // whatever the user agent says
	}
	fromUA := classTokens.in(userAgent(d))
	switch {
	case d.Mobile == rtb.Yes && fromUA != tablet:
		return phone
	case d.Mobile == rtb.No && fromUA == phone:
		return desktop
	case d.Type == 2:
		return desktop
	case d.Type == 1 && fromUA != tablet:
		return phone
	}
	return fromUA
}

// token is a part of a user agent and the bit that it means, unless the part
// "but" is also present.
type token struct {
	part, but string
	bit       uint16
}

// tokenList finds tokens in one pass over a text.
type tokenList struct {
	tokens []token
	first  [256]uint64 // by startOf: the tokens that begin so, as bits
}

// startOf maps the first two bytes of a token to a row of [tokenList].
func startOf(a, b byte) byte { return 7*a + b }

// in returns the bit of the first token of the list that the text contains.
func (l *tokenList) in(text []byte) uint16 {
	found := uint64(0)
	for i := range len(text) - 1 {
		for may := l.first[startOf(text[i], text[i+1])] &^ found; may != 0; may &= may - 1 {
			n := bits.TrailingZeros64(may)
			if part := l.tokens[n].part; len(text)-i >= len(part) && string(text[i:i+len(part)]) == part {
				found |= 1 << n
			}
		}
	}
	for ; found != 0; found &= found - 1 {
		t := &l.tokens[bits.TrailingZeros64(found)]
		if t.but == "" || !bytes.Contains(text, []byte(t.but)) {
			return t.bit
		}
	}
	return 0
}

// tokens makes a list of at most 64 tokens. Each row is a name and its parts.
func tokens(names []string, rows ...string) *tokenList {
	l := &tokenList{}
	for _, row := range rows {
		name, parts, _ := strings.Cut(row, ":")
		for part := range strings.SplitSeq(parts, "|") {
			part, but, _ := strings.Cut(part, "!")
			l.first[startOf(part[0], part[1])] |= 1 << len(l.tokens)
			l.tokens = append(l.tokens, token{part, but, bitOf(names, name)})
		}
	}
	return l
}

// Families of user agents. The first match counts, so a browser comes before
// those that it imitates. The part after ! must be absent.
var (
	classTokens = tokens(deviceNames,
		"tv:SmartTV|SMART-TV|Smart-TV|HbbTV|AppleTV|Apple TV|Roku/|GoogleTV|Android TV|BRAVIA|AFT|CrKey|Web0S|NetCast",
		"tablet:iPad|Tablet|PlayBook|Kindle|Silk/!Mobile|Android!Mobile",
		"phone:Mobile|iPhone|iPod|Opera Mini|Windows Phone|Android",
		"desktop:Windows NT|Macintosh|CrOS|X11|Linux")
	osTokens = tokens(osNames,
		"tizen:Tizen", "webos:Web0S|webOS|NetCast", "roku:Roku", "tvos:AppleTV|Apple TV|tvOS",
		"ios:iPhone|iPad|iPod!Windows Phone", "android:Android!Windows Phone", "windows:Windows", "chromeos:CrOS",
		"macos:Macintosh|Mac OS X", "linux:Linux|X11")
	browserTokens = tokens(browserNames,
		"edge:Edg/|Edge/|EdgA/|EdgiOS/", "opera:OPR/|Opera|OPiOS/|OPT/", "samsung:SamsungBrowser/", "yandex:YaBrowser/",
		"uc:UCBrowser/|UBrowser/", "silk:Silk/", "firefox:FxiOS/|Firefox/|Focus/", "webview:; wv)",
		"chrome:CriOS/|Chrome/|Chromium/", "ie:Trident/|MSIE ", "safari:Safari/", "webview:AppleWebKit/")
)

// brand is the name of a family in a structured hint.
type brand struct {
	name string // lower case
	bit  uint16
}

func brands(names []string, rows ...string) (out []brand) {
	for _, row := range rows {
		name, list, _ := strings.Cut(row, ":")
		for b := range strings.SplitSeq(list, "|") {
			out = append(out, brand{b, bitOf(names, name)})
		}
	}
	return out
}

var (
	osBrands = brands(osNames,
		"ios:ios|ipados|iphone os", "android:android|fire os|fireos", "windows:windows|windows nt|win32", "macos:macos|mac os x|mac os|osx|os x",
		"linux:linux|ubuntu", "chromeos:chrome os|chromeos|chromium os", "tizen:tizen", "webos:webos|webos tv", "roku:roku|roku os", "tvos:tvos|apple tv")
	browserBrands = brands(browserNames,
		"chrome:google chrome|chrome|chromium|chrome mobile|headlesschrome", "safari:safari|mobile safari", "firefox:firefox|firefox mobile|mozilla firefox",
		"edge:microsoft edge|edge", "opera:opera|opera mobile|opera gx", "samsung:samsung internet|samsung browser", "yandex:yandex|yabrowser|yandex browser",
		"uc:uc browser|ucbrowser", "silk:silk|amazon silk", "ie:internet explorer", "webview:android webview|microsoft edge webview2")
)

func familyOf(list []brand, name []byte) uint16 {
	for i := range list {
		if rtb.EqualFold(name, list[i].name) {
			return list[i].bit
		}
	}
	return 0
}

// devices are the devices that a line accepts; 0 accepts all.
type devices struct {
	class, os, browser uint16
	languages          []string // lower case; none: all
}

func (d *devices) matches(f *Facts) bool {
	switch {
	case d.class != 0 && d.class&f.deviceClass() == 0, d.os != 0 && d.os&f.deviceOS() == 0, d.browser != 0 && d.browser&f.deviceBrowser() == 0:
		return false
	case len(d.languages) == 0:
		return true
	}
	language := f.o.Device.Language
	for _, l := range d.languages {
		if languageIs(language, l) {
			return true
		}
	}
	return false
}

// languageIs reports whether a tag is in a language: en includes en-GB, but
// en-GB does not include en.
func languageIs(tag []byte, language string) bool {
	if len(tag) > len(language) && (tag[len(language)] == '-' || tag[len(language)] == '_') && !strings.Contains(language, "-") {
		tag = tag[:len(language)]
	}
	if len(tag) != len(language) {
		return false
	}
	for i := range tag {
		c := rtb.Lower(tag[i])
		if c == '_' {
			c = '-'
		}
		if c != language[i] {
			return false
		}
	}
	return true
}

func (c *compiler) devices(path string, s *DeviceSpec) *devices {
	if len(s.Types)+len(s.OS)+len(s.Browsers)+len(s.Languages) == 0 {
		return nil
	}
	set := func(field string, words, names []string) (bits uint16) {
		for i, w := range words {
			if n := c.OneOf(spec.At(path+"."+field, i), w, names); n >= 0 {
				bits |= 1 << n
			}
		}
		return bits
	}
	d := &devices{class: set("types", s.Types, deviceNames), os: set("os", s.OS, osNames), browser: set("browsers", s.Browsers, browserNames)}
	for i, l := range s.Languages {
		tag := strings.ToLower(strings.ReplaceAll(l, "_", "-"))
		if len(tag) < 2 || len(tag) > 16 || strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			c.Add(spec.At(path+".languages", i), spec.Quote(l), "a language tag such as en or en-gb")
		}
		d.languages = append(d.languages, tag)
	}
	return shared(c, "device", fmt.Sprintf("%#v", *d), d)
}
