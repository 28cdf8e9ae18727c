package apptest

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// nativeRequest is the request of imp.native: a string or an object, wrapped or
// not (Native Ads 1.2 §4.1).
func nativeRequest(native object) object {
	request := obj(native["request"])
	if text := str(native["request"]); text != "" {
		_ = json.Unmarshal([]byte(text), &request)
	}
	if inner := obj(request["native"]); inner != nil {
		return inner
	}
	return request
}

// checkNative checks the native response of a bid (Native Ads 1.2 §5).
func checkNative(imp, bid object) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	request := nativeRequest(obj(imp["native"]))
	var answer object
	if err := json.Unmarshal([]byte(str(bid["adm"])), &answer); err != nil {
		return []string{fmt.Sprintf("the markup is no JSON: %v", err)}
	}
	if inner := obj(answer["native"]); inner != nil {
		answer = inner
	}
	if str(obj(answer["link"])["url"]) == "" {
		bad("no link")
	}
	if bid["w"] != nil || bid["h"] != nil {
		bad("a native bid with a size")
	}
	asked := map[float64]object{}
	for _, a := range list(request["assets"]) {
		if id, ok := num(obj(a)["id"]); ok {
			asked[id] = obj(a)
		}
	}
	given := map[float64]bool{}
	for _, a := range list(answer["assets"]) {
		id, _ := num(obj(a)["id"])
		if asked[id] == nil || given[id] {
			bad("asset %g was not asked for, or is there twice", id)
			continue
		}
		given[id] = true
		wrong = append(wrong, checkAsset(imp, asked[id], obj(a))...)
	}
	for id, a := range asked {
		if required, _ := num(a["required"]); required == 1 && !given[id] {
			bad("required asset %g is missing", id)
		}
	}
	wrong = append(wrong, checkTrackers(request, answer)...)
	return wrong
}

func checkAsset(imp, asked, given object) []string {
	id := asked["id"]
	for _, kind := range []string{"title", "img", "video", "data"} {
		if (obj(asked[kind]) != nil) != (obj(given[kind]) != nil) {
			return []string{fmt.Sprintf("asset %v is no %s", id, kind)}
		}
	}
	tooLong := func(limit any, text string) bool {
		n, ok := num(limit)
		return text == "" || ok && n > 0 && float64(utf8.RuneCountInString(text)) > n
	}
	if t := obj(asked["title"]); t != nil && tooLong(t["len"], str(obj(given["title"])["text"])) {
		return []string{fmt.Sprintf("title %q is empty or longer than %v", obj(given["title"])["text"], t["len"])}
	}
	if d := obj(asked["data"]); d != nil && tooLong(d["len"], str(obj(given["data"])["value"])) {
		return []string{fmt.Sprintf("data %q is empty or longer than %v", obj(given["data"])["value"], d["len"])}
	}
	want, got := obj(asked["img"]), obj(given["img"])
	if want == nil {
		return nil
	}
	u := str(got["url"])
	if u == "" || secure(imp) && len(u) > 7 && u[:7] == "http://" {
		return []string{fmt.Sprintf("image %q", u)}
	}
	for _, side := range []string{"w", "h"} {
		n, told := num(got[side])
		exact, isExact := num(want[side])
		least, hasLeast := num(want[side+"min"])
		if told && (isExact && exact > 0 && !hasLeast && n != exact || hasLeast && n < least) {
			return []string{fmt.Sprintf("image of %s %g; want %v, at least %v", side, n, want[side], want[side+"min"])}
		}
	}
	return nil
}

// checkTrackers allows the pairs of event and method that the request offers
// only (Native Ads 1.2 §4.7, §5.8).
func checkTrackers(request, answer object) (wrong []string) {
	offered := map[[2]int]bool{}
	for _, t := range list(request["eventtrackers"]) {
		event, _ := num(obj(t)["event"])
		for _, method := range ints(obj(t)["methods"]) {
			offered[[2]int{int(event), method}] = true
		}
	}
	var urls []string
	for _, t := range list(answer["eventtrackers"]) {
		event, _ := num(obj(t)["event"])
		method, _ := num(obj(t)["method"])
		if !offered[[2]int{int(event), int(method)}] {
			wrong = append(wrong, fmt.Sprintf("tracker of event %g by method %g was not offered", event, method))
		}
		urls = append(urls, str(obj(t)["url"]))
	}
	for _, u := range strs(answer["imptrackers"]) {
		if slices.Contains(urls, u) {
			wrong = append(wrong, "one impression is counted by both kinds of tracker")
		}
	}
	return wrong
}
