package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/valyala/fasthttp"
)

// readOrder decodes a body of the admin API into order: one JSON object without
// unknown fields, and nothing after it. It returns a message for the caller in
// JSON terms, empty if the body is valid.
func readOrder(body []byte, order any) (got string) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(order)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return "got an empty body"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "got JSON that ends too early"
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Sprintf("%s: got a %s", kind.Field, kind.Value)
	case errors.As(err, &kind):
		return "got a " + kind.Value
	case err != nil:
		return "got " + strings.TrimPrefix(err.Error(), "json: ")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "got text after the object"
	}
	return ""
}

// sendJSON sends a value as JSON without escaping <, > and &.
func sendJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		status = fasthttp.StatusInternalServerError
		b.Reset()
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetBody(b.Bytes())
}

func sendError(ctx *fasthttp.RequestCtx, status int, code, message string) {
	sendJSON(ctx, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}
