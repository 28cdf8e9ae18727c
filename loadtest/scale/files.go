package scale

import (
	"crypto/sha256"
	"fmt"
	"strconv"
)

// linesPerCampaign is how many lines share a campaign and its creatives.
const linesPerCampaign = 10

// advertiser is one advertiser with its part of the lines and audiences.
type advertiser struct {
	id, domain, key string

	lines, audiences [2]int // from, to
	productCount     int
	width            int // products of one audience
}

// advertiser returns advertiser n, from 0 on.
func (o Options) advertiser(n int) *advertiser {
	a := &advertiser{id: "shop", domain: "shop.example", key: Key, productCount: o.Products,
		lines:     [2]int{n * o.Lines / o.Advertisers, (n + 1) * o.Lines / o.Advertisers},
		audiences: [2]int{n * o.Audiences / o.Advertisers, (n + 1) * o.Audiences / o.Advertisers}}
	if n > 0 {
		number := strconv.Itoa(n + 1)
		a.id, a.domain, a.key = "shop"+number, "shop"+number+".example", Key+"-"+number
	}
	lines := a.lines[1] - a.lines[0]
	a.width = min((o.Candidates*o.Products+lines-1)/lines, o.Products)
	return a
}

// mainFile returns the file that includes those of the advertisers.
func mainFile(list []*advertiser) []byte {
	b := []byte("# A configuration of realistic size for load tests, written by \"loadtest config\".\nversion: 1\ninclude:\n")
	for _, a := range list {
		b = fmt.Appendf(b, "  - %s/audiences.yaml\n  - %s/creatives.yaml\n  - %s/campaigns.yaml\n", a.id, a.id, a.id)
	}
	b = append(b, `
listen: {admin: "127.0.0.1:8082", public_url: "http://127.0.0.1:8081"}
privacy: {vendor_id: 42, unknown_country: allow}

exchanges:
  - id: demo
    include: builtin:generic
    seat: seat-1
    sources: [127.0.0.0/8, "::1/128"]
    auction: second
    billing_source: {banner: burl}

`...)
	b = append(b, "feeds:\n"...)
	for _, a := range list {
		b = fmt.Appendf(b, "  - {id: %s, file: %s/products.tsv}\n", a.id, a.id)
	}
	b = append(b, "\nadvertisers:\n"...)
	for _, a := range list {
		b = fmt.Appendf(b, `  - id: %s
    domains: [%s]
    currency: USD
    timezone: America/Toronto
    iab_cat: [IAB22]
    feed: %s
    keys:                   # printf %%s %s | sha256sum
      - {sha256: %x, scopes: [events, lists, audiences, privacy]}
    safety: {block_cat: [IAB25-1, IAB26-3]}
`, a.id, a.domain, a.id, a.key, sha256.Sum256([]byte(a.key)))
	}
	return b
}

// card is the markup of a product creative.
const card = `<a href="{{click}}" target="_blank" rel="noopener" style="display:block;box-sizing:border-box;overflow:hidden;text-decoration:none;color:#222;background:#fff;border:1px solid #ddd;font:14px/1.3 Arial,sans-serif;text-align:center;width:{{width}}px;height:{{height}}px">
<img src="{{item.image}}" alt="{{item.title}}" style="display:block;margin:8px auto;max-width:90%;max-height:60%;border:0">
<strong style="display:block;padding:0 8px">{{item.title}}</strong>
<span style="display:block;margin-top:6px;color:#b00">{{item.sale_price}}</span>
<small style="color:#777">{{item.brand}}</small>
</a>
<img src="{{pixel}}" width="1" height="1" alt="" style="position:absolute;left:-9999px">
`

var brands = [...]string{"Northway", "Fernhill", "Quayside", "Ostrava", "Lindholm", "Marlow", "Pinecrest", "Tarn"}

var categories = [...]string{"Shoes > Running", "Shoes > Hiking", "Jackets > Rain", "Packs > Day", "Tents > Family", "Stoves > Gas"}

// products returns the product feed.
func (a *advertiser) products() []byte {
	b := []byte("id\ttitle\tdescription\tlink\timage_link\tprice\tsale_price\tavailability\tbrand\tproduct_type\titem_group_id\tcomplements\n")
	for n := 1; n <= a.productCount; n++ {
		brand, sale := brands[n%len(brands)], ""
		if n%4 == 0 {
			sale = fmt.Sprintf("%d.90 USD", 9+n%80)
		}
		b = fmt.Appendf(b, "SKU%d\t%s Product %d\tProduct %d by %s\thttps://%s/p/SKU%d\thttps://%s/img/SKU%d.jpg\t%d.90 USD\t%s\tin_stock\t%s\t%s\tG%d\tSKU%d\n",
			n, brand, n, n, brand, a.domain, n, a.domain, n, 19+n%80, sale, brand, categories[n%len(categories)], n/2, 1+n%a.productCount)
	}
	return b
}

// audiencesFile returns the audiences. Each is for the visitors of a range of
// products; the ranges overlap, and each product is in the same number of them, give
// or take one.
func (a *advertiser) audiencesFile() []byte {
	b, count := []byte("audiences:\n"), a.audiences[1]-a.audiences[0]
	for n := range count {
		b = fmt.Appendf(b, "  - id: a%d\n    advertiser: %s\n    name: Viewers of group %d\n    ttl: 30d\n    include: {event: view_item, where: [{field: item.id, op: in, value: [", a.audiences[0]+n, a.id, n)
		for i := range a.width {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = fmt.Appendf(b, "SKU%d", 1+(n*a.productCount/count+i)%a.productCount)
		}
		b = append(b, "]}]}\n"...)
	}
	return b
}

// cardSizes are the sizes of the product creatives of a campaign.
var cardSizes = [...]string{"[300x250, 336x280]", "[300x600, 160x600, 970x250]", "[728x90, 468x60]", "[320x50, 320x100, 300x50]"}

// creativesFile returns the creatives. Each campaign has its own, with the number of
// its first line.
func (a *advertiser) creativesFile() []byte {
	b := []byte("creatives:\n")
	for n := a.lines[0]; n < a.lines[1]; n += linesPerCampaign {
		for i, sizes := range cardSizes {
			b = fmt.Appendf(b, `  - id: c%d-card%d
    advertiser: %s
    type: html_template
    file: ../card.html
    sizes: %s
    language: en
    iurl: https://%s/ads/%d-%d.jpg
    fallback: c%d-html
`, n, i, a.id, sizes, a.domain, n, i, n)
		}
		b = fmt.Appendf(b, `  - id: c%d-html
    advertiser: %s
    type: html
    html: '<a href="{{click}}" target="_blank"><img src="https://%s/ads/%d.jpg" alt="shop"></a><img src="{{pixel}}" width="1" height="1" alt="">'
    sizes: [300x250, 728x90, 160x600, 320x50, 300x600, 970x250, 320x100, 300x50, 468x60, 336x280]
    language: en
    iurl: https://%s/ads/%d.jpg
    click_url: https://%s/c/%d
`, n, a.id, a.domain, n, a.domain, n, a.domain, n)
		b = fmt.Appendf(b, `  - id: c%d-image
    advertiser: %s
    type: image
    image_url: https://%s/ads/%d-{{width}}x{{height}}.jpg
    alt: Example Shop
    sizes: [300x250, 728x90, 160x600, 320x50, 300x600, 970x250, 320x100, 300x50, 468x60, 336x280]
    language: en
    iurl: https://%s/ads/%d.jpg
    click_url: https://%s/c/%d
`, n, a.id, a.domain, n, a.domain, n, a.domain, n)
	}
	return b
}

// campaignsFile returns the campaigns with their lines.
func (a *advertiser) campaignsFile() []byte {
	b := []byte("campaigns:\n")
	for first := a.lines[0]; first < a.lines[1]; first += linesPerCampaign {
		b = fmt.Appendf(b, `  - id: k%d
    advertiser: %s
    status: active
    budget: {daily: 1000000.00, total: 50000000.00, pacing: even}
    frequency: [{max: 1000, per: 24h}]
    lines:
`, first, a.id)
		for n := first; n < min(first+linesPerCampaign, a.lines[1]); n++ {
			b = a.line(b, n, first)
		}
	}
	return b
}

// line appends line n of the campaign whose first line is given. The restrictions vary
// from line to line, but all of them allow the load test's traffic at any time of day.
func (a *advertiser) line(b []byte, n, first int) []byte {
	audience := a.audiences[0] + (n-a.lines[0])%(a.audiences[1]-a.audiences[0])
	b = fmt.Appendf(b, `      - id: l%d
        priority: %d
        budget: {daily: 100000.00}
        audience: {include: [a%d], within: 30d}
        exclude_converters: 30d
        geo:
          include: [CA, US, GB]
          exclude: [{country: CA, region: QC}, {country: US, zip: "%03d*"}]
        device: {types: [phone, tablet, desktop, tv, connected], languages: [en]}
        daypart: ["mon-fri 00-24", "sat,sun 00-12", "sat,sun 12-24"]
        inventory:
          domains: {exclude: [blocked%d.example, "=gossip%d.example", tabloid.example]}
          rewarded: refuse
        bid:
          cpm: %d.%02d
          max_cpm: 12.00
          recency: [{within: 1h, x: 1.8}, {within: 24h, x: 1.3}, {within: 7d, x: 1.0}, {within: 30d, x: 0.6}]
          intensity: [{min_count: 5, x: 1.2}]
          adjust: {device.type: {tablet: 0.9}, hour: {"0-6": 0.95}}
        frequency: [{max: 1000, per: 24h}]
        min_gap: off
`, n, 40+10*(n%3), audience, n%1000, n%50, n%70, 1+n%4, n*7%100)
	if n%3 == 0 {
		return fmt.Appendf(b, `        rotation: weighted
        creatives:
          - {id: c%d-card0, weight: 3}
          - {id: c%d-card1, weight: 3}
          - {id: c%d-html, weight: 1}
          - {id: c%d-image, weight: 1}
`, first, first, first, first)
	}
	return fmt.Appendf(b, "        creatives: [c%d-card0, c%d-card1, c%d-card2, c%d-card3, c%d-html, c%d-image]\n", first, first, first, first, first, first)
}
