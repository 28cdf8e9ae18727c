package server

import (
	"sort"
	"strings"

	"github.com/valyala/fasthttp"
)

// Routes finds the handler of a request by path and method. It is filled before
// the listener starts and not changed afterwards. A method that a path does not
// have is 405 with Allow; an unknown path is 404. Keep-alive stays on in both.
type Routes struct {
	exact  map[string]map[string]fasthttp.RequestHandler
	prefix []prefixRoute
}

type prefixRoute struct {
	prefix  string
	methods map[string]fasthttp.RequestHandler
}

// Handle sets the handler of a method on a path. A path that ends in "/*"
// takes every path below it; [Tail] gives the rest.
func (r *Routes) Handle(method, path string, h fasthttp.RequestHandler) {
	if p, ok := strings.CutSuffix(path, "*"); ok {
		for i := range r.prefix {
			if r.prefix[i].prefix == p {
				r.prefix[i].methods[method] = h
				return
			}
		}
		r.prefix = append(r.prefix, prefixRoute{p, map[string]fasthttp.RequestHandler{method: h}})
		sort.Slice(r.prefix, func(i, j int) bool { return len(r.prefix[i].prefix) > len(r.prefix[j].prefix) })
		return
	}
	if r.exact == nil {
		r.exact = map[string]map[string]fasthttp.RequestHandler{}
	}
	if r.exact[path] == nil {
		r.exact[path] = map[string]fasthttp.RequestHandler{}
	}
	r.exact[path][method] = h
}

// Read sets the handler of GET and HEAD on a path: for pure reads only. HEAD is
// asked by monitors and link checkers, and must change nothing (RFC 9110
// §9.2.1), so a handler that takes events or notices is never run for it.
func (r *Routes) Read(path string, h fasthttp.RequestHandler) {
	r.Handle(fasthttp.MethodGet, path, h)
	r.Handle(fasthttp.MethodHead, path, h)
}

// Tail is the part of the request's path below prefix; it lives as long as the
// request does.
func Tail(ctx *fasthttp.RequestCtx, prefix string) []byte {
	p := ctx.Path()
	if len(p) < len(prefix) {
		return nil
	}
	return p[len(prefix):]
}

// Serve answers a request by its route.
func (r *Routes) Serve(ctx *fasthttp.RequestCtx) {
	methods := r.find(ctx.Path())
	if methods == nil {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	h := methods[string(ctx.Method())]
	if h == nil {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, allow(methods))
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
		return
	}
	h(ctx)
}

// Name is the route of a path, as it was given to [Routes.Handle]: what may be
// logged where the rest of a path holds a secret. Empty when there is none.
func (r *Routes) Name(path []byte) string {
	if r.exact[string(path)] != nil {
		return string(path)
	}
	for i := range r.prefix {
		if p := r.prefix[i].prefix; len(path) > len(p) && string(path[:len(p)]) == p {
			return p + "*"
		}
	}
	return ""
}

func (r *Routes) find(path []byte) map[string]fasthttp.RequestHandler {
	if m := r.exact[string(path)]; m != nil {
		return m
	}
	for i := range r.prefix {
		if p := r.prefix[i].prefix; len(path) > len(p) && string(path[:len(p)]) == p {
			return r.prefix[i].methods
		}
	}
	return nil
}

func allow(methods map[string]fasthttp.RequestHandler) string {
	names := make([]string, 0, len(methods))
	for m := range methods {
		names = append(names, m)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}
