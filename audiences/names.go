package audiences

import (
	"maps"
	"slices"
	"strings"

	"rebound/internal/spec"
)

// anyEvent is the event name that matches every event.
const anyEvent = "*"

// canonicalNames are the events that Rebound knows, under their GA4 names if
// they have one.
var canonicalNames = []string{
	"page_view", "home_view", "view_item_list", "search", "view_item", "add_to_wishlist", "add_to_cart",
	"remove_from_cart", "view_cart", "begin_checkout", "add_payment_info", "purchase", "refund", "sign_up",
	"generate_lead", "email_open", "email_click", "video_start", "video_progress", "video_complete", "engaged",
	"identify", "optout",
}

// aliases are the folded names of other vendors' tags by canonical name: Meta,
// Segment and Rudder v2, Criteo, RTB House, AdRoll, Xandr. RTB House appends
// the id of a product or page to names that end in _. Without a digit in what
// follows, such a name is a custom event (offer_accepted).
var aliases = map[string][]string{
	"page_view":        {"pageview", "page", "viewpage"},
	"home_view":        {"viewhome", "home", "homeview", "landingpage"},
	"view_item_list":   {"product list viewed", "product list filtered", "viewlist", "viewcategory", "category2_", "listing_"},
	"search":           {"products searched", "viewsearchresult", "productsearch"},
	"view_item":        {"viewcontent", "product viewed", "product clicked", "offer_", "productview", "itemview"},
	"add_to_wishlist":  {"addtowishlist", "product added to wishlist", "wishlist_"},
	"add_to_cart":      {"addtocart", "product added", "basketadd_"},
	"remove_from_cart": {"product removed"},
	"view_cart":        {"cart viewed", "viewbasket", "basketstatus_"},
	"begin_checkout":   {"initiatecheckout", "checkout started", "startorder"},
	"add_payment_info": {"addpaymentinfo", "payment info entered"},
	"purchase":         {"order completed", "tracktransaction", "conversion order"},
	"refund":           {"order refunded", "order cancelled"},
	"sign_up":          {"completeregistration"},
	"generate_lead":    {"lead", "contact"},
}

// byName and byPrefix map folded names and prefixes to canonical names.
var byName, byPrefix = nameTables()

func nameTables() (names, prefixes map[string]string) {
	names, prefixes = map[string]string{}, map[string]string{}
	for _, n := range canonicalNames {
		names[n] = n
		// Criteo and others write view_item as viewItem or ViewItem.
		names[strings.ReplaceAll(n, "_", "")] = n
	}
	for canonical, list := range aliases {
		for _, a := range list {
			if strings.HasSuffix(a, "_") {
				prefixes[a] = canonical
				a = strings.TrimSuffix(a, "_")
			}
			names[a] = canonical
		}
	}
	return names, prefixes
}

// CanonicalEvent returns the canonical name of an event that may have another
// vendor's name (Meta, Segment, Criteo, RTB House, AdRoll, Xandr; in any case).
// For an unknown name, which is a custom event that rules may use, it returns
// the name without surrounding space and known is false.
func CanonicalEvent(name string) (canonical string, known bool) {
	name = strings.TrimSpace(name)
	folded := strings.ToLower(name)
	if c, ok := byName[folded]; ok {
		return c, true
	}
	if i := strings.IndexByte(folded, '_'); i >= 0 && strings.ContainsAny(folded[i:], "0123456789") {
		if c, ok := byPrefix[folded[:i+1]]; ok {
			return c, true
		}
	}
	return name, false
}

// NearEvent returns the known event whose name, or an alias of it, is nearly the given
// one, or an empty string if there is none or the name is known itself.
func NearEvent(name string) string {
	if name == "" || strings.TrimSpace(name) == anyEvent {
		return ""
	}
	canonical, known := CanonicalEvent(name)
	if known {
		return ""
	}
	// A hyphen or space instead of _ makes a different name.
	folded := strings.NewReplacer("-", "_", " ", "_", ".", "_").Replace(strings.ToLower(canonical))
	if c, ok := CanonicalEvent(folded); ok {
		return c
	}
	return byName[spec.Nearest(folded, eventNames)]
}

// eventNames are the names and aliases of all known events, sorted.
var eventNames = slices.Sorted(maps.Keys(byName))
