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
}

// bought excludes visitors who bought after the event that included them.
var bought = Rule{Event: "purchase", After: "include"}

var recipes = map[string]recipe{
	"all_visitors":        {ttl: 30 * day, include: Rule{Event: anyEvent}},
	"product_viewers":     {ttl: 30 * day, include: Rule{Event: "view_item"}, exclude: bought},
	"category_viewers":    {ttl: 30 * day, include: Rule{Event: "view_item_list"}, exclude: bought},
	"searchers":           {ttl: 30 * day, include: Rule{Event: "search"}, exclude: bought},
	"wishlisters":         {ttl: 60 * day, include: Rule{Event: "add_to_wishlist"}, exclude: bought},
	"cart_abandoners":     {ttl: 30 * day, include: Rule{Event: "add_to_cart", NotWithin: spec.Duration(30 * time.Minute)}, exclude: bought},
	"checkout_abandoners": {ttl: 30 * day, include: Rule{Event: "begin_checkout", NotWithin: spec.Duration(30 * time.Minute)}, exclude: bought},
	"email_openers":       {ttl: 30 * day, include: Rule{Event: "email_open"}},
	"email_clickers":      {ttl: 30 * day, include: Rule{Event: "email_click"}},
	"buyers":              {ttl: 180 * day, include: Rule{Event: "purchase"}},
	"repeat_buyers":       {ttl: 365 * day, include: Rule{Event: "purchase", MinCount: 2}},
	"lapsed_buyers":       {ttl: 540 * day, include: Rule{Event: "purchase", NotWithin: 90 * day}},
	"video_viewers":       {ttl: 30 * day, include: Rule{Any: []Rule{{Event: "video_start"}, {Event: "video_progress"}, {Event: "video_complete"}}}},
	"engaged_no_buy": {ttl: 30 * day,
		include: Rule{Any: []Rule{{Event: "engaged"}, {Event: "view_item", MinCount: 3}}}, exclude: Rule{Event: "purchase"}},
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

// apply returns the spec with the rules of the recipe. An Exclude of the spec
// is added to that of the recipe.
func (r recipe) apply(s Spec) Spec {
	if s.TTL == 0 {
		s.TTL = r.ttl
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
	return r.All == nil && r.Any == nil && r.Audience == "" && r.Event == "" && r.Within == 0 && r.NotWithin == 0 &&
		r.MinCount == 0 && r.Where == nil && r.After == ""
}
