module rebound/internal/bench

go 1.26.0

require (
	github.com/goccy/go-json v0.12.0
	github.com/prebid/go-gdpr v1.12.0
	github.com/prebid/openrtb/v20 v20.3.0
	github.com/valyala/fastjson v1.6.10
	rebound v0.0.0
)

replace rebound => ../..
