// Package examples holds runnable sample configurations, embedded, so that the
// programs can run the sample shop from anywhere. cmd loads them; so do tests.
package examples

import "embed"

// Shop is the path of the sample shop's configuration in [FS].
const Shop = "shop/rebound.yaml"

// FS holds shop and targeting, whole configurations, and exchanges, the exchange profiles that
// configurations include.
//
//go:embed shop targeting exchanges markets.yaml
var FS embed.FS
