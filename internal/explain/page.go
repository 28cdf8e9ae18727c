package explain

import _ "embed" // for the page

// Page is an HTML page on which a request can be pasted. It calls POST /admin/explain and
// loads nothing from elsewhere.
//
//go:embed page.html
var Page []byte
