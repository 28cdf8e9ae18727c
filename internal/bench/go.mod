module rebound/internal/bench

go 1.26.0

require (
	github.com/goccy/go-json v0.12.0
	github.com/prebid/go-gdpr v1.12.0
	github.com/prebid/openrtb/v20 v20.3.0
	github.com/valyala/fastjson v1.6.10
	golang.org/x/sys v0.49.0
	rebound v0.0.0
)

require (
	github.com/dchest/siphash v1.2.3 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace rebound => ../..
