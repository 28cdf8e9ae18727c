package server

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// The listener and its routes must not allocate.
func TestHandlingDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	var r Routes
	r.Handle("POST", "/openrtb2/*", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(204) })
	r.Handle("GET", "/readyz", (&Health{}).Readyz)
	l := &Listener{spec: Spec{Handler: r.Serve, Limits: Limits{}.withDefaults()}}
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/openrtb2/demo")
	ctx.Request.Header.SetContentLength(100)
	ctx.Path() // parsed once per request by the library
	if n := testing.AllocsPerRun(1000, func() { l.handle(&ctx) }); n != 0 {
		t.Errorf("got %v allocations; want 0", n)
	}
	if ctx.Response.StatusCode() != 204 {
		t.Errorf("got %d; want 204", ctx.Response.StatusCode())
	}
}

func BenchmarkHandle(b *testing.B) {
	var r Routes
	r.Handle("POST", "/openrtb2/*", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(204) })
	l := &Listener{spec: Spec{Handler: r.Serve, Limits: Limits{}.withDefaults()}}
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/openrtb2/demo")
	ctx.Request.Header.SetContentLength(100)
	b.ReportAllocs()
	for b.Loop() {
		l.handle(&ctx)
	}
}
