package collect

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"rebound/events"
	"rebound/rtb"
)

func parsePixel(query string) (Input, []Reject) {
	var bad []Reject
	return ParsePixel([]byte(query), func(r Reject) { bad = append(bad, r) }), bad
}

func TestParsePixel(t *testing.T) {
	in, bad := parsePixel("a=shop&e=add_to_cart&eid=u-1&u=https%3A%2F%2Fshop.example%2Fp%2F1%3Futm_source%3Dmail&r=https://n.example/" +
		"&id=SKU1,+Sku2+,,SKU3&pr=29.90,5&qt=1,2,,4&ct=Shoes,,,Hats&v=34.9&cu=eur&o=A1&q=running+shoes&xid=c77&em=" + hash("a") +
		"&ph=" + hash("b") + "&t=123&gdpr=1&gdpr_consent=CX&us_privacy=1YNN&gpp=DB&gpp_sid=7&npa=1&p.color=red&p.size=42")
	if len(bad) != 0 {
		t.Fatalf("got problems %v; want none", bad)
	}
	eur, _ := rtb.ParseCurrency("EUR")
	want := Input{
		Advertiser: "shop", Event: "add_to_cart", EventID: "u-1", Page: "https://shop.example/p/1?utm_source=mail", Ref: "https://n.example/",
		User: User{XID: "c77", Em: []string{hash("a")}, Ph: []string{hash("b")}},
		Items: []events.Item{
			{ID: "sku1", Price: 29_900_000, Quantity: 1, Category: "Shoes"},
			{ID: "sku2", Price: 5_000_000, Quantity: 2},
			{ID: "sku3", Quantity: 4, Category: "Hats"},
		},
		Value: 34_900_000, Currency: eur, OrderID: "A1", Query: "running shoes", Props: map[string]string{"color": "red", "size": "42"},
		Consent: &ConsentText{GDPR: "1", TC: "CX", USPrivacy: "1YNN", GPP: "DB", GPPSID: "7", NPA: "1"},
	}
	if !reflect.DeepEqual(in, want) {
		t.Errorf("got\n%+v\nwant\n%+v", in, want)
	}
}

// Invalid parameters are ignored and counted; the event remains valid.
func TestBadPixelParameters(t *testing.T) {
	tests := []struct {
		query string
		bad   Reject
		check func(Input) bool
	}{
		{"e=x&em=jane@doe.example", RejectClearText, func(in Input) bool { return in.User.Em == nil }},
		{"e=x&em=jane%40doe.example", RejectClearText, func(in Input) bool { return in.User.Em == nil }},
		{"e=x&em=jane%2540doe.example", RejectClearText, func(in Input) bool { return in.User.Em == nil }},
		{"e=x&xid=jane@doe.example", RejectClearText, func(in Input) bool { return in.User.XID == "" }},
		{"e=x&o=jane@doe.example-1", RejectClearText, func(in Input) bool { return in.OrderID == "" }},
		{"e=x&q=jane@doe.example", RejectClearText, func(in Input) bool { return in.Query == "" }},
		{"e=x&id=SKU1,jane@doe.example", RejectClearText, func(in Input) bool { return in.Items == nil }},
		{"e=x&p.mail=jane@doe.example", RejectClearText, func(in Input) bool { return in.Props == nil }},
		{"e=x&em=0123456789abcdef0123456789abcdef", RejectHash, func(in Input) bool { return in.User.Em == nil }},
		{"e=x&cu=EURO", RejectCurrency, func(in Input) bool { return in.Currency.IsZero() }},
		{"e=x&v=much", RejectValue, func(in Input) bool { return in.Value == 0 }},
		{"e=x&v=1e999", RejectValue, func(in Input) bool { return in.Value == 0 }},
		{"e=x&id=A&pr=cheap", RejectPrice, func(in Input) bool { return len(in.Items) == 1 }},
		{"e=x&id=A&pr=-1", RejectPrice, func(in Input) bool { return in.Items[0].Price == 0 }},
		{"e=x&id=A&qt=-2", RejectPrice, func(in Input) bool { return in.Items[0].Quantity == 0 }},
		{"e=x&id=" + strings.Repeat("A,", 300), RejectTooMany, func(in Input) bool { return len(in.Items) == 200 }},
		{"e=x&q=%zz", RejectBadQuery, func(in Input) bool { return in.Query == "%zz" }},
		{"e=x" + strings.Repeat("&z=1", 200), RejectTooMany, func(in Input) bool { return true }},
	}
	for _, tt := range tests {
		in, bad := parsePixel(tt.query)
		if len(bad) != 1 || bad[0] != tt.bad {
			t.Errorf("%.60s: got %v; want %v", tt.query, bad, tt.bad)
		}
		if in.Event != "x" || !tt.check(in) {
			t.Errorf("%.60s: got %+v", tt.query, in)
		}
	}
}

func TestParseMatch(t *testing.T) {
	var bad []Reject
	m := ParseMatch([]byte("ex=demo&uid=a%2Bb&gdpr=1&gdpr_consent=CX&x=%zz"), func(r Reject) { bad = append(bad, r) })
	if m.Exchange != "demo" || m.UID != "a+b" || m.Consent == nil || m.Consent.TC != "CX" || len(bad) != 1 {
		t.Errorf("got %+v, %v", m, bad)
	}
}

// pixelSeeds are also the seeds of the fuzz test, which checks that stored text is
// bounded, valid UTF-8 and free of e-mail addresses.
func FuzzPixel(f *testing.F) {
	for _, s := range []string{
		"a=shop&e=view_item&id=SKU1&u=https://shop.example/p?q=1", "em=a@b.example", "p.k=v&p.=x&p.k", "&&==&=%", "id=,,&pr=,&qt=",
		"u=//&r=:", "v=1e5&cu=usd", "q=%F0%9F%91%9F%00%ff", "u=https://x.example/a@b.example/?m=a%2540b.example&utm_term=c@d.example",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		w := newWorld(t)
		in := ParsePixel([]byte(query), w.reject)
		if len(in.Items) > maxItems || len(in.Props) > maxProps {
			t.Fatalf("got %d items, %d properties", len(in.Items), len(in.Props))
		}
		in.Advertiser, in.Event, in.Consent = "shop", "view_item", nil
		w.record(t, &Call{Host: "edge.example"}, &in)
		text := w.text(t)
		if !utf8.ValidString(text) || hasEmail(strings.ReplaceAll(text, `\u0026`, "&")) {
			t.Fatalf("fact of %q: %s", query, text)
		}
		if len(text) > 1<<20 {
			t.Fatalf("fact of %d bytes from a query of %d", len(text), len(query))
		}
	})
}
