package collect

import "strings"

// robotWords are parts of the user agents of crawlers, monitors, previews of links and
// libraries, in lower case. A page that they load is no visit.
var robotWords = []string{
	"bot/", "bot;", " bot ", "bot)", "-bot", "crawler", "spider", "slurp", "archiver", "facebookexternalhit", "facebookcatalog", "whatsapp/",
	"embedly", "quora link preview", "skypeuripreview", "bingpreview", "google-inspectiontool", "google-read-aloud", "googleother",
	"adsbot", "mediapartners-google", "apis-google", "feedfetcher", "google favicon", "lighthouse", "pagespeed", "gtmetrix", "pingdom",
	"uptimerobot", "statuscake", "site24x7", "datadog", "newrelicpinger", "headlesschrome", "phantomjs", "puppeteer", "playwright",
	"selenium", "python-requests", "python-urllib", "aiohttp", "scrapy", "go-http-client", "libwww-perl", "wget/", "httpclient",
	"okhttp-crawl", "java/", "node-fetch", "axios/", "ahrefs", "semrush", "dotbot", "mj12bot", "petalbot", "bytespider", "gptbot",
	"chatgpt-user", "claudebot", "ccbot", "perplexity", "amazonbot", "applebot", "yandexbot", "baiduspider", "duckduckbot",
}

// isRobot reports whether a user agent says that it is a program and not a browser of a
// person. curl is not in the list: engineers try the pixel with it.
func isRobot(userAgent string) bool {
	if userAgent == "" {
		return false
	}
	ua := strings.ReplaceAll(strings.ToLower(userAgent), "cubot", "") // a maker of telephones
	for _, w := range robotWords {
		if strings.Contains(ua, w) {
			return true
		}
	}
	return strings.HasSuffix(ua, "bot")
}

// isPrefetch reports whether a browser says that it loads a page that nobody looks at
// yet: the Sec-Purpose header of prefetches and prerenders (Fetch, "Sec-Purpose"; "No-Vary-Search
// prefetch;prerender"), and the headers that preceded it.
func isPrefetch(purpose string) bool {
	for part := range strings.FieldsFuncSeq(strings.ToLower(purpose), func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
		switch part {
		case "prefetch", "prerender", "preview":
			return true
		}
	}
	return false
}

// robot returns why a call is not that of a visitor who looks at a page, or RejectNone.
func (c *Call) robot() Reject {
	switch {
	case isPrefetch(c.Purpose):
		return RejectPrefetch
	case isRobot(c.UserAgent):
		return RejectRobot
	}
	return RejectNone
}
