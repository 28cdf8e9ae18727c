package config

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strconv"
	"time"

	"rebound/creatives"
	"rebound/internal/inventory"
	"rebound/internal/spec"
)

// settle is for how long a file must not have changed before it counts as complete.
// The program checks its files at this interval, and loads a changed one once it
// has been stable for one interval.
const settle = 2 * time.Second

// fresh reports whether a file was written so recently that it may not be complete.
func (o *Options) fresh(written time.Time) bool {
	age := o.Now.Sub(written)
	return age >= 0 && age < settle
}

func (l *loader) loadFeeds(s *Snapshot, o Options) {
	s.FeedIndex, s.FeedReports = map[string]*creatives.Feed{}, map[string]*creatives.FeedReport{}
	s.feedOptions = map[string]creatives.FeedOptions{}
	for i := range s.Feeds {
		f, at := &s.Feeds[i], spec.At("feeds", i)
		l.ID(at+".id", f.ID)
		if _, again := s.FeedIndex[f.ID]; again {
			l.Add(at+".id", spec.Quote(f.ID)+" again", "an id that no other feed has")
		}
		if f.MinKeepPct != 0 {
			l.Range(at+".min_keep_pct", f.MinKeepPct, 1, 100)
		}
		s.FeedIndex[f.ID] = l.loadFeed(s, f, at, o)
	}
}

// feedOptions returns the options of a feed that follow from the advertisers that
// use it.
func (l *loader) feedOptions(s *Snapshot, f *FeedSpec, at string) creatives.FeedOptions {
	opts := creatives.FeedOptions{ID: f.ID, MinKeepPct: f.MinKeepPct}
	for i := range s.Advertisers {
		a := &s.Advertisers[i]
		if a.Feed != f.ID {
			continue
		}
		for _, d := range a.Domains {
			opts.Domains = append(opts.Domains, inventory.ASCIIHost(d))
		}
		zone, err := time.LoadLocation(a.Timezone)
		switch {
		case err != nil: // a problem of the advertiser
		case opts.Zone == nil:
			opts.Zone = zone
		case opts.Zone.String() != zone.String():
			l.Warn(at+".id", "advertisers in "+opts.Zone.String()+" and "+zone.String(), "a feed for each time zone; dates of sales without a zone are in "+opts.Zone.String())
		}
	}
	return opts
}

func (l *loader) loadFeed(s *Snapshot, f *FeedSpec, at string, o Options) *creatives.Feed {
	if f.File == "" {
		l.Add(at+".file", "nothing", "a file of tab-separated values")
		return nil
	}
	opts := l.feedOptions(s, f, at)
	s.feedOptions[f.ID] = opts
	file, err := l.fsys.Open(f.File)
	if err != nil {
		l.Add(at+".file", "file "+spec.Quote(f.File)+": "+reason(err), "a file that can be read")
		return nil
	}
	defer file.Close()
	l.feeds = append(l.feeds, f.File)
	before, err := file.Stat()
	if err != nil {
		l.Add(at+".file", "file "+spec.Quote(f.File)+": "+reason(err), "a file that can be read")
		return nil
	}
	if o.Previous != nil {
		opts.Previous = o.Previous.FeedIndex[f.ID]
		opts.Fresh = o.fresh(before.ModTime())
		if feed := l.sameFeed(s, f, opts, o.Previous); feed != nil {
			l.feedWarnings(at, f.File, feed, s.FeedReports[f.ID])
			return feed
		}
	}
	feed, report, err := creatives.LoadFeed(file, opts)
	if err != nil {
		got, want := gotWant(err)
		l.add(place{f.File, 1}, at+".file", got, want, "")
		return nil
	}
	if after, err := file.Stat(); err != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		feed = l.changing(at, feed, opts.Previous)
	}
	for _, rows := range []spec.Problems{report.Skipped, report.Ignored} {
		for i := range rows {
			rows[i].File = f.File
		}
	}
	s.FeedReports[f.ID] = report
	l.feedWarnings(at, f.File, feed, report)
	return feed
}

// changing returns the previous feed in place of one whose file changed while it was
// read, if there is one.
func (l *loader) changing(at string, feed, previous *creatives.Feed) *creatives.Feed {
	const got = "a file that changed while it was read"
	if previous == nil {
		l.Warn(at+".file", got, "a file that is replaced when it is complete; rows may be missing")
		return feed
	}
	kept := *previous
	kept.Kept = got
	return &kept
}

// sameFeed returns the feed in use if its file has the same content and would be read
// in the same way, because reading a large feed takes seconds. Otherwise it returns
// nil.
func (l *loader) sameFeed(s *Snapshot, f *FeedSpec, opts creatives.FeedOptions, previous *Snapshot) *creatives.Feed {
	was, report := opts.Previous, previous.FeedReports[f.ID]
	if was == nil || report == nil || was.Kept != "" || !reflect.DeepEqual(previous.feedOptions[f.ID], s.feedOptions[f.ID]) || len(previous.Feeds) == 0 {
		return nil
	}
	for i := range previous.Feeds {
		if previous.Feeds[i].ID == f.ID && previous.Feeds[i].File != f.File {
			return nil // the rows that were skipped name the file
		}
	}
	file, err := l.fsys.Open(f.File)
	if err != nil {
		return nil
	}
	defer file.Close()
	if sum, err := hashOf(file); err != nil || !bytes.Equal(sum, was.Sum[:]) {
		return nil
	}
	s.FeedReports[f.ID] = report
	return was
}

func hashOf(file fs.File) ([]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return nil, fmt.Errorf("cannot hash file: %w", err)
	}
	return h.Sum(nil), nil
}

// ShownRows is how many rows of each feed the warnings name.
const ShownRows = 5

// feedWarnings warns of the first few rows that were skipped and fields that were
// ignored, of the number of the others, and of what is wrong with the whole feed.
func (l *loader) feedWarnings(at, file string, feed *creatives.Feed, report *creatives.FeedReport) {
	rows := func(list spec.Problems, all int, what string) {
		for _, row := range list[:min(len(list), ShownRows)] {
			row.Path, row.Want = spec.Join(at, row.Path), row.Want+"; the "+what
			l.Warnings = append(l.Warnings, row)
		}
		if more := all - ShownRows; more > 0 {
			l.Warnings = append(l.Warnings, spec.Problem{File: file, Path: at, Got: strconv.Itoa(more) + " more rows of which the " + what, Want: "valid rows"})
		}
	}
	rows(report.Skipped, report.SkippedRows, "row was skipped")
	rows(report.Ignored, report.IgnoredFields, "field was ignored")
	switch {
	case feed.Kept != "":
		l.Warn(at+".file", feed.Kept, "a complete file; the "+strconv.Itoa(feed.Good)+" products loaded before stay in use")
	case feed.Good == 0:
		l.Warn(at+".file", "no products", "at least one valid row; no bids will use products of this feed")
	case report.Truncated:
		l.Warn(at+".file", creatives.KeptTruncated, "a complete file; products may be missing")
	}
}
