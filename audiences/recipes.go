package audiences

import (
	"slices"
	"time"

	"rebound/internal/spec"
)

const day = spec.Duration(24 * time.Hour)

// recipe is the Include, Exclude and TTL of a common audience.
type recipe struct {
	ttl     spec.Duration
	include Rule
	exclude Rule
	// takes lists the parameters that the recipe accepts, needs those of them without
	// which it cannot be compiled. build puts them into the rules.
	takes, needs []string
	build        func(*recipe, *With)
}

// bought excludes visitors who bought after the event that included them.
var bought = Rule{Event: "purchase", After: "include"}

// adMedia are the values of utm_medium by which a visit from an ad is recognized.
var adMedia = Values{"cpc", "ppc", "cpm", "cpv", "display", "banner", "paid", "paidsearch", "paid_search", "paidsocial", "paid_social", "retargeting"}

var recipes = map[string]recipe{
	"all_visitors":    {ttl: 30 * day, include: Rule{Event: anyEvent}},
	"prospects":       {ttl: 30 * day, include: Rule{Event: anyEvent}, exclude: Rule{Event: "purchase", Within: maxTTL}},
	"customers":       {ttl: maxTTL, include: Rule{Event: "purchase"}},
	"landing_from_ad": {ttl: 30 * day, include: Rule{Event: anyEvent, Where: []Condition{{Field: "utm.medium", Op: "in", Value: adMedia}}}, exclude: bought},
	"campaign_visitors": {ttl: 30 * day, exclude: bought,
		include: Rule{Event: anyEvent, Where: []Condition{{Field: "utm.campaign", Op: "exists"}}}},
	"product_viewers": {ttl: 30 * day, include: Rule{Event: "view_item"}, exclude: bought, takes: []string{"category"}, build: inCategory},
	"category_viewers": {ttl: 30 * day, exclude: bought, takes: []string{"category"}, build: inCategory,
		include: Rule{Any: []Rule{{Event: "view_item_list"}}}},
	"searchers": {ttl: 30 * day, exclude: bought, takes: []string{"keywords"}, build: searchedFor,
		include: Rule{Any: []Rule{{Event: "search"}, {Event: anyEvent, Where: []Condition{{Field: "utm.term", Op: "exists"}}}}}},
	"keyword_readers": {ttl: 30 * day, takes: []string{"keywords"}, needs: []string{"keywords"},
		build: func(r *recipe, w *With) { r.include = Rule{RequestKeyword: w.Keywords} }},
	"segment_members": {ttl: 30 * day, takes: []string{"segment"}, needs: []string{"segment"},
		build: func(r *recipe, w *With) { r.include = Rule{RequestSegment: w.Segment} }},
	"crm": {ttl: maxTTL, takes: []string{"list"}, needs: []string{"list"},
		build: func(r *recipe, w *With) { r.include = Rule{List: w.List} }},
	"app_users":           {ttl: 30 * day, include: Rule{Event: anyEvent, Where: []Condition{{Field: "action_source", Value: Values{"app"}}}}},
	"wishlisters":         {ttl: 60 * day, include: Rule{Event: "add_to_wishlist"}, exclude: bought},
	"cart_abandoners":     {ttl: 30 * day, include: Rule{Event: "add_to_cart", NotWithin: spec.Duration(30 * time.Minute)}, exclude: bought},
	"checkout_abandoners": {ttl: 30 * day, include: Rule{Event: "begin_checkout", NotWithin: spec.Duration(30 * time.Minute)}, exclude: bought},
	"email_openers":       {ttl: 30 * day, include: Rule{Event: "email_open"}},
	"email_clickers":      {ttl: 30 * day, include: Rule{Event: "email_click"}},
	"buyers":              {ttl: 180 * day, include: Rule{Event: "purchase"}},
	"repeat_buyers":       {ttl: 365 * day, include: Rule{Event: "purchase", MinCount: 2}},
	"high_value": {ttl: 365 * day, include: Rule{Event: "purchase"}, takes: []string{"min_value"}, needs: []string{"min_value"},
		build: func(r *recipe, w *With) { r.include.MinValue = w.MinValue }},
	"upsell": {ttl: 180 * day, include: Rule{Event: "purchase", NotWithin: 7 * day}, takes: []string{"after", "category"}, build: boughtBefore},
	"cross_sell": {ttl: 180 * day, include: Rule{Event: "purchase", NotWithin: 14 * day}, takes: []string{"after", "category"},
		needs: []string{"category"}, build: boughtBefore},
	"renewals":      {ttl: 365 * day, include: Rule{Event: "purchase", NotWithin: 330 * day}, takes: []string{"after", "category"}, build: boughtBefore},
	"lapsed_buyers": {ttl: maxTTL, include: Rule{Event: "purchase", NotWithin: 90 * day}, takes: []string{"after"}, build: boughtBefore},
	"video_viewers": {ttl: 30 * day, include: Rule{Any: []Rule{{Event: "video_start"}, {Event: "video_progress"}, {Event: "video_complete"}}}},
	"engaged_no_buy": {ttl: 30 * day,
		include: Rule{Any: []Rule{{Event: "engaged"}, {Event: "view_item", MinCount: 3}}}, exclude: Rule{Event: "purchase"}},
}

// inCategory narrows the events to those with an item in a category.
func inCategory(r *recipe, w *With) {
	if w.Category == "" {
		return
	}
	where := []Condition{{Field: "item.category", Op: "under", Value: Values{w.Category}}}
	if r.include.Any != nil { // a list of a category has no items in some shops, so that their pages count too
		r.include = Rule{Any: []Rule{{Event: "view_item_list", Where: where}, {Event: "view_item", Where: where}}}
		return
	}
	r.include.Where = where
}

// boughtBefore sets the least age and the category of a purchase.
func boughtBefore(r *recipe, w *With) {
	if w.After != 0 {
		r.include.NotWithin = w.After
	}
	inCategory(r, w)
}

// searchedFor narrows the searches, on the site and elsewhere, to those with a keyword.
func searchedFor(r *recipe, w *With) {
	if len(w.Keywords) == 0 {
		return
	}
	r.include = Rule{}
	for _, k := range w.Keywords {
		r.include.Any = append(r.include.Any,
			Rule{Event: "search", Where: []Condition{{Field: "q", Op: "contains", Value: Values{k}}}},
			Rule{Event: anyEvent, Where: []Condition{{Field: "utm.term", Op: "contains", Value: Values{k}}}})
	}
}

// given returns the names of the parameters that are set.
func (w *With) given() (names []string) {
	for _, p := range []struct {
		name string
		set  bool
	}{{"after", w.After != 0}, {"category", w.Category != ""}, {"keywords", w.Keywords != nil}, {"list", w.List != ""},
		{"min_value", w.MinValue != 0}, {"segment", !w.Segment.empty()}} {
		if p.set {
			names = append(names, p.name)
		}
	}
	return names
}

// Recipes returns the names of the recipes, sorted.
func Recipes() []string {
	names := make([]string, 0, len(recipes))
	for n := range recipes {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// checkWith reports the parameters that a recipe does not take, and those that it lacks.
func (c *compiler) checkWith(at, name string, r *recipe, w *With) {
	given := w.given()
	for _, p := range given {
		if !slices.Contains(r.takes, p) {
			c.Add(at+".with."+p, p, "no "+p+", which the recipe "+name+" does not use")
		}
	}
	for _, p := range r.needs {
		if !slices.Contains(given, p) {
			c.Add(at+".with", "no "+p, p+", which the recipe "+name+" needs")
		}
	}
}

// apply returns the spec with the rules of the recipe. An Exclude of the spec
// is added to that of the recipe.
func (r recipe) apply(s Spec) Spec {
	if s.TTL == 0 {
		s.TTL = r.ttl
	}
	if r.build != nil {
		r.build(&r, &s.With)
	}
	s.Include = r.include
	switch {
	case s.Exclude.empty():
		s.Exclude = r.exclude
	case !r.exclude.empty():
		s.Exclude = Rule{Any: []Rule{r.exclude, s.Exclude}}
	}
	return s
}

// empty reports whether no field is set.
func (r *Rule) empty() bool {
	return r.All == nil && r.Any == nil && r.Audience == "" && r.Event == "" && r.List == "" && r.RequestKeyword == nil &&
		r.RequestSegment.empty() && r.RequestGeo == nil && r.RequestCat == nil && r.Within == 0 && r.NotWithin == 0 &&
		r.MinCount == 0 && r.MinValue == 0 && r.Where == nil && r.After == ""
}
