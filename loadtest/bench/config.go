package bench

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Shop is the configuration of the bidder that is measured.
type Shop struct {
	// Lines is the number of lines and Audiences the number of audiences that they share
	// in rotation; a visitor is in one of them, so Lines / Audiences are the candidates.
	Lines, Audiences int
	// NoBidLog switches the bid log off.
	NoBidLog bool
}

// head is the part of the configuration before audiences and campaigns. The caps are
// far above what a measurement spends, so that pacing and caps are computed and never
// refuse.
const head = `version: 1
privacy: {vendor_id: 42, unknown_country: allow}
logs: {bids: {max_bytes: 4GiB, off: %t}}
exchanges:
  - {id: demo, include: "builtin:generic", seat: seat-1, sources: [127.0.0.0/8], auction: second, billing_source: {banner: burl}}
advertisers:
  - {id: shop, name: Shop, domains: [shop.example], currency: USD, timezone: America/Toronto, iab_cat: [IAB22], feed: main,
     keys: [{sha256: f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992, scopes: [events]}]}
feeds: [{id: main, file: products.tsv}]
creatives:
  - {id: product-card, type: html_template, file: card.html, sizes: [300x250, 336x280, 300x600, 160x600, 970x250], language: en}
  - {id: product-strip, type: html_template, file: strip.html, sizes: [728x90, 468x60, 320x100, 320x50, 300x50], language: en}
  - {id: brand, type: html, file: brand.html, sizes: [300x250, 728x90, 160x600, 320x50, 300x600, 970x250, 320x100, 336x280], language: en, click_url: "https://shop.example/"}
audiences:
`

// linesPerCampaign is the number of lines in one campaign of the configuration.
const linesPerCampaign = 100

// write writes the configuration and the files that it names into a folder, and returns
// its path. samples holds the files of the sample shop.
func (s *Shop) write(dir string, samples fs.FS) (string, error) {
	for to, from := range map[string]string{"products.tsv": "shop/products.tsv", "card.html": "shop/creatives/card.html",
		"strip.html": "shop/creatives/strip.html", "brand.html": "shop/creatives/brand.html"} {
		text, err := fs.ReadFile(samples, from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), text, 0o600)
		}
		if err != nil {
			return "", fmt.Errorf("cannot write configuration: %w", err)
		}
	}
	path := filepath.Join(dir, "rebound.yaml")
	if err := os.WriteFile(path, []byte(s.yaml()), 0o600); err != nil {
		return "", fmt.Errorf("cannot write configuration: %w", err)
	}
	return path, nil
}

// yaml returns the configuration.
func (s *Shop) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, head, s.NoBidLog)
	for i := range s.Audiences {
		fmt.Fprintf(&b, "  - {id: %s, include: {event: view_item, where: [{field: item.category, op: eq, value: %[1]s}]}}\n", category(i))
	}
	b.WriteString("campaigns:\n")
	for i := range s.Lines {
		if i%linesPerCampaign == 0 {
			fmt.Fprintf(&b, "  - id: c%d\n    advertiser: shop\n    status: active\n    budget: {daily: 2000000.00, total: 50000000.00, pacing: even}\n    lines:\n", i/linesPerCampaign)
		}
		fmt.Fprintf(&b, "      - {id: l%d, priority: 50, audience: {include: [%s], within: 30d}, budget: {daily: %d}, exclude_converters: off, bid: {strategy: fixed, cpm: %.2f, max_cpm: 8, recency: [{within: 1h, x: 1.8}, {within: 7d, x: 1.0}], intensity: [{min_count: 5, x: 1.2}]}, frequency: [{max: 1000, per: 24h}], min_gap: off, creatives: [product-card, product-strip, brand]}\n",
			i, category(i%s.Audiences), 1_000_000, 1.5+float64(i%97)/100)
	}
	return b.String()
}

// category names the i-th product category, and its audience.
func category(i int) string { return fmt.Sprintf("cat-%d", i) }

// categories returns the names of all categories.
func (s *Shop) categories() []string {
	out := make([]string, s.Audiences)
	for i := range out {
		out[i] = category(i)
	}
	return out
}
