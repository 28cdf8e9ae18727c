package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rebound/collect"
	"rebound/internal/cli"
	"rebound/internal/spec"
	"rebound/journal"
	"rebound/rtb"
)

// logFlags are the flags that log cat, tail and stats share.
type logFlags struct {
	data, bids, what             string
	exchange, line, reason, kind string
	visitor, advertiser          string
	from, to                     string
	json                         bool
}

func (f *logFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.data, "data", "./data", "data `folder`; it may be in use")
	fs.StringVar(&f.bids, "bids", "", "`folder` of the bid log (default: log/bids in the data folder)")
	fs.StringVar(&f.what, "what", "all", "`log` to read: facts, bids or all")
	fs.StringVar(&f.exchange, "exchange", "", "only of this exchange; its `id`")
	fs.StringVar(&f.line, "line", "", "only of this line: its `id`, or advertiser/campaign/line")
	fs.StringVar(&f.reason, "reason", "", "only with this `reason`: a no-bid reason of a request or a line, the code of a loss, or the flag of a notice")
	fs.StringVar(&f.kind, "kind", "", "only of these `kinds`, separated by commas: bid, nobid, event, link, win, bill, loss, imp, click, grant...")
	fs.StringVar(&f.visitor, "visitor", "", "only of this visitor: the `key` that bidder user shows, or uid:<cookie>")
	fs.StringVar(&f.advertiser, "advertiser", "", "`id` of the advertiser to which an xid, em or ph in --visitor belongs")
	fs.StringVar(&f.from, "from", "", "only from this `time` on, such as 2026-10-01T12:00:00Z, or this long ago, such as 2h")
	fs.StringVar(&f.to, "to", "", "only before this `time`, or this long ago")
	fs.BoolVar(&f.json, "json", false, "print one JSON object for each entry")
}

// open returns a reader and a filter according to the flags.
func (f *logFlags) open(p *program) (*logReader, *logFilter, error) {
	r := &logReader{warn: func(error) {}}
	switch f.what {
	case "all", "facts", "bids":
	default:
		return nil, nil, fmt.Errorf("cannot read --what: got %q; want facts, bids or all", f.what)
	}
	if f.what != "bids" {
		r.logFolders.facts = journal.FactsDir(f.data)
	}
	if f.what != "facts" {
		if r.bids = f.bids; r.bids == "" {
			r.bids = filepath.Join(f.data, "log", "bids")
		}
	}
	filter := &logFilter{exchange: f.exchange, line: f.line, reason: f.reason}
	if f.kind != "" {
		filter.kinds = strings.Split(f.kind, ",")
	}
	var err error
	if filter.from, err = timeFlag("from", f.from, p.now()); err == nil {
		filter.to, err = timeFlag("to", f.to, p.now())
	}
	if err == nil && f.visitor != "" {
		filter.keys, err = f.keys()
	}
	return r, filter, err
}

// timeFlag parses a time, or how long ago it was.
func timeFlag(name, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := spec.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("cannot read --%s: got %q; want a time such as 2026-10-01T12:00:00Z, or a duration such as 2h", name, text)
	}
	return t, nil
}

// keys returns the key of --visitor. An identifier is hashed with the keys of the data
// folder.
func (f *logFlags) keys() ([]rtb.Key, error) {
	var k rtb.Key
	if !strings.Contains(f.visitor, ":") && k.UnmarshalText([]byte(f.visitor)) == nil {
		return []rtb.Key{k}, nil
	}
	id, err := collect.ParseIdentifier(f.visitor)
	if err != nil {
		return nil, errors.New("cannot read --visitor: want the key of a visitor of 22 characters, as bidder user shows it, or KIND:VALUE such as uid:<cookie>")
	}
	if _, err := os.Stat(filepath.Join(f.data, "keys.json")); err != nil {
		return nil, fmt.Errorf("cannot hash --visitor: %w", err)
	}
	file, err := loadKeys(f.data, nil)
	if err != nil {
		return nil, err
	}
	ring, err := file.keyring()
	if err != nil {
		return nil, err
	}
	spaces := map[string]string{}
	if _, scope, ok := strings.Cut(id.Kind, "b:"); ok {
		spaces[scope] = scope
	}
	key, err := id.Key(ring, f.advertiser, spaces)
	if err != nil {
		return nil, fmt.Errorf("cannot hash --visitor: %w", err)
	}
	return []rtb.Key{key.Key}, nil
}

// maxWarned is how many broken lines are printed.
const maxWarned = 5

// logTask runs one of the verbs that read the logs, and reports what could not be read.
func (p *program) logTask(fs *flag.FlagSet, f *logFlags, args []string, run func(*logReader, *logFilter) error) int {
	fs.SetOutput(p.stderr)
	if status, done := p.parse(fs, args); done {
		return status
	}
	r, filter, err := f.open(p)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	r.warn = func(err error) {
		if r.broken <= maxWarned {
			fmt.Fprintf(p.stderr, "skipped: %v\n", err)
		}
	}
	if err := run(r, filter); err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	if r.broken > 0 {
		fmt.Fprintf(p.stderr, "%d lines could not be read; bidder verify checks the log\n", r.broken)
	}
	return cli.ExitDone
}

// logCat prints the selected entries of the logs by time.
func (p *program) logCat(ctx context.Context, args []string) int {
	var f logFlags
	fs := flag.NewFlagSet("bidder log cat", flag.ContinueOnError)
	f.register(fs)
	limit := fs.Int("limit", 0, "print at most `N` entries (default: all)")
	return p.logTask(fs, &f, args, func(r *logReader, filter *logFilter) error {
		list, err := r.all(filter)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(p.stdout, 64<<10)
		n := 0
		for e := range list {
			if err := writeEntry(w, &e, f.json); err != nil {
				return err
			}
			if n++; n == *limit || ctx.Err() != nil {
				break
			}
		}
		return w.Flush()
	})
}

// writeEntry writes an entry as one line.
func writeEntry(w *bufio.Writer, e *logEntry, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintln(w, e.text())
		return err
	}
	line, err := e.json()
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
