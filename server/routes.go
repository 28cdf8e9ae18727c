package server

import (
	"sort"
	"strings"

	"github.com/valyala/fasthttp"
)

// Routes dispatches requests by path and method. It must not be changed after the
// listener has started. A method that a path does not support is answered with 405 and
// Allow, an unknown path with 404; neither closes the connection.
type Routes struct {
	exact  map[string]map[string]fasthttp.RequestHandler
	prefix []prefixRoute
}

type prefixRoute struct {
	prefix  string
	methods map[string]fasthttp.RequestHandler
}

// Handle registers the handler of a method and path. A path that ends in "/*" matches
// every path below it; [Tail] returns the remainder.
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

// Read registers the handler of GET and HEAD on a path. It is only for handlers without
// side effects: monitors and link checkers send HEAD requests, which must not change
// anything (RFC 9110 §9.2.1).
func (r *Routes) Read(path string, h fasthttp.RequestHandler) {
	r.Handle(fasthttp.MethodGet, path, h)
	r.Handle(fasthttp.MethodHead, path, h)
}

// Tail returns the part of the path after prefix. The slice is valid until the handler
// returns.
func Tail(ctx *fasthttp.RequestCtx, prefix string) []byte {
	p := ctx.Path()
	if len(p) < len(prefix) {
		return nil
	}
	return p[len(prefix):]
}

// Serve handles a request with the handler of its route.
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

// Name returns the route of a path as passed to [Routes.Handle], or the empty string if
// no route matches. Unlike the path it contains no secret and may be logged.
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
