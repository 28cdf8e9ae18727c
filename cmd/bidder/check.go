package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"rebound/config"
	"rebound/internal/cli"
	"rebound/internal/spec"
	"rebound/journal"
)

// check prints every problem of a configuration and returns 1 if there is one.
func (p *program) check(_ context.Context, args []string) int {
	fs := p.flags("check")
	path := fs.String("config", cli.Sample, "configuration `file`; it may also be given without --config")
	if status, done := p.parseConfig(fs, path, args); done {
		return status
	}
	s, err := cli.LoadConfig(*path, config.Options{Getenv: p.getenv, Now: p.now()})
	var problems spec.Problems
	switch {
	case errors.As(err, &problems):
		for _, pr := range problems {
			fmt.Fprintln(p.stdout, pr.String())
		}
		fmt.Fprintf(p.stdout, "%s: %s\n", *path, count(len(problems), "problem"))
		return cli.ExitFailed
	case err != nil:
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	for _, w := range s.Warnings {
		fmt.Fprintln(p.stdout, "warning: "+w.String())
	}
	for i := range s.Feeds { // the warnings are about the first rows
		r := s.FeedReports[s.Feeds[i].ID]
		for _, rows := range []spec.Problems{r.Skipped, r.Ignored} {
			for _, row := range rows[min(len(rows), config.ShownRows):] {
				fmt.Fprintf(p.stdout, "warning: feed %s: %v\n", s.Feeds[i].ID, row)
			}
		}
	}
	if err := journal.CheckFolder(s.Logs.Facts.Dir); err != nil {
		fmt.Fprintln(p.stdout, "warning: "+err.Error())
	}
	fmt.Fprintf(p.stdout, "%s: good (%s, hash %s)\n", *path, summary(s), s.Hash)
	return cli.ExitDone
}

// summary returns a one-line summary of a configuration.
func summary(s *config.Snapshot) string {
	products := 0
	for _, f := range s.FeedIndex {
		products += f.Good
	}
	return strings.Join([]string{
		count(len(s.Exchanges), "exchange"), count(len(s.Advertisers), "advertiser"), count(len(s.Audiences), "audience"),
		count(len(s.Campaigns), "campaign"), count(len(s.Index.Lines()), "line"), count(len(s.Creatives), "creative"),
		count(products, "product"),
	}, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// healthCheck requests /readyz from a running bidder and returns 1 if it is not ready.
func (p *program) healthCheck(ctx context.Context, args []string) int {
	fs := p.flags("health")
	at := "127.0.0.1:8082"
	if env, set := p.getenv(adminAddrEnv); set && env != "" {
		at = env
	}
	addr := fs.String("admin", at, "`address` of the admin listener; REBOUND_ADMIN by default")
	if status, done := p.parse(fs, args); done {
		return status
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*addr+"/readyz", nil)
	if err != nil {
		fmt.Fprintf(p.stderr, "cannot ask %s: %v\n", *addr, err)
		return cli.ExitUsage
	}
	rs, err := http.DefaultClient.Do(rq)
	if err != nil {
		fmt.Fprintf(p.stderr, "not ready: %v\n", err)
		return cli.ExitFailed
	}
	defer rs.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(rs.Body, 1<<10))
	fmt.Fprintln(p.stdout, strings.TrimSpace(string(why)))
	if rs.StatusCode != http.StatusOK {
		return cli.ExitFailed
	}
	return cli.ExitDone
}
