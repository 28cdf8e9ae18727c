package collect

import (
	"net/url"
	"strings"
	"testing"
)

// Whatever the query, a sync leads to a listed host of the exchange or nowhere, and its
// redirect is one line of printable characters.
func FuzzSync(f *testing.F) {
	for _, query := range []string{
		"ex=ads", "ex=ads&gdpr=0&gdpr_consent=x&gpp=y&gpp_sid=7&us_privacy=1YNN", "ex=demo&r=https%3A%2F%2Fpbs.example%2Fs%3Fu%3D%24UID", "ex=demo&r=https://evil.example/",
		"ex=demo&r=https://pbs.example@evil.example/", "ex=demo&r=//pbs.example", "ex=demo&r=https:%5C%5Cpbs.example", "ex=ads&us_privacy=a%0d%0aX:y", "ex=demo&r=http://127.0.0.1:9000/?a#b",
		"ex=demo&r=https://pbs.example/&r=https://evil/", "r=&ex=&&&=%", "ex=ads&google_push=%0d%0a", "ex=demo&r=https://pbs.example:443/{UID}%7BUID%7D",
	} {
		f.Add(query)
	}
	w := newWorld(f)
	w.setup.Load().Exchanges["ads"].PassParams = []string{"google_push"}
	f.Fuzz(func(t *testing.T, query string) {
		q := ParseSync([]byte(query), func(Reject) {})
		r := w.RecordSync(&Call{Cookie: []byte("x"), UserAgent: query}, &q)
		if r.Location == "" {
			if len(r.Cookies) > 0 {
				t.Fatalf("%q: got cookies without a redirect", query)
			}
			return
		}
		u, err := url.Parse(r.Location)
		if err != nil || strings.ContainsFunc(r.Location, func(c rune) bool { return c <= ' ' || c > '~' }) {
			t.Fatalf("%q: leads to %q, %v", query, r.Location, err)
		}
		host, _, _ := splitURL(r.Location) // as browsers read it
		if host != hostName(u.Host) || host != "ads.example" && host != "pbs.example" && host != "127.0.0.1" {
			t.Fatalf("%q: leads to %q", query, r.Location)
		}
	})
}

// Whatever the target, a click leads to a page of the advertiser or nowhere.
func FuzzMailTarget(f *testing.F) {
	for _, u := range []string{
		"https://shop.example/", "http://www.shop.example:8080/a?b#c", "https://evil.example/shop.example", "https://shop.example@evil.example", "https://evil.example\\@shop.example",
		"//shop.example", "https:shop.example", "javascript://shop.example/%0aalert(1)", "https://shop.example\t.evil.example/", "https://[::1]/", "https://shop.example./", "https://ſhop.example/",
	} {
		f.Add(u)
	}
	adv := &Advertiser{ID: "shop", Domains: []string{"shop.example"}}
	f.Fuzz(func(t *testing.T, target string) {
		if !adv.owns(target) {
			return
		}
		u, err := url.Parse(target)
		if err != nil {
			return // browsers read it as splitURL does, which owns has checked
		}
		host := hostName(u.Host)
		if u.User != nil || host != "shop.example" && !strings.HasSuffix(host, ".shop.example") || strings.ContainsAny(target, "\r\n") {
			t.Fatalf("%q is taken for a page of the shop", target)
		}
	})
}

// A list of events from a browser never makes more facts than it may, whatever it is.
func FuzzBeacon(f *testing.F) {
	for _, body := range []string{
		`{"a":"shop","event":"view_item","items":[{"id":"A"}]}`, `[{"a":"shop","event":"x"},{"a":"shop"}]`, "{}\n{}", `{"batch":[{"a":"shop","event":"x"}]}`, "[", "", `{"a":"shop","event":"x","consent":5}`,
		`{"a":"shop","event":"x","user":{"em":"jane@doe.example"},"url":"https://shop.example/?e=jane@doe.example"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := newWorld(t)
		w.beacon("", body)
		if len(w.events()) > maxBeaconEvents || w.Stats().Cookies > 1 {
			t.Fatalf("got %d events of %d new visitors", len(w.events()), w.Stats().Cookies)
		}
		if strings.Contains(w.text(t), "jane@doe.example") {
			t.Fatal("clear text was stored")
		}
		w.LastEvents("shop", 100)
	})
}
