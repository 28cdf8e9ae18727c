package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
	"rebound/segments"
)

const exportPath = "/admin/privacy/export"

// maxExportBids bounds the bid records of one export.
const maxExportBids = 100_000

// export handles POST /admin/privacy/export, an access request: everything that is stored
// about the person behind identifiers, as JSON. The facts are those of the person alone:
// an identifier that is linked to others too brings no facts of theirs. The log is read
// while the response is sent; a response that ends before "complete":true is not whole.
func (a *app) export(ctx *fasthttp.RequestCtx) {
	var o eraseOrder
	if got := readOrder(ctx.PostBody(), &o); got != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", got+`; want {"advertiser":"<id>","ids":[{"kind":"uid","value":"..."}]}, of which advertiser is for xid, em and ph`)
		return
	}
	keys, msg := a.keysOf(&o)
	if msg != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_ids", msg)
		return
	}
	last := a.journal.Last()
	if err := a.folded(context.Background(), last.Seq); err != nil {
		sendError(ctx, fasthttp.StatusServiceUnavailable, "unreadable", err.Error())
		return
	}
	r, person, err := a.userReport(keys, maxExportBids, math.MaxInt64)
	var traces []rtb.Key
	if err == nil {
		traces, err = a.visitors.Keys(person)
	}
	if err != nil {
		a.log.Error("personal data could not be exported", zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "unreadable", "the data could not be read; the log of the bidder has the cause")
		return
	}
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		if err := a.writeExport(w, r, &person, traces, last.Seq); err != nil {
			a.log.Error("personal data was exported in part only", zap.Error(err))
		}
	})
}

// writeExport writes the report, and the facts up to a sequence that hold one of the
// person's keys.
func (a *app) writeExport(w *bufio.Writer, r *userReport, person *segments.Person, traces []rtb.Key, upTo uint64) error {
	head, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,\"facts\":[", head[:len(head)-1]); err != nil {
		return err
	}
	n := 0
	err = a.journal.Read(context.Background(), events.Position{}, upTo, func(list []events.Fact) error {
		for i := range list {
			f := &list[i]
			if f.Erased || !concerns(f, traces) {
				continue
			}
			line, err := json.Marshal(f)
			if err != nil {
				return err
			}
			if n++; n > 1 {
				line = append([]byte{','}, line...)
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return w.Flush() // fails once the client is gone
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "],\"up_to_seq\":%d,\"complete\":true}\n", upTo)
	return err
}

// concerns reports whether a fact names one of the keys.
func concerns(f *events.Fact, keys []rtb.Key) bool {
	if slices.Contains(keys, f.Visitor) || f.Link != nil && slices.Contains(keys, f.Link.Key) {
		return true
	}
	return slices.ContainsFunc(f.Keys, func(k events.LinkKey) bool { return slices.Contains(keys, k.Key) })
}
