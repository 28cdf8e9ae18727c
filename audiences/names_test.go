package audiences

import (
	"testing"
	"time"
)

func TestCanonicalEvent(t *testing.T) {
	for name, want := range map[string]string{
		"view_item": "view_item", "VIEW_ITEM": "view_item", "viewItem": "view_item", "ViewContent": "view_item",
		"Product Viewed": "view_item", "offer_SKU1": "view_item", "itemView": "view_item", "PageView": "page_view",
		"AddToCart": "add_to_cart", "addToCart": "add_to_cart", "Product Added": "add_to_cart", "basketadd_77": "add_to_cart",
		"InitiateCheckout": "begin_checkout", "startorder": "begin_checkout", "Order Completed": "purchase", "Purchase": "purchase",
		"trackTransaction": "purchase", "conversion order": "purchase", "Order Cancelled": "refund", "Contact": "generate_lead",
		"category2_5": "view_item_list", "viewCategory": "view_item_list", " search ": "search", "optout": "optout",
	} {
		if got, known := CanonicalEvent(name); got != want || !known {
			t.Errorf("%q is %q, known %v; want %q", name, got, known, want)
		}
	}
	for name, want := range map[string]string{"Staff Login": "Staff Login", " x ": "x", "offer_accepted": "offer_accepted", "": "", "9_lives": "9_lives"} {
		if got, known := CanonicalEvent(name); got != want || known {
			t.Errorf("%q is %q, known %v; want %q as a custom name", name, got, known, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "30m": 30 * time.Minute, "12h": 12 * time.Hour, "7d": 168 * time.Hour, "4w": 672 * time.Hour,
		"1h30m": 90 * time.Minute, "1d12h": 36 * time.Hour, "0": 0,
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
		var back Duration
		if err := back.UnmarshalText([]byte(Duration(want).String())); err != nil || time.Duration(back) != want {
			t.Errorf("%q is written as %s and read as %v, %v", text, Duration(want), back, err)
		}
	}
	for _, text := range []string{"", "d", "7", "-1d", "-1h", "1e9d", "99999999w", "65535w", "15250w1000000h", "1.2.3d", "NaNd", "7days"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}
