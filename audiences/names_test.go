package audiences

import "testing"

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
