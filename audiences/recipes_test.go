package audiences

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

// act is something that a visitor did, before now.
type act struct {
	event string // JSON of the event
	ago   time.Duration
}

// visitorWith returns the profile of a visitor, and adds the list memberships.
func visitorWith(t *testing.T, set *Set, now time.Time, did []act, rows ...Member) *rtb.Visitor {
	t.Helper()
	m, err := NewMatcher(set.Rules())
	if err != nil {
		t.Fatal(err)
	}
	v := &rtb.Visitor{}
	add := func(ids []rtb.SegmentID, at rtb.Second, value rtb.Micros) {
		for _, id := range ids {
			i := slices.IndexFunc(v.Segments, func(s rtb.SegmentState) bool { return s.ID == id })
			if i < 0 {
				i = len(v.Segments)
				v.Segments = append(v.Segments, rtb.SegmentState{ID: id, First: at, Last: at})
			}
			s := &v.Segments[i]
			s.First, s.Last, s.Count, s.Recent = min(s.First, at), max(s.Last, at), s.Count+1, append(s.Recent, at)
			slices.SortFunc(s.Recent, func(a, b rtb.Second) int { return cmp.Compare(b, a) })
			if _, ok := m.Sum(id); ok {
				s.Sums = append(s.Sums, rtb.DayValue{Day: at.UTCDay(), Value: value})
				slices.SortFunc(s.Sums, func(a, b rtb.DayValue) int { return cmp.Compare(b.Day, a.Day) })
			}
		}
	}
	for _, d := range did {
		f := fact(t, d.event)
		add(m.Match(f, nil), rtb.SecondOf(now.Add(-d.ago)), f.Event.Value)
	}
	for i := range rows {
		add(m.MatchMember("shop", &rows[i], nil), rtb.SecondOf(now.Add(-time.Hour)), 0)
	}
	slices.SortFunc(v.Segments, func(a, b rtb.SegmentState) int { return cmp.Compare(a.ID, b.ID) })
	return v
}

// Every recipe includes the visitors that it is for, and leaves out those that are nearly
// like them.
func TestRecipes(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	const days = 24 * time.Hour
	at := func(ago time.Duration, event string) act { return act{event, ago} }
	saw, cart, buy := `{"name":"view_item"}`, `{"name":"add_to_cart"}`, `{"name":"purchase"}`
	shoes := `{"name":"purchase","items":[{"id":"1","category":"Shoes > Trail"}],"value_micros":300000000}`
	tested := map[string]bool{}
	f := func(recipe string, want bool, did ...act) {
		t.Helper()
		name, _, _ := strings.Cut(recipe, ",")
		tested[name] = true
		set := compiled(t, "[{id: x, recipe: "+recipe+"}]")
		got := set.Audience("x").EvalRequest(visitorWith(t, set, now, did), nil, now, Window{})
		if got.In != want {
			t.Errorf("%s: %v: in %v; want %v", recipe, did, got.In, want)
		}
	}
	f("all_visitors", true, at(days, saw))
	f("all_visitors", false, at(31*days, saw))
	f("prospects", true, at(days, saw))
	f("prospects", false, at(days, saw), at(500*days, buy))
	f("customers", true, at(500*days, buy))
	f("customers", false, at(days, saw))
	f("product_viewers", true, at(days, saw))
	f("product_viewers", false, at(2*days, saw), at(days, buy))
	f("product_viewers, with: {category: shoes}", false, at(days, saw))
	f("product_viewers, with: {category: shoes}", true, at(days, `{"name":"view_item","items":[{"id":"1","category":"Shoes"}]}`))
	f("category_viewers", true, at(days, `{"name":"view_item_list"}`))
	f("category_viewers, with: {category: Shoes}", true, at(days, `{"name":"view_item","items":[{"id":"1","category":"Shoes > Trail"}]}`))
	f("category_viewers, with: {category: Shoes}", false, at(days, `{"name":"view_item","items":[{"id":"1","category":"Socks"}]}`))
	f("searchers", true, at(days, `{"name":"search","q":"boots"}`))
	f("searchers", true, at(days, `{"name":"page_view","utm":{"term":"boots"}}`))
	f("searchers", false, at(days, saw))
	f("searchers, with: {keywords: [boots, sandals]}", true, at(days, `{"name":"search","q":"red Boots"}`))
	f("searchers, with: {keywords: [boots, sandals]}", true, at(days, `{"name":"page_view","utm":{"term":"sandals sale"}}`))
	f("searchers, with: {keywords: [boots, sandals]}", false, at(days, `{"name":"search","q":"hats"}`))
	f("campaign_visitors", true, at(days, `{"name":"page_view","utm":{"campaign":"q4"}}`))
	f("campaign_visitors", false, at(days, `{"name":"page_view"}`))
	f("landing_from_ad", true, at(days, `{"name":"home_view","utm":{"medium":"cpc"}}`))
	f("landing_from_ad", false, at(days, `{"name":"home_view","utm":{"medium":"email"}}`))
	f("wishlisters", true, at(50*days, `{"name":"add_to_wishlist"}`))
	f("cart_abandoners", true, at(time.Hour, cart))
	f("cart_abandoners", false, at(10*time.Minute, cart))
	f("cart_abandoners", false, at(time.Hour, cart), at(30*time.Minute, buy))
	f("cart_abandoners", true, at(2*time.Hour, buy), at(time.Hour, cart))
	f("checkout_abandoners", true, at(time.Hour, `{"name":"begin_checkout"}`))
	f("checkout_abandoners", false, at(time.Hour, cart))
	f("email_openers", true, at(days, `{"name":"email_open"}`))
	f("email_clickers", true, at(days, `{"name":"email_click"}`))
	f("email_clickers", false, at(days, `{"name":"email_open"}`))
	f("buyers", true, at(170*days, buy))
	f("repeat_buyers", true, at(300*days, buy), at(days, buy))
	f("repeat_buyers", false, at(days, buy))
	f("high_value, with: {min_value: 500000000}", true, at(300*days, shoes), at(days, shoes))
	f("high_value, with: {min_value: 500000000}", false, at(days, shoes))
	f("high_value, with: {min_value: 500000000}", false, at(380*days, shoes), at(days, shoes))
	f("upsell", true, at(8*days, buy))
	f("upsell", false, at(6*days, buy))
	f("upsell, with: {after: 3d, category: Shoes}", true, at(6*days, shoes))
	f("cross_sell, with: {category: Shoes}", true, at(20*days, shoes))
	f("cross_sell, with: {category: Shoes}", false, at(20*days, buy))
	f("renewals", true, at(340*days, buy))
	f("renewals", false, at(320*days, buy))
	f("renewals", false, at(340*days, buy), at(days, buy))
	f("lapsed_buyers", true, at(100*days, buy))
	f("lapsed_buyers", false, at(100*days, buy), at(10*days, buy))
	f("lapsed_buyers, with: {after: 60d}", true, at(61*days, buy))
	f("video_viewers", true, at(days, `{"name":"video_progress"}`))
	f("engaged_no_buy", true, at(days, saw), at(days, saw), at(days, saw))
	f("engaged_no_buy", false, at(days, saw), at(days, saw))
	f("engaged_no_buy", true, at(days, `{"name":"engaged"}`))
	f("app_users", true, at(days, `{"name":"page_view","action_source":"app"}`))
	f("app_users", false, at(days, `{"name":"page_view","action_source":"web"}`))

	f("crm, with: {list: vip}", false, at(days, buy))
	set := compiled(t, "[{id: x, recipe: crm, with: {list: vip}}]")
	if !set.Audience("x").Eval(visitorWith(t, set, now, nil, Member{List: "vip"}), now, Window{}).In {
		t.Error("crm: a member of the list is not in the audience")
	}
	o := &rtb.Opportunity{Keywords: texts("boots"), UserKeywords: 1, UserSegments: []rtb.UserSegment{{ID: []byte("42")}}}
	for recipe, want := range map[string]bool{
		"keyword_readers, with: {keywords: [boots]}": true, "keyword_readers, with: {keywords: [hats]}": false,
		"segment_members, with: {segment: {id: 42}}": true, "segment_members, with: {segment: {id: 43}}": false,
	} {
		f(recipe, false, at(days, saw))
		if got := compiled(t, "[{id: x, recipe: "+recipe+"}]").Audience("x").EvalRequest(&rtb.Visitor{}, &Request{Opportunity: o, User: true}, now, Window{}); got.In != want {
			t.Errorf("%s: in %v; want %v", recipe, got.In, want)
		}
	}
	for _, name := range Recipes() {
		if !tested[name] {
			t.Errorf("recipe %s has no test", name)
		}
	}
}

func TestARecipeTakesAnExclusion(t *testing.T) {
	set := compiled(t, "[{id: x, recipe: cart_abandoners, exclude: {event: staff_login}}]")
	now := time.Unix(1_800_000_000, 0)
	did := []act{{`{"name":"add_to_cart"}`, time.Hour}}
	if !set.Audience("x").Eval(visitorWith(t, set, now, did), now, Window{}).In {
		t.Error("not in the audience")
	}
	for _, event := range []string{"purchase", "staff_login"} {
		more := append(slices.Clone(did), act{`{"name":"` + event + `"}`, time.Minute})
		if v := set.Audience("x").Eval(visitorWith(t, set, now, more), now, Window{}); v.In || !v.Excluded {
			t.Errorf("%s does not exclude: %+v", event, v)
		}
	}
	if !set.Audience("x").Counts("add_to_cart") || set.Audience("x").Counts("purchase") {
		t.Error("Counts: want the events of the inclusion only")
	}
}
