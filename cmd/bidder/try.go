package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/exchange"
	"rebound/internal/cli"
	"rebound/internal/lab"
	"rebound/internal/spec"
	"rebound/rtb"
)

// trialFlags are the flags that try and explain share.
type trialFlags struct {
	config, exchange, at string
	seed                 uint64
	history              []lab.Past
}

func (f *trialFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.config, "config", cli.Sample, "configuration `file`")
	fs.StringVar(&f.exchange, "exchange", "", "`id` of the exchange (default: the only one)")
	fs.StringVar(&f.at, "at", "", "`time` of the request, such as 2026-10-01T12:00:00Z (default: now)")
	fs.Uint64Var(&f.seed, "seed", 1, "`number` from which ids and draws are generated")
	fs.Func("event", "past `event` of the request's visitor: name, name:item or name:item@ago; may be repeated or separated by commas", func(text string) error {
		for one := range strings.SplitSeq(text, ",") {
			p, err := lab.ParsePast(one)
			if err != nil {
				return err
			}
			f.history = append(f.history, p)
		}
		return nil
	})
}

// trialLife is the longest time that a bid may be open in a lab, regardless of the
// profile.
const trialLife = 48 * time.Hour

// trial is one request in a lab with a fixed clock.
type trial struct {
	*lab.Lab
	config  *config.Snapshot
	profile *exchange.Profile
	now     time.Time
	dropped []string // why lines did not bid on the request
}

// Write implements the bidder's Records.
func (t *trial) Write(r *events.BidRecord, _ events.Redacted) {
	t.dropped = t.dropped[:0]
	for i := range r.Decision.Dropped {
		t.dropped = append(t.dropped, dropText(&r.Decision.Dropped[i]))
	}
}

// open creates a lab according to the flags, in which the request's visitor has
// the given history. The caller closes it.
func (f *trialFlags) open(p *program, body []byte) (*trial, error) {
	now := p.now()
	if f.at != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, f.at); err != nil {
			return nil, fmt.Errorf("cannot read --at: got %q; want a time such as 2026-10-01T12:00:00Z", f.at)
		}
	}
	s, err := cli.LoadConfig(f.config, config.Options{Getenv: p.getenv, Now: now})
	if err != nil {
		return nil, err
	}
	ids := exchangeIDs(s.Profiles)
	if f.exchange == "" && len(ids) == 1 {
		f.exchange = ids[0]
	}
	t := &trial{config: s, profile: s.Profiles[f.exchange], now: now.UTC()}
	if t.profile == nil {
		return nil, fmt.Errorf("cannot find exchange: got %q; want one of %s%s", f.exchange, strings.Join(ids, ", "), hintOf(f.exchange, ids))
	}
	t.Lab, err = lab.Open(lab.Options{
		Config: s, Now: func() time.Time { return t.now }, Name: "lab", Node: s.Data.Node, Seed: f.seed, BidLife: trialLife, Unpaced: true,
		Adjust: func(o *bidder.Options) { o.Records = t },
	})
	if err != nil {
		return nil, err
	}
	if err := t.Remember(t.profile, body, f.history); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.CutGrants()
	return t, nil
}

// start reads a request and opens its trial. If that fails, it prints why and returns nil and
// the exit status.
func (f *trialFlags) start(p *program, path string) (t *trial, request []byte, status int) {
	request, err := readRequest(path)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return nil, nil, cli.ExitUsage
	}
	if t, err = f.open(p, request); err != nil {
		fmt.Fprintln(p.stderr, err)
		return nil, nil, cli.ExitFailed
	}
	return t, request, cli.ExitDone
}

func hintOf(got string, ids []string) string {
	if hint := spec.DidYouMean(got, ids); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// readRequest reads a captured request, from standard input for -, and decompresses it
// if it is gzip.
func readRequest(path string) ([]byte, error) {
	const limit = 16 << 20
	var in io.Reader = os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read request: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, limit))
	if err != nil {
		return nil, fmt.Errorf("cannot read request: %w", err)
	}
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return bytes.TrimPrefix(b, []byte("\ufeff")), nil // some editors write a byte-order mark
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(z, limit))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot decompress request: %w", err)
	}
	return b, nil
}

// try answers one captured request as a bidder with the same configuration would, and
// prints the complete response.
func (p *program) try(_ context.Context, args []string) int {
	var f trialFlags
	fs := p.flags("try")
	f.register(fs)
	zip := fs.Bool("gzip", false, "send the request compressed, and accept a compressed response")
	body := fs.Bool("body", false, "print only the body of the response")
	var headers []string
	fs.Func("header", "additional `header` of the request, such as \"X-Openrtb-Version: 2.5\"; may be repeated", func(h string) error {
		headers = append(headers, h)
		return nil
	})
	path, status, done := p.parseWithFile(fs, args)
	if done {
		return status
	}
	t, request, status := f.start(p, path)
	if t == nil {
		return status
	}
	defer t.Close() //nolint:errcheck // it was in memory
	var ctx fasthttp.RequestCtx
	t.serve(&ctx, request, headers, *zip)
	if *body {
		_, _ = p.stdout.Write(plainBody(&ctx.Response))
	} else {
		p.printResponse(t, &ctx)
	}
	if ctx.Response.StatusCode() != fasthttp.StatusOK || t.reason() != rtb.NoBidNone {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// serve passes a request to the handler of the bid listener, from a source address and
// with a secret that the exchange's profile accepts.
func (t *trial) serve(ctx *fasthttp.RequestCtx, body []byte, headers []string, zip bool) {
	var rq fasthttp.Request
	profile := t.profile
	rq.Header.SetMethod(fasthttp.MethodPost)
	rq.SetRequestURI("http://bidder" + bidder.RoutePrefix + profile.ID)
	rq.Header.SetContentType("application/json")
	if profile.Secret != "" {
		rq.Header.Set(bidder.SecretHeader, profile.Secret)
	}
	if zip {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, _ = z.Write(body) // writes to memory, so it cannot fail
		_ = z.Close()
		body = buf.Bytes()
		rq.Header.Set(fasthttp.HeaderContentEncoding, "gzip")
		rq.Header.Set(fasthttp.HeaderAcceptEncoding, "gzip")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		rq.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	rq.SetBody(body)
	ctx.Init(&rq, &net.TCPAddr{IP: senderOf(profile).AsSlice(), Port: 1}, nil)
	t.Bidder.Serve(ctx)
}

// senderOf returns an address from which the exchange may send requests.
func senderOf(p *exchange.Profile) netip.Addr {
	if len(p.Sources) > 0 {
		return p.Sources[0].Addr()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// reason returns why the request got no bid.
func (t *trial) reason() rtb.NoBidReason {
	for _, s := range t.Bidder.Stats() {
		for r, n := range s.NoBids {
			if n > 0 {
				return rtb.NoBidReason(r)
			}
		}
	}
	return rtb.NoBidNone
}

func plainBody(rs *fasthttp.Response) []byte {
	if string(rs.Header.Peek(fasthttp.HeaderContentEncoding)) == "gzip" {
		if b, err := rs.BodyGunzip(); err == nil {
			return b
		}
	}
	return rs.Body()
}

// printResponse prints the response as it is sent, except for its date, and then
// why lines did not bid.
func (p *program) printResponse(t *trial, ctx *fasthttp.RequestCtx) {
	rs := &ctx.Response
	rs.Header.SetNoDefaultContentType(true)
	rs.Header.SetContentLength(len(rs.Body()))
	fmt.Fprintf(p.stdout, "HTTP/1.1 %d %s\n", rs.StatusCode(), fasthttp.StatusMessage(rs.StatusCode()))
	var lines []string
	for k, v := range rs.Header.All() {
		if string(k) != fasthttp.HeaderDate && len(v) > 0 {
			lines = append(lines, string(k)+": "+string(v))
		}
	}
	slices.Sort(lines)
	fmt.Fprintf(p.stdout, "%s\n\n", strings.Join(lines, "\n"))
	if body := plainBody(rs); len(body) > 0 {
		fmt.Fprintf(p.stdout, "%s\n\n", body)
	}
	if r := t.reason(); r != rtb.NoBidNone {
		fmt.Fprintf(p.stdout, "no bid: %s\n", r)
		if r == rtb.NoBidUnknownVisitor {
			fmt.Fprintln(p.stdout, "  give the visitor a history, such as --event view_item:SKU7@2h")
		}
	}
	for _, text := range t.dropped {
		fmt.Fprintln(p.stdout, "  "+text)
	}
}

// dropText describes why a line did not bid.
func dropText(d *events.DecisionDrop) string {
	text := "line " + d.Advertiser + "/" + d.Campaign + "/" + d.Line
	if d.ImpID != "" {
		text += " on impression " + d.ImpID
	}
	if d.Reason == rtb.NoBidNone {
		return text + ": another bid was better"
	}
	return text + ": " + d.Reason.String()
}
