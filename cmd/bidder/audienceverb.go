package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rebound/audiences"
	"rebound/config"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/journal"
	"rebound/rtb"
	"rebound/segments"
)

// parseNames parses flags around exactly the arguments in want, such as "ID FILE".
func (p *program) parseNames(fs *flag.FlagSet, args []string, want string) (first, second string, status int, done bool) {
	n := len(strings.Fields(want))
	var names []string
	for len(args) > 0 { // flags may come before, between and after
		if strings.HasPrefix(args[0], "-") && args[0] != "-" {
			if status, done := p.parseFlags(fs, args); done {
				return "", "", status, true
			}
			args = fs.Args()
			continue
		}
		names, args = append(names, args[0]), args[1:]
	}
	if len(names) != n {
		fmt.Fprintf(p.stderr, "%s: got %d arguments; want %s and flags\n", fs.Name(), len(names), want)
		return "", "", cli.ExitUsage, true
	}
	names = append(names, "", "")
	return names[0], names[1], cli.ExitDone, false
}

func (p *program) parseFlags(fs *flag.FlagSet, args []string) (status int, done bool) {
	switch err := fs.Parse(args); {
	case err == nil:
		return cli.ExitDone, false
	case err == flag.ErrHelp:
		return cli.ExitDone, true
	}
	return cli.ExitUsage, true
}

func (p *program) parseTwo(fs *flag.FlagSet, args []string) (id, file string, status int, done bool) {
	return p.parseNames(fs, args, "ID FILE")
}

// audiencesVerb runs "audiences list", "estimate", "rebuild" and "export".
func (p *program) audiencesVerb(ctx context.Context, args []string) int {
	verbs := map[string]func(context.Context, []string) int{
		"list": p.listAudiences, "estimate": p.estimateAudience, "rebuild": p.rebuildVerb, "export": p.exportAudience,
	}
	if len(args) > 0 && verbs[args[0]] != nil {
		return verbs[args[0]](ctx, args[1:])
	}
	fmt.Fprintln(p.stderr, "audiences: want audiences list, estimate ID, rebuild ID or export ID")
	return cli.ExitUsage
}

// adminFlag is the flag for the address of the admin listener.
func (p *program) adminFlag(fs *flag.FlagSet) *string {
	at := "127.0.0.1:8082"
	if env, set := p.getenv(adminAddrEnv); set && env != "" {
		at = env
	}
	return fs.String("admin", at, "`address` of the admin listener; REBOUND_ADMIN by default")
}

func (p *program) adminClient(addr string) *apiClient {
	token, _ := p.getenv(adminTokenEnv)
	return &apiClient{base: "http://" + addr, key: token}
}

func (p *program) listAudiences(ctx context.Context, args []string) int {
	fs := p.flags("audiences")
	admin := p.adminFlag(fs)
	asJSON := fs.Bool("json", false, "print everything that is known, as JSON")
	if _, _, status, done := p.parseNames(fs, args, ""); done {
		return status
	}
	text, err := p.adminClient(*admin).call(ctx, http.MethodGet, "/admin/audiences", nil)
	var r audienceReport
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	if *asJSON {
		fmt.Fprintln(p.stdout, strings.TrimSpace(string(text)))
		return cli.ExitDone
	}
	p.printAudiences(&r)
	return cli.ExitDone
}

func (p *program) printAudiences(r *audienceReport) {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "audience\tsize\tadds 24h\tremoves 24h\tbiddable\tby exchange\t")
	for i := range r.Audiences {
		row := &r.Audiences[i]
		var reach []string
		for by, n := range row.Reach {
			reach = append(reach, fmt.Sprintf("%s %d", by, n))
		}
		slices.Sort(reach)
		note := strings.Join(reach, ", ")
		if row.Request {
			note += " (needs a request)"
		}
		if row.Rebuilding {
			note += fmt.Sprintf(" (rebuilding, %g %%)", r.RebuiltPct)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%g %%\t%s\t\n", row.ID, row.Size, row.Adds, row.Removes, row.BiddablePct, note)
	}
	w.Flush() // an error of standard output shows nowhere else either
	fmt.Fprintf(p.stdout, "%d visitors at %s\n", r.Visitors, r.At.Format(time.RFC3339))
}

func (p *program) rebuildVerb(ctx context.Context, args []string) int {
	fs := p.flags("audiences")
	admin := p.adminFlag(fs)
	id, _, status, done := p.parseNames(fs, args, "ID")
	if done {
		return status
	}
	if _, err := p.adminClient(*admin).call(ctx, http.MethodPost, audiencesPrefix+url.PathEscape(id)+"/rebuild", nil); err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintf(p.stdout, "rebuilding %s from the log; bidder audiences list shows when it is done\n", id)
	return cli.ExitDone
}

func (p *program) exportAudience(ctx context.Context, args []string) int {
	fs := p.flags("audiences")
	edge := fs.String("edge", "http://127.0.0.1:8081", "`URL` of the edge listener; REBOUND_KEY holds a key with the scope audiences")
	format := fs.String("format", "meta", "`format`: meta or google, which need --rows, or ids: keys of visitors")
	rows := fs.String("rows", "", "`file` of your customers, in the form of list upload, of which those in the audience are exported")
	country := fs.String("country", "", "`code` of the country of national phone numbers")
	id, _, status, done := p.parseNames(fs, args, "ID")
	if done {
		return status
	}
	var body []byte
	if *format != "ids" {
		var err error
		if body, err = readInput(*rows); err != nil || *rows == "" {
			fmt.Fprintf(p.stderr, "audiences export: got --rows %q; want a file of your customers, because Rebound keeps no hashes that %s could match\n", *rows, *format)
			return cli.ExitUsage
		}
	}
	key, _ := p.getenv(keyEnv)
	c := &apiClient{base: strings.TrimSuffix(*edge, "/"), key: key}
	query := url.Values{"format": {*format}}
	if *country != "" {
		query.Set("country", *country)
	}
	text, err := c.call(ctx, http.MethodPost, "/v1/audiences/"+url.PathEscape(id)+"/export?"+query.Encode(), body)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	if _, err := p.stdout.Write(text); err != nil {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// estimateAudience counts how many visitors an audience of a configuration, which need not
// be active, would have: it folds the log with the rules of the audience alone.
func (p *program) estimateAudience(ctx context.Context, args []string) int {
	fs := p.flags("audiences")
	path := fs.String("config", cli.Sample, "configuration `file` with the audience, which may be a draft")
	data := fs.String("data", "./data", "data `folder`, or a backup; it may be in use")
	days := fs.Int("days", 0, "count only what happened in the last `N` days (default: the whole log)")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	id, _, status, done := p.parseNames(fs, args, "ID")
	if done {
		return status
	}
	c, err := cli.LoadConfig(*path, config.Options{Getenv: p.getenv, Now: p.now()})
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	if c.AudienceSet.Audience(id) == nil {
		fmt.Fprintf(p.stderr, "audiences estimate: got %q; want one of %s\n", id, strings.Join(c.AudienceSet.IDs(), ", "))
		return cli.ExitUsage
	}
	var since time.Time
	if *days > 0 {
		since = p.now().AddDate(0, 0, -*days)
	}
	r, facts, err := estimate(ctx, c.AudienceSet, id, journal.FactsDir(*data), since, p.now())
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	if *asJSON {
		text, err := json.Marshal(r)
		if err != nil {
			fmt.Fprintln(p.stderr, err)
			return cli.ExitFailed
		}
		fmt.Fprintf(p.stdout, "%s\n", text)
		return cli.ExitDone
	}
	p.printAudiences(r)
	fmt.Fprintf(p.stdout, "from %d facts of the log\n", facts)
	return cli.ExitDone
}

// estimate folds the facts of a log into a store of its own, with the rules of one
// audience.
func estimate(ctx context.Context, set *audiences.Set, id, factsDir string, since, now time.Time) (r *audienceReport, facts int, err error) {
	dir, err := os.MkdirTemp("", "rebound-estimate-")
	if err != nil {
		return nil, 0, fmt.Errorf("cannot estimate: %w", err)
	}
	defer os.RemoveAll(dir)
	rules := []string{}
	for _, segment := range set.Audience(id).Segments() {
		rules = append(rules, set.Text(segment))
	}
	s, err := segments.Open(segments.Options{Dir: dir, CacheBytes: 1 << 20, Keyring: &rtb.Keyring{}, Rules: rules})
	if err != nil {
		return nil, 0, err
	}
	defer s.Close()
	err = journal.ReadFolder(ctx, factsDir, func(list []events.Fact) error {
		list = slices.DeleteFunc(list, func(f events.Fact) bool { return f.Kind == events.KindEvent && f.At.Before(since) })
		facts += len(list)
		if len(list) == 0 {
			return nil
		}
		return s.Apply(list)
	})
	if err != nil {
		return nil, 0, err
	}
	r, err = surveyOf(ctx, s, set, []string{id}, now)
	return r, facts, err
}
