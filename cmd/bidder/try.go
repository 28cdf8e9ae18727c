package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
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
	"rebound/internal/spec"
	"rebound/rtb"
)

// trial are the flags that try and explain share.
type trial struct {
	config, exchange, at string
	seed                 uint64
	history              []past
}

func (t *trial) register(fs *flag.FlagSet) {
	fs.StringVar(&t.config, "config", cli.Sample, "configuration `file`")
	fs.StringVar(&t.exchange, "exchange", "", "`id` of the exchange (default: the only one)")
	fs.StringVar(&t.at, "at", "", "`time` of the request, such as 2026-10-01T12:00:00Z (default: now)")
	fs.Uint64Var(&t.seed, "seed", 1, "`number` that ids and draws are made from")
	fs.Func("event", "`event` of the request's visitor before it: name, name:item or name:item@ago; may be repeated or listed with commas", func(text string) error {
		for one := range strings.SplitSeq(text, ",") {
			p, err := parsePast(one)
			if err != nil {
				return err
			}
			t.history = append(t.history, p)
		}
		return nil
	})
}

// open makes a lab as the flags say, in which the visitor of the request has the
// history that they tell.
func (t *trial) open(p *program, body []byte) (*lab, *exchange.Profile, error) {
	now := p.now()
	if t.at != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, t.at); err != nil {
			return nil, nil, fmt.Errorf("cannot read --at: got %q; want a time such as 2026-10-01T12:00:00Z", t.at)
		}
	}
	s, err := cli.LoadConfig(t.config, config.Options{Getenv: p.getenv, Now: now})
	if err != nil {
		return nil, nil, err
	}
	ids := exchangeIDs(s.Profiles)
	if t.exchange == "" && len(ids) == 1 {
		t.exchange = ids[0]
	}
	profile := s.Profiles[t.exchange]
	if profile == nil {
		return nil, nil, fmt.Errorf("cannot find exchange: got %q; want one of %s%s", t.exchange, strings.Join(ids, ", "), hintOf(t.exchange, ids))
	}
	l, err := newLab(s, now.UTC(), t.seed)
	if err != nil {
		return nil, nil, err
	}
	if err := l.remember(profile, body, t.history); err != nil {
		return nil, nil, errors.Join(err, l.close())
	}
	l.ready()
	return l, profile, nil
}

func hintOf(got string, ids []string) string {
	if hint := spec.DidYouMean(got, ids); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// readRequest reads a captured request, from standard input for -; one that was
// captured compressed is inflated.
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
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(z, limit))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot inflate request: %w", err)
	}
	return b, nil
}

// try answers one captured request as a bidder with the same configuration
// would, and shows everything that goes back.
func (p *program) try(_ context.Context, args []string) int {
	var t trial
	fs := p.flags("try")
	t.register(fs)
	zip := fs.Bool("gzip", false, "send the request compressed, and take a compressed answer")
	body := fs.Bool("body", false, "print the answer's body only")
	var headers []string
	fs.Func("header", "further `header` of the request, such as \"X-Openrtb-Version: 2.5\"; may be repeated", func(h string) error {
		headers = append(headers, h)
		return nil
	})
	path, status, done := p.parseWithFile(fs, args)
	if done {
		return status
	}
	request, err := readRequest(path)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	l, profile, err := t.open(p, request)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitNotSo
	}
	defer l.close() //nolint:errcheck // it was in memory
	var ctx fasthttp.RequestCtx
	l.serve(&ctx, profile, request, headers, *zip)
	if *body {
		_, _ = p.stdout.Write(plainBody(&ctx.Response))
	} else {
		p.printAnswer(l, &ctx)
	}
	if ctx.Response.StatusCode() != fasthttp.StatusOK || l.reason() != rtb.NoBidNone {
		return cli.ExitNotSo
	}
	return cli.ExitDone
}

// serve sends a request through the handler that answers exchanges, from an
// address and with the secret that the profile takes.
func (l *lab) serve(ctx *fasthttp.RequestCtx, profile *exchange.Profile, body []byte, headers []string, zip bool) {
	var rq fasthttp.Request
	rq.Header.SetMethod(fasthttp.MethodPost)
	rq.SetRequestURI("http://bidder" + bidder.RoutePrefix + profile.ID)
	rq.Header.SetContentType("application/json")
	if profile.Secret != "" {
		rq.Header.Set(bidder.SecretHeader, profile.Secret)
	}
	if zip {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, _ = z.Write(body) // to memory: cannot fail
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
	ctx.Init(&rq, &net.TCPAddr{IP: callerOf(profile).AsSlice(), Port: 1}, nil)
	l.bidder.Serve(ctx)
}

// callerOf is an address from which the exchange may ask.
func callerOf(p *exchange.Profile) netip.Addr {
	if len(p.Sources) > 0 {
		return p.Sources[0].Addr()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// reason is why the last request got no bid.
func (l *lab) reason() rtb.NoBidReason {
	for _, s := range l.bidder.Stats() {
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

// printAnswer prints the answer as it goes over the wire, but for its date, and
// then why lines did not bid.
func (p *program) printAnswer(l *lab, ctx *fasthttp.RequestCtx) {
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
	if r := l.reason(); r != rtb.NoBidNone {
		fmt.Fprintf(p.stdout, "no bid: %s\n", r)
		if r == rtb.NoBidUnknownVisitor {
			fmt.Fprintln(p.stdout, "  give the visitor a history, such as --event view_item:SKU7@2h")
		}
	}
	if l.record != nil && l.record.Decision != nil {
		for _, d := range l.record.Decision.Dropped {
			fmt.Fprintln(p.stdout, "  "+dropText(&d))
		}
	}
}

// dropText is a line that did not bid, and why.
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

// explain tells step by step how a request is decided.
func (p *program) explain(_ context.Context, args []string) int {
	var t trial
	fs := p.flags("explain")
	t.register(fs)
	path := fs.String("request", "", "`file` with the request; - for standard input")
	line := fs.String("line", "", "tell of this `line` only")
	asJSON := fs.Bool("json", false, "as JSON, as POST /admin/explain answers")
	if status, done := p.parse(fs, args); done {
		return status
	}
	request, err := readRequest(*path)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	l, profile, err := t.open(p, request)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitNotSo
	}
	defer l.close() //nolint:errcheck // it was in memory
	x := explanationOf(l.bidder, profile.ID, request, l.now, *line)
	if *asJSON {
		b, err := json.MarshalIndent(x, "", "  ")
		if err != nil {
			fmt.Fprintln(p.stderr, err)
			return cli.ExitNotSo
		}
		fmt.Fprintf(p.stdout, "%s\n", b)
	} else {
		x.write(p.stdout)
	}
	if len(x.Decision.Bids) == 0 {
		return cli.ExitNotSo
	}
	return cli.ExitDone
}
