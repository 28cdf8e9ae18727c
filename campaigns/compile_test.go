package campaigns

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"rebound/creatives"
	"rebound/rtb"
)

func TestCompileProblems(t *testing.T) {
	f := func(path string, change func(*Input)) {
		t.Helper()
		in := input(t)
		rules(t, &in, standard...)
		change(&in)
		x, report := Compile(in)
		for _, p := range append(report.Problems, report.Warnings...) {
			if p.Path == path && p.Got != "" && p.Want != "" {
				if x != nil {
					t.Errorf("%s: got an index in spite of problems", path)
				}
				return
			}
		}
		t.Errorf("got %+v; want a problem at %s", report, path)
	}
	adv := func(do func(*AdvertiserSpec)) func(*Input) { return func(in *Input) { do(&in.Advertisers[0]) } }
	camp := func(do func(*CampaignSpec)) func(*Input) { return func(in *Input) { do(&in.Campaigns[0]) } }
	ln := func(do func(*LineSpec)) func(*Input) { return func(in *Input) { do(&in.Campaigns[0].Lines[0]) } }

	f("advertisers[0].id", adv(func(s *AdvertiserSpec) { s.ID = "Shop" }))
	f("advertisers[1].id", func(in *Input) { in.Advertisers = append(in.Advertisers, in.Advertisers[0]) })
	f("advertisers[0].domains", adv(func(s *AdvertiserSpec) { s.Domains = nil }))
	f("advertisers[0].domains[0]", adv(func(s *AdvertiserSpec) { s.Domains = []string{"https://shop.example/"} }))
	f("advertisers[0].timezone", adv(func(s *AdvertiserSpec) { s.Timezone = "Toronto" }))
	f("advertisers[0].iab_cat[0]", adv(func(s *AdvertiserSpec) { s.IABCat = []string{"18"} }))
	f("advertisers[0].feed", adv(func(s *AdvertiserSpec) { s.Feed = "main" }))
	f("advertisers[0].keys[0].sha256", adv(func(s *AdvertiserSpec) { s.Keys = []KeySpec{{SHA256: "demo-shop-key"}} }))
	f("advertisers[0].keys[0].scopes[0]", adv(func(s *AdvertiserSpec) {
		s.Keys = []KeySpec{{SHA256: hex.EncodeToString(make([]byte, 32)), Scopes: []string{"event"}}}
	}))
	f("advertisers[0].frequency[0].max", adv(func(s *AdvertiserSpec) { s.Frequency = Frequency{{Per: time.Hour}} }))
	f("advertisers[0].frequency[0].per", adv(func(s *AdvertiserSpec) { s.Frequency = Frequency{{Max: 1, Per: time.Second}} }))
	f("campaigns[0].id", camp(func(s *CampaignSpec) { s.ID = "" }))
	f("campaigns[1].id", func(in *Input) { in.Campaigns = append(in.Campaigns, in.Campaigns[0]) })
	f("campaigns[0].advertiser", camp(func(s *CampaignSpec) { s.Advertiser = "shup" }))
	f("campaigns[0].status", camp(func(s *CampaignSpec) { s.Status = "activ" }))
	f("campaigns[0].budget", camp(func(s *CampaignSpec) { s.Budget = BudgetSpec{} }))
	f("campaigns[0].lines[0].audience", ln(func(s *LineSpec) { s.Contextual = true }))
	f("campaigns[0].lines[0].child_safe", ln(func(s *LineSpec) { s.ChildSafe = true }))
	f("campaigns[0].budget.daily", camp(func(s *CampaignSpec) { s.Budget.Daily = micros(0) }))
	f("campaigns[0].budget.total", camp(func(s *CampaignSpec) { s.Budget.Total = micros(-1) }))
	f("campaigns[0].budget.holdback_pct", camp(func(s *CampaignSpec) { n := 91; s.Budget.HoldbackPct = &n }))
	f("campaigns[0].budget.pacing", camp(func(s *CampaignSpec) { s.Budget.Pacing = "fast" }))
	f("campaigns[0].end", camp(func(s *CampaignSpec) { s.Start, s.End = t0, t0 }))
	f("campaigns[0].lines", camp(func(s *CampaignSpec) { s.Lines = nil }))
	f("campaigns[0].lines[1].id", camp(func(s *CampaignSpec) { s.Lines = append(s.Lines, s.Lines[0]) }))
	f("campaigns[0].lines[0].id", ln(func(s *LineSpec) { s.ID = "-a" }))
	f("campaigns[0].lines[0].priority", ln(func(s *LineSpec) { p := 101; s.Priority = &p }))
	f("campaigns[0].lines[0].end", ln(func(s *LineSpec) { s.Start, s.End = t0, t0.Add(-time.Hour) }))
	f("campaigns[0].lines[0].audience", ln(func(s *LineSpec) { s.Audience = AudienceSpec{} }))
	f("campaigns[0].lines[0].audience.include[0]", ln(func(s *LineSpec) { s.Audience.Include = []string{"viewer"} }))
	f("campaigns[0].lines[0].audience.not_within", ln(func(s *LineSpec) { s.Audience.Within, s.Audience.NotWithin = time.Hour, time.Hour }))
	f("campaigns[0].lines[0].exclude_converters", ln(func(s *LineSpec) { s.ExcludeConverters = OffDuration{true, 541 * 24 * time.Hour} }))
	f("campaigns[0].lines[0].bid.strategy", ln(func(s *LineSpec) { s.Bid.Strategy = "cpx" }))
	f("campaigns[0].lines[0].bid.target", ln(func(s *LineSpec) { s.Bid.Target = 1 }))
	for _, target := range []rtb.Micros{0, -1, maxTarget + 1} {
		f("campaigns[0].lines[0].bid.target", ln(func(s *LineSpec) { s.Bid.Strategy, s.Bid.Target = "cpc", target }))
	}
	f("campaigns[0].lines[0].bid.cpm", ln(func(s *LineSpec) { s.Bid.Strategy, s.Bid.Target, s.Bid.CPM = "cpc", 500_000, -1 }))
	f("campaigns[0].lines[0].bid.target", ln(func(s *LineSpec) { s.Bid.Strategy = "cpa" }))
	f("campaigns[0].lines[0].bid.cpm", ln(func(s *LineSpec) {
		s.Bid.Strategy, s.Bid.Target, s.Bid.CPM, s.Bid.MaxCPM = "cpa", 1000, 200_000, 300_000
	}))
	f("campaigns[0].lines[0].bid.target", ln(func(s *LineSpec) { s.Bid.Strategy, s.Bid.Target = "roas", 400_000_000 }))
	f("campaigns[0].lines[0].bid.cpm", ln(func(s *LineSpec) { s.Bid.Strategy, s.Bid.Target, s.Bid.CPM = "roas", 4_000_000, 0 }))
	f("campaigns[0].lines[0].bid.cpm", ln(func(s *LineSpec) {
		s.Bid.Strategy, s.Bid.Target, s.Bid.CPM, s.Bid.MaxCPM = "cpc", 1000, 600_000, 800_000
	}))
	f("campaigns[0].lines[0].bid.cpm", ln(func(s *LineSpec) { s.Bid.CPM = 0 }))
	f("campaigns[0].lines[0].bid.cpm", ln(func(s *LineSpec) { s.Bid.CPM = -1 }))
	f("campaigns[0].lines[0].bid.max_cpm", ln(func(s *LineSpec) { s.Bid.MaxCPM = 1_999_999 }))
	f("campaigns[0].lines[0].bid.max_cpm", ln(func(s *LineSpec) { s.Bid.MaxCPM = rtb.MaxCPM + 1 }))
	f("campaigns[0].lines[0].bid.recency[0].within", ln(func(s *LineSpec) { s.Bid.Recency = []RecencyStep{{X: 1}} }))
	f("campaigns[0].lines[0].bid.recency[1].within", ln(func(s *LineSpec) { s.Bid.Recency = []RecencyStep{{time.Hour, 1}, {time.Hour, 1}} }))
	f("campaigns[0].lines[0].bid.recency[0].x", ln(func(s *LineSpec) { s.Bid.Recency = []RecencyStep{{time.Hour, 101}} }))
	f("campaigns[0].lines[0].bid.intensity[0].min_count", ln(func(s *LineSpec) { s.Bid.Intensity = []IntensityStep{{0, 1}} }))
	f("campaigns[0].lines[0].bid.intensity[0].x", ln(func(s *LineSpec) { s.Bid.Intensity = []IntensityStep{{1, -1}} }))
	f("campaigns[0].lines[0].frequency[0].max", ln(func(s *LineSpec) { s.Frequency = Frequency{{Max: -1, Per: time.Hour}} }))
	f("campaigns[0].lines[0].min_gap", ln(func(s *LineSpec) { s.MinGap = OffDuration{true, 91 * 24 * time.Hour} }))
	f("campaigns[0].lines[0].exchanges[0]", ln(func(s *LineSpec) { s.Exchanges = []string{"dem"} }))
	f("campaigns[0].lines[0].exchanges", ln(func(s *LineSpec) { s.Exchanges = []string{} }))
	f("campaigns[0].lines[0].creatives", ln(func(s *LineSpec) { s.Creatives = nil }))
	f("campaigns[0].lines[0].creatives[0]", ln(func(s *LineSpec) { s.Creatives = refs("baner") }))
	f("campaigns[0].lines[0].creatives[1]", ln(func(s *LineSpec) { s.Creatives = refs("banner", "banner") }))
	f("campaigns[0].lines[0].creatives[0]", adv(func(s *AdvertiserSpec) { s.Domains = []string{"other.example"} }))
	f("campaigns[0].lines[0].creatives[0]", func(in *Input) {
		c, _ := creatives.Compile([]creatives.Spec{{ID: "p", Type: "html_template", Size: "1x1", HTML: "{{click}}{{item.title}}"}}, nil)
		in.Creatives["banner"] = c[0] // needs a product; the advertiser has no feed
	})
	f("campaigns[0].lines[0].creatives[0]", func(in *Input) {
		c := *in.Creatives["banner"]
		c.Advertiser = "another"
		in.Creatives["banner"] = &c
	})
}

func TestAudienceOfAnotherAdvertiser(t *testing.T) {
	in := input(t)
	in.Advertisers = append(in.Advertisers, AdvertiserSpec{ID: "rival", Domains: []string{"rival.example"}})
	rules(t, &in, standard...)
	in.Campaigns[0].Advertiser = "rival"
	in.Campaigns[0].Lines[0].Creatives = refs("none")
	_, report := Compile(in)
	for _, p := range report.Problems {
		if p.Path == "campaigns[0].lines[0].audience.include[0]" {
			return
		}
	}
	t.Errorf("got %+v; want the rival kept from the shop's audience", report)
}

func TestHintsNameTheNearest(t *testing.T) {
	in := input(t)
	rules(t, &in, standard...)
	in.Campaigns[0].Lines[0].Audience.Include = []string{"viewrs"}
	_, report := Compile(in)
	if p := report.Problems; len(p) != 1 || p[0].Hint != "did you mean viewers?" {
		t.Errorf("got %+v; want the hint viewers", report)
	}
}

func TestDefaults(t *testing.T) {
	in := input(t)
	rules(t, &in, standard...)
	x := mustCompile(t, in)
	l := x.Lines()[0]
	if l.Priority != 50 || l.Status != StatusActive || l.Pacing != PacingEven || l.Caps != rtb.CapCampaignDay || !l.On("demo") || !l.On("anything") {
		t.Errorf("got %+v", l)
	}
	if a := l.Advertiser; a.Name != "shop" || a.Currency != rtb.USD || a.Zone != time.UTC {
		t.Errorf("got %+v", a)
	}
	want := []rtb.FrequencyCap{{Scope: rtb.ScopeOf("line", "shop/autumn/viewed"), Max: 10, Per: 24 * time.Hour, MinGap: time.Minute}}
	if len(l.Frequency) != 1 || l.Frequency[0] != want[0] {
		t.Errorf("got %+v; want %+v", l.Frequency, want)
	}
	in.Campaigns[0].Status = ""
	if x := mustCompile(t, in); x.Live() != 0 || x.Lines()[0].Status != StatusDraft {
		t.Error("a campaign without a status is live; want a draft")
	}
	in.Campaigns[0].Lines[0].Status = "active"
	if x := mustCompile(t, in); x.Live() != 0 {
		t.Error("an active line makes its draft campaign live")
	}
}

func TestFrequencyScopes(t *testing.T) {
	in := input(t)
	in.Advertisers[0].Frequency = Frequency{{Max: 20, Per: 24 * time.Hour}}
	in.Campaigns[0].Frequency = Frequency{{Max: 5, Per: time.Hour}}
	in.Campaigns[0].Lines[0].Frequency = Frequency{}
	in.Campaigns[0].Lines[0].MinGap = OffDuration{Set: true}
	rules(t, &in, standard...)
	got := mustCompile(t, in).Lines()[0].Frequency
	if len(got) != 2 || got[0].Scope != rtb.ScopeOf("campaign", "shop/autumn") || got[0].Max != 5 || got[1].Scope != rtb.ScopeOf("advertiser", "shop") || got[1].Max != 20 {
		t.Errorf("got %+v", got)
	}
	in.Campaigns[0].Lines[0].MinGap = OffDuration{}
	if got = mustCompile(t, in).Lines()[0].Frequency; len(got) != 3 || got[0].MinGap != time.Minute || got[0].Max < 1_000_000 {
		t.Errorf("no cap but a gap: got %+v", got)
	}
}

func TestPlan(t *testing.T) {
	in := input(t)
	in.Campaigns[0].Budget = BudgetSpec{Daily: micros(50), Total: micros(3000), Pacing: "asap"}
	in.Campaigns[0].Lines[0].Budget = BudgetSpec{Daily: micros(20), Pacing: "even"}
	in.Campaigns[0].Start, in.Campaigns[0].End = t0, t0.Add(24*time.Hour)
	in.Campaigns[0].Lines[0].Start = t0.Add(time.Hour)
	in.Campaigns[0].Lines[0].End = t0.Add(48 * time.Hour)
	in.Campaigns[0].Lines[0].Exchanges = []string{"demo"}
	in.Advertisers[0].Timezone = "America/Toronto"
	rules(t, &in, standard...)
	x := mustCompile(t, in)
	p := x.Plan()[0]
	if p.Caps != rtb.CapLineDay|rtb.CapCampaignDay|rtb.CapCampaignTotal || p.LineDay != 20 || p.LineTotal != 0 || p.CampaignDay != 50 || p.CampaignTotal != 3000 ||
		p.Pacing != PacingEven || p.CampaignPacing != PacingASAP || p.Zone.String() != "America/Toronto" || !p.Active || p.MaxCPM != 8_000_000 {
		t.Errorf("got %+v", p)
	}
	if !p.Start.Equal(t0.Add(time.Hour)) || !p.End.Equal(t0.Add(24*time.Hour)) {
		t.Errorf("got %v to %v; want the narrower of line and campaign", p.Start, p.End)
	}
	l := x.Lines()[0]
	for at, want := range map[time.Duration]bool{0: false, time.Hour: true, 24*time.Hour - 1: true, 24 * time.Hour: false} {
		if l.Live(t0.Add(at)) != want {
			t.Errorf("live after %v: got %v; want %v", at, !want, want)
		}
	}
	if !l.On("demo") || l.On("other") {
		t.Error("exchanges: want demo only")
	}
}

func TestFactors(t *testing.T) {
	b := Bid{Recency: []RecencyStep{{time.Hour, 1.8}, {24 * time.Hour, 1.3}, {7 * 24 * time.Hour, 1}}, Intensity: []IntensityStep{{5, 1.2}, {10, 1.5}}}
	for age, want := range map[time.Duration]float64{0: 1.8, time.Hour: 1.8, time.Hour + 1: 1.3, 7 * 24 * time.Hour: 1, 100 * 24 * time.Hour: 1, -time.Minute: 1.8} {
		if got := b.RecencyFactor(age); got != want {
			t.Errorf("recency of %v: got %v; want %v", age, got, want)
		}
	}
	for n, want := range map[uint32]float64{0: 1, 4: 1, 5: 1.2, 9: 1.2, 10: 1.5, 1 << 31: 1.5} {
		if got := b.IntensityFactor(n); got != want {
			t.Errorf("intensity of %d: got %v; want %v", n, got, want)
		}
	}
	if none := (Bid{}); none.RecencyFactor(time.Hour) != 1 || none.IntensityFactor(3) != 1 {
		t.Error("without steps: want 1")
	}
}

func TestAuthenticate(t *testing.T) {
	in := input(t)
	in.Advertisers = append(in.Advertisers, AdvertiserSpec{ID: "second", Domains: []string{"second.example"}})
	hash := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	in.Advertisers[0].Keys = []KeySpec{{SHA256: hash("old")}, {SHA256: hash("new"), Scopes: []string{"events", "lists"}}}
	in.Advertisers[1].Keys = []KeySpec{{SHA256: hash("other"), Scopes: []string{"privacy"}}}
	rules(t, &in, standard...)
	x := mustCompile(t, in)
	f := func(token, want string, scopes Scopes) {
		t.Helper()
		a, s := x.Authenticate([]byte(token))
		if got := ""; a != nil {
			got = a.ID
			if got != want || s != scopes {
				t.Errorf("%q: got %q with %b; want %q with %b", token, got, s, want, scopes)
			}
		} else if want != "" {
			t.Errorf("%q: got nobody; want %q", token, want)
		}
	}
	f("old", "shop", ScopeEvents)
	f("new", "shop", ScopeEvents|ScopeLists)
	f("other", "second", ScopePrivacy)
	f("", "", 0)
	f(hash("old"), "", 0)

	in.Advertisers[1].Keys = in.Advertisers[0].Keys[:1]
	if x, report := Compile(in); x != nil || len(report.Problems) != 1 || report.Problems[0].Path != "advertisers[1].keys[0].sha256" {
		t.Errorf("one key for two advertisers: got %+v", report)
	}
}

// A line holds back what its campaign does, unless it says otherwise.
func TestHoldback(t *testing.T) {
	for _, tt := range []struct {
		campaign, line *int
		want           [2]int
	}{
		{nil, nil, [2]int{0, 0}},
		{new(5), nil, [2]int{5, 5}},
		{new(5), new(0), [2]int{5, 0}},
		{nil, new(90), [2]int{0, 90}},
	} {
		in := input(t)
		in.Campaigns[0].Budget.HoldbackPct, in.Campaigns[0].Lines[0].Budget.HoldbackPct = tt.campaign, tt.line
		rules(t, &in, standard...)
		if p := mustCompile(t, in).Plan()[0]; p.CampaignHoldback != tt.want[0] || p.Holdback != tt.want[1] {
			t.Errorf("got %d and %d; want %v", p.CampaignHoldback, p.Holdback, tt.want)
		}
	}
}
