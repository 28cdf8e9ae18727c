package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rebound/internal/cli"
	"rebound/rtb"
)

// userVerb prints what a running bidder knows of whoever is behind an identifier.
func (p *program) userVerb(ctx context.Context, args []string) int {
	fs := p.flags("user")
	admin := p.adminFlag(fs)
	advertiser := fs.String("advertiser", "", "`id` of the advertiser to which an xid, em or ph belongs")
	bids := fs.Int("bids", userBids, "how many of the last bids to show")
	all := fs.Bool("all", false, "show the audiences, too, that the visitor is not in")
	asJSON := fs.Bool("json", false, "print JSON, as GET /admin/users/{id} returns it")
	id, _, status, done := p.parseNames(fs, args, "ID")
	if done {
		return status
	}
	query := url.Values{"bids": {strconv.Itoa(*bids)}}
	if *advertiser != "" {
		query.Set("advertiser", *advertiser)
	}
	rs, code, err := p.adminClient(*admin).get(ctx, usersPrefix+url.PathEscape(id)+"?"+query.Encode())
	var r userReport
	if err == nil {
		err = json.Unmarshal(rs, &r)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	if *asJSON {
		fmt.Fprintln(p.stdout, strings.TrimSpace(string(rs)))
	} else {
		r.write(p.stdout, *all)
	}
	if code != http.StatusOK {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// get requests a path and returns the body of a response that is 200 or 404.
func (c *apiClient) get(ctx context.Context, path string) (body []byte, status int, err error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot call %s: %w", c.base, err)
	}
	if c.key != "" {
		rq.Header.Set("Authorization", "Bearer "+c.key)
	}
	rs, err := http.DefaultClient.Do(rq)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot call the bidder: %w", err)
	}
	defer rs.Body.Close()
	if body, err = io.ReadAll(rs.Body); err != nil {
		return nil, 0, fmt.Errorf("cannot read response of the bidder: %w", err)
	}
	if rs.StatusCode != http.StatusOK && rs.StatusCode != http.StatusNotFound {
		return nil, rs.StatusCode, fmt.Errorf("cannot get %s: got status %d: %s", path, rs.StatusCode, strings.TrimSpace(string(body)))
	}
	return body, rs.StatusCode, nil
}

// write writes the report as text. With all, it lists every audience.
func (r *userReport) write(w io.Writer, all bool) {
	if len(r.Visitors) == 0 {
		fmt.Fprintln(w, "no visitor is known by this identifier")
	}
	for i := range r.Visitors {
		r.Visitors[i].write(w, r.At, all)
	}
	if len(r.LastBids) > 0 {
		fmt.Fprintln(w, "last bids")
	}
	for i := range r.LastBids {
		r.LastBids[i].write(w)
	}
	if !r.BidsWhole {
		fmt.Fprintln(w, "  older bid records may exist; only the newest files were searched")
	}
}

func (u *userProfile) write(w io.Writer, now time.Time, all bool) {
	state := "known"
	switch {
	case u.OptedOut:
		state = "opted out"
	case !u.Known:
		state = "no profile"
	}
	fmt.Fprintf(w, "visitor %s: %s\n", u.Key, state)
	if len(u.Identifiers) > 0 {
		fmt.Fprintf(w, "  identifiers: %s\n", strings.Join(u.Identifiers, ", "))
	}
	for i := range u.Segments {
		s := &u.Segments[i]
		fmt.Fprintf(w, "  segment %s: %d, first %s, last %s (%s)\n", s.Rule, s.Count, s.First.Format(time.RFC3339), s.Last.Format(time.RFC3339), formatAge(s.Last, now))
	}
	for i := range u.Products {
		x := &u.Products[i]
		fmt.Fprintf(w, "  product %s of %s: %s, %s\n", x.ID, x.Advertiser, productAction(x.Kind), formatAge(x.Last.Time(), now))
	}
	for i := range u.Audiences {
		if a := &u.Audiences[i]; all || a.In || a.Excluded {
			fmt.Fprintf(w, "  audience %s\n", a.Text())
		}
	}
	for i := range u.Frequency {
		fmt.Fprintf(w, "  frequency of %s: %s\n", u.Frequency[i].Line, u.Frequency[i].Text)
	}
}

func (b *userBid) write(w io.Writer) {
	fmt.Fprintf(w, "  %s %s", b.TS.UTC().Format(time.RFC3339), b.Exchange)
	if len(b.Bids) == 0 {
		fmt.Fprintf(w, ": no bid, %s", b.NoBid)
	}
	for i := range b.Bids {
		x := &b.Bids[i]
		fmt.Fprintf(w, ": %s/%s/%s at %s", x.Advertiser, x.Campaign, x.Line, x.Price)
	}
	for i := range b.Dropped {
		if x := &b.Dropped[i]; x.Reason != rtb.NoBidNone {
			fmt.Fprintf(w, "; %s/%s/%s: %s", x.Advertiser, x.Campaign, x.Line, x.Reason)
		}
	}
	fmt.Fprintln(w)
}

func productAction(k rtb.ProductKind) string {
	switch k {
	case rtb.ProductViewed:
		return "viewed"
	case rtb.ProductWished:
		return "on a wish list"
	case rtb.ProductCarted:
		return "in the cart"
	case rtb.ProductBought:
		return "bought"
	}
	return "unknown action"
}
