package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"rebound/config"
	"rebound/internal/cli"
)

// console writes messages to a terminal. If the output is not a terminal it
// writes nothing, because the log has the same information.
type console struct {
	queue    *lineQueue // nil without a terminal
	terminal bool
}

func newConsole(w io.Writer) *console {
	if !isTerminal(w) {
		return &console{}
	}
	return &console{queue: newLineQueue(w), terminal: true}
}

func (c *console) close() {
	if c.terminal {
		c.queue.close()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (c *console) line(s string) {
	if c.terminal {
		fmt.Fprintln(c.queue, s)
	}
}

// newLogger returns a logger that writes JSON lines to w. Next to a console it
// writes only warnings and errors, as text.
func newLogger(w io.Writer, terminal bool, now func() time.Time) *zap.Logger {
	cfg := zap.NewProductionEncoderConfig()
	cfg.TimeKey, cfg.MessageKey = "ts", "msg"
	cfg.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	cfg.EncodeDuration = zapcore.StringDurationEncoder
	enc, level := zapcore.NewJSONEncoder(cfg), zapcore.InfoLevel
	if terminal {
		cfg.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05")
		cfg.NameKey = zapcore.OmitKey
		enc, level = zapcore.NewConsoleEncoder(cfg), zapcore.WarnLevel
	}
	core := zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level)
	return zap.New(core, zap.WithClock(logClock(now)))
}

type logClock func() time.Time

// Now is part of zapcore.Clock.
func (c logClock) Now() time.Time { return c().UTC() }

// NewTicker is part of zapcore.Clock.
func (c logClock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// greet reports the end of the start: ready, or why no bids are made yet. "ready" is
// logged once, as soon as bids are made.
func (a *app) greet() {
	if why := a.blindReason(); why != "" {
		at := a.addresses()
		a.log.Warn("started, but blind: no bids until this is over", zap.String("why", why),
			zap.String("bid", at.Bid), zap.String("edge", at.Edge), zap.String("admin", at.Admin))
	} else {
		a.announce()
	}
	a.sayPaused()
	if a.prog.started != nil {
		a.prog.started(a)
	}
}

// announce logs the listen addresses, what was loaded and a command to try next, once.
func (a *app) announce() {
	if a.announced.Swap(true) {
		return
	}
	at := a.addresses()
	s := a.snapshot.Load()
	visitors := a.visitors.Stats().Visitors
	a.log.Info("ready", zap.String("bid", at.Bid), zap.String("edge", at.Edge), zap.String("admin", at.Admin),
		zap.String("public_url", a.public), zap.String("build", cli.Build()), zap.Uint64("visitors", visitors), zap.Uint64("facts", a.journal.Last().Seq),
		zap.String("holds", summary(s)))
	bid, edge, admin := local(at.Bid), local(at.Edge), local(at.Admin)
	var b strings.Builder
	fmt.Fprintf(&b, "ready\n")
	fmt.Fprintf(&b, "  bids   http://%s/openrtb2/{%s}\n", bid, strings.Join(exchangeIDs(s.Profiles), "|"))
	fmt.Fprintf(&b, "  edge   http://%s/v1/px, /v1/events, /v1/match and notices (links: %s)\n", edge, a.public)
	fmt.Fprintf(&b, "  admin  http://%s/metrics, /admin/budgets, /debug/pprof/\n", admin)
	fmt.Fprintf(&b, "  loaded %d visitors, %s\n", visitors, summary(s))
	a.greetBudgets(&b)
	if a.console.terminal {
		b.WriteString(tryHint(s, edge))
	}
	a.console.line(strings.TrimRight(b.String(), "\n"))
}

// tryHint returns a command that makes a visitor of the loaded configuration: the
// advertiser of a line, an event of its rules and a product of its feed. It says that
// the GDPR does not apply, because a configuration may refuse visitors of whom that is
// not known.
func tryHint(s *config.Snapshot, edge string) string {
	lines, events := s.Index.Lines(), s.AudienceSet.Events()
	if len(lines) == 0 || len(events) == 0 {
		return ""
	}
	advertiser, event, item := lines[0].Advertiser, events[0], ""
	if slices.Contains(events, "view_item") {
		event = "view_item"
	}
	if advertiser.Feed != nil && advertiser.Feed.Good > 0 {
		item = "&id=" + url.QueryEscape(advertiser.Feed.All()[0].ID)
	}
	return fmt.Sprintf("try\n  curl -si -c jar -b jar 'http://%s/v1/px?a=%s&e=%s%s&gdpr=0'\n", edge, url.QueryEscape(advertiser.ID), url.QueryEscape(event), item)
}

// greetCaps is the number of caps in the greeting; a real configuration has hundreds.
const greetCaps = 8

func (a *app) greetBudgets(b *strings.Builder) {
	rows := a.money.Budgets(a.now())
	for i, row := range rows {
		if i == greetCaps {
			fmt.Fprintf(b, "  and %d more, see /admin/budgets\n", len(rows)-greetCaps)
			return
		}
		name := row.Campaign
		if row.Line != "" {
			name += "/" + row.Line
		}
		fmt.Fprintf(b, "  budget %s/%s per %s: %s of %s %s spent\n", row.Advertiser, name, row.Window,
			row.Spent, row.Cap, row.Currency)
	}
}

// local returns an address in a form that can be called from this machine.
func local(addr string) string {
	for _, all := range []string{"[::]:", "0.0.0.0:"} {
		if port, ok := strings.CutPrefix(addr, all); ok {
			return "127.0.0.1:" + port
		}
	}
	return addr
}
