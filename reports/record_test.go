package reports

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

// plainRecord is a second reading of a bid record, with the standard library.
type plainRecord struct {
	V         int64     `json:"v"`
	TS        time.Time `json:"ts"`
	Exchange  string    `json:"exchange"`
	Weight    float64   `json:"sample_weight"`
	Anonymous bool      `json:"anonymous"`
	Request   struct {
		Imp []struct {
			ID     string     `json:"id"`
			Banner *plainSize `json:"banner"`
			Video  *plainSize `json:"video"`
			Audio  *struct{}  `json:"audio"`
			Native *struct{}  `json:"native"`
		} `json:"imp"`
		Site struct {
			Domain string `json:"domain"`
			Page   string `json:"page"`
		} `json:"site"`
		App struct {
			Bundle any `json:"bundle"`
		} `json:"app"`
		Device struct {
			UA         string `json:"ua"`
			OS         string `json:"os"`
			DeviceType any    `json:"devicetype"`
			Geo        struct {
				Country string `json:"country"`
				Region  string `json:"region"`
			} `json:"geo"`
		} `json:"device"`
	} `json:"request"`
	Decision struct {
		NoBid rtb.NoBidReason `json:"nobid"`
		Bids  []struct {
			BidID      rtb.BidID `json:"bid_id"`
			ImpID      string    `json:"impid"`
			Advertiser string    `json:"advertiser"`
			Campaign   string    `json:"campaign"`
			Line       string    `json:"line"`
			Creative   string    `json:"creative"`
			Item       string    `json:"item"`
			Deal       string    `json:"deal"`
			Reserved   int64     `json:"reserved_micros"`
			RecencyS   int64     `json:"recency_s"`
			Frequency  int64     `json:"frequency"`
		} `json:"bids"`
		Dropped []struct {
			Advertiser string          `json:"advertiser"`
			Campaign   string          `json:"campaign"`
			Line       string          `json:"line"`
			Reason     rtb.NoBidReason `json:"reason"`
		} `json:"dropped"`
	} `json:"decision"`
}

type plainSize struct {
	W, H   any
	Format []struct{ W, H any }
}

// text returns the sides of the size; those of the first format if it has none.
func (x *plainSize) text() string {
	if x == nil {
		return "/"
	}
	w, h := x.W, x.H
	if len(x.Format) > 0 && (w == nil || w == "" || fmt.Sprint(w) == "0") {
		w, h = x.Format[0].W, x.Format[0].H
	}
	return scalarText(w) + "/" + scalarText(h)
}

func scalarText(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// facts returns everything that was read, as text.
func (p *plainRecord) facts() (list []string) {
	q, d := &p.Request, &p.Decision
	weight := int64(million)
	if p.Weight > 0 {
		weight = int64(p.Weight*million + 0.5)
	}
	list = append(list, fmt.Sprint(p.V, p.TS.Unix(), p.Exchange, weight, p.Anonymous, d.NoBid), q.Site.Domain, q.Site.Page, scalarText(q.App.Bundle), q.Device.UA, q.Device.OS,
		scalarText(q.Device.DeviceType), q.Device.Geo.Country, q.Device.Geo.Region)
	for _, m := range q.Imp {
		list = append(list, fmt.Sprint(m.ID, m.Banner != nil, m.Video != nil, m.Native != nil, m.Audio != nil, m.Banner.text(), m.Video.text()))
	}
	for _, b := range d.Bids {
		list = append(list, fmt.Sprintf("%s %q %d", b.BidID, []string{b.ImpID, b.Advertiser, b.Campaign, b.Line, b.Creative, b.Item, b.Deal}, []int64{b.Reserved, b.RecencyS, b.Frequency}))
	}
	for _, x := range d.Dropped {
		list = append(list, fmt.Sprintf("%q %s", []string{x.Advertiser, x.Campaign, x.Line}, x.Reason))
	}
	return list
}

func (r *record) facts() (list []string) {
	list = append(list, fmt.Sprint(r.version, r.at, string(r.exchange), r.weight, r.anonymous, r.nobid), string(r.domain), string(r.page), string(r.bundle), string(r.agent), string(r.os),
		string(r.deviceType), string(r.country), string(r.region))
	for _, m := range r.imps {
		list = append(list, fmt.Sprint(string(m.id), m.banner, m.video, m.native, m.audio, string(m.bannerSize.w)+"/"+string(m.bannerSize.h), string(m.videoSize.w)+"/"+string(m.videoSize.h)))
	}
	for _, b := range r.bids {
		list = append(list, fmt.Sprintf("%s %q %d", b.id, [][]byte{b.imp, b.advertiser, b.campaign, b.line, b.creative, b.item, b.deal}, []int64{b.reserved, b.recency, b.frequency}))
	}
	for _, x := range r.dropped {
		list = append(list, fmt.Sprintf("%q %s", [][]byte{x.advertiser, x.campaign, x.line}, x.reason))
	}
	return list
}

// recordLines are bid records in many forms.
func recordLines(t testing.TB) []string {
	w := newWorld(t)
	full := w.record(7)
	return []string{
		w.record(0), full,
		strings.NewReplacer(`,`, ` , `, `:{`, " :\t{", `[`, `[ `).Replace(full),
		strings.Replace(full, `"v":1,`, `"v":1,"visitor":{"key":"x","exchange":"no","segments":[{"decision":{"nobid":"floor"}},["]}\"{["]]},`, 1),
		strings.Replace(full, "News.example", `N\u00e9ws\\\"é\/.example\\`, 1),
		strings.Replace(full, `"site":{`, `"ext":{"site":{"domain":"no"},"imp":[{"id":"9"}]},"site":{"page":"https://p.example/?\"}",`, 1),
		strings.Replace(full, `"banner":{"w":300,"h":250}`, `"banner":{"w":0,"format":[{"w":"728","h":90},{"w":1,"h":1}],"h":0},"native":{"request":"{\"ver\":\"1.2\"}"},"audio":{}`, 1),
		strings.Replace(full, `"banner":{"w":300,"h":250}`, `"video":{"mimes":[],"w":640,"h":360}},{"id":"2"`, 1),
		strings.Replace(full, `"site":`, `"app":{"bundle":123456},"site":`, 1),
		strings.Replace(full, `}]}}`, `}],"dropped":[{"line":"other","campaign":"c","advertiser":"shop","reason":"floor"},{"line":"b","reason":"paced"}],"outbid":3}}`, 1),
		strings.Replace(full, `"sample_weight":1,`, `"sample_weight":33.25,"anonymous":true,`, 1),
		strings.Replace(full, `Z","exchange"`, `+02:00","exchange"`, 1),
	}
}

func TestDecode(t *testing.T) {
	var r record // what one line leaves behind must not show in the next
	for _, line := range recordLines(t) {
		var p plainRecord
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := r.decode([]byte(line)); err != nil || !reflect.DeepEqual(r.facts(), p.facts()) {
			t.Errorf("got %v, %q\nwant %q\nof %s", err, r.facts(), p.facts(), line)
		}
	}
}

// Members of the request that have the wrong type are left out.
func TestDecodeWrongTypes(t *testing.T) {
	w := newWorld(t)
	var want, r record
	if err := want.decode([]byte(strings.Replace(w.record(1), `"site":{"domain":"News.example"},`, "", 1))); err != nil {
		t.Fatal(err)
	}
	for _, site := range []string{`7`, `"x"`, `null`, `[{"domain":"x"}]`, `{"domain":7}`, `{"domain":{"a":"b"}}`, `{"domain":["x"]}`, `{"domain":null,"page":true}`} {
		line := strings.Replace(w.record(1), `{"domain":"News.example"}`, site, 1)
		if err := r.decode([]byte(line)); err != nil || !reflect.DeepEqual(r.facts(), want.facts()) {
			t.Errorf("%s: got %v, %q; want %q", site, err, r.facts(), want.facts())
		}
	}
}

func TestDecodeBroken(t *testing.T) {
	w := newWorld(t)
	full := w.record(1)
	lines := []string{"", "no record", `[]`, `{}`, `{"v":1}`, `{"v":1,"ts":"yesterday"}`, full + "}", full + full, strings.Replace(full, `"bid_id":"`, `"bid_id":"!`, 1),
		strings.Replace(full, `"bids"`, `"nobid":"luck","bids"`, 1), strings.Replace(full, `"site":{`, `"ext":{"a":1|,"site":{`, 1)}
	for n := range full {
		lines = append(lines, full[:n])
	}
	var r record
	for _, line := range lines {
		if err := r.decode([]byte(line)); err == nil {
			t.Errorf("got no error: %s", line)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, line := range recordLines(f) {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"v":1,"request":{"imp":[{"banner":{"format":[[{}]]}}]`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var r record
		err := r.decode(line)
		if err != nil && json.Valid(line) && strings.Contains(err.Error(), "invalid JSON") {
			t.Errorf("got %v of valid JSON: %s", err, line)
		}
	})
}
