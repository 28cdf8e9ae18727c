package loadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Shop is the advertiser whose visitors are created before an attack.
type Shop struct {
	// EdgeURL is the base URL of the edge listener, e.g. http://127.0.0.1:8081.
	EdgeURL string
	// Key authenticates server events of the advertiser.
	Key string
	// Products are the item ids that visitors view, in rotation.
	Products []string
}

const batch = 500

// Introduce sends one view_item server event for each known visitor, then waits for at
// most 10 s until the last of them gets a bid from the attack's target. A target that
// refuses or does not answer is an error at once. progress, if not nil, is called with
// the number of visitors sent so far.
func (t Traffic) Introduce(ctx context.Context, s Shop, a *Attack, progress func(done, of int)) error {
	t = t.withDefaults()
	if err := a.Probe(ctx, t.probe()); err != nil {
		return err
	}
	for from := 0; from < t.Visitors; from += batch {
		to := min(from+batch, t.Visitors)
		if err := t.sendEvents(ctx, s, from, to); err != nil {
			return err
		}
		if progress != nil {
			progress(to, t.Visitors)
		}
	}
	return a.awaitBid(ctx, t.probe())
}

func (t Traffic) sendEvents(ctx context.Context, s Shop, from, to int) error {
	type item struct {
		ID string `json:"id"`
	}
	type event struct {
		Event   string            `json:"event"`
		EventID string            `json:"event_id"`
		User    map[string]string `json:"user"`
		Items   []item            `json:"items"`
	}
	events := make([]event, 0, to-from)
	for n := from; n < to; n++ {
		id := t.Visitor(n)
		events = append(events, event{Event: "view_item", EventID: "intro-" + id, User: map[string]string{"uid": id},
			Items: []item{{ID: s.Products[n%len(s.Products)]}}})
	}
	body, err := json.Marshal(events)
	if err != nil {
		return fmt.Errorf("cannot encode events: %w", err)
	}
	code, response, err := postEvents(ctx, s, body)
	if err != nil {
		return fmt.Errorf("cannot send visitor events to the edge listener; start the bidder or check --edge: %w", err)
	}
	var reply struct {
		Accepted, Duplicates int
	}
	if code != http.StatusOK || json.Unmarshal(response, &reply) != nil || reply.Accepted+reply.Duplicates != len(events) {
		return fmt.Errorf("cannot send visitor events: got status %d and %.200s; want %d accepted events; check --key-env or --key, and --edge", code, response, len(events))
	}
	return nil
}

// Waits between attempts to send events to a bidder that has no capacity at present.
const (
	busyWait     = 500 * time.Millisecond
	busyAttempts = 60
)

// postEvents sends a batch of events. While the bidder answers 503, because its log or
// its views are behind, or 429, because it limits the events of an advertiser, the same
// batch is sent again.
func postEvents(ctx context.Context, s Shop, body []byte) (code int, response []byte, err error) {
	for range busyAttempts {
		code, response, err = post(ctx, s.EdgeURL+"/v1/events", body, "Authorization", "Bearer "+s.Key)
		if err != nil || code != http.StatusServiceUnavailable && code != http.StatusTooManyRequests {
			break
		}
		if err = sleep(ctx, busyWait); err != nil {
			break
		}
	}
	return code, response, err
}

// errNoBid is returned when known visitors get no bids.
var errNoBid = errors.New("a known visitor got no bid: check that the shop of --key has a running line for the exchange of --target, with budget left")

// probe returns a test request of the last visitor, which costs no money.
func (t Traffic) probe() []byte {
	return fmt.Appendf(nil, `{"id":"lt-probe","test":1,"tmax":1000,"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]},"secure":1}],"site":{"id":"s","domain":"site1.example","page":"https://site1.example/"},"device":{"ua":%q,"ip":"198.51.100.7","devicetype":2,"language":"en","geo":{"country":"CAN","region":"ON","zip":"M5V"}},"user":{"buyeruid":%q},"regs":{"gdpr":0}}`,
		agents[0], t.Visitor(t.Visitors-1))
}

// probeTimeout is how long the target has for the first request.
const probeTimeout = 2 * time.Second

// Probe sends one request and returns an error with the cause and its remedy unless
// the target answers with 200 or 204.
func (a *Attack) Probe(ctx context.Context, body []byte) error {
	limited, cancel := context.WithTimeout(ctx, max(probeTimeout, a.Deadline))
	defer cancel()
	code, err := a.ask(limited, body)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("cannot start the attack: %s", Interrupted)
	case err != nil:
		return fmt.Errorf("cannot start the attack: %s", a.explain(0, err.Error()))
	case !isAnswer(uint16(code)):
		return fmt.Errorf("cannot start the attack: %s", a.explain(code, ""))
	}
	return nil
}

// ask sends one request to the target and returns the status of the response.
func (a *Attack) ask(ctx context.Context, body []byte) (int, error) {
	var header []string
	if a.Secret != "" {
		header = []string{SecretHeader, a.Secret}
	}
	code, _, err := post(ctx, a.Target, body, header...)
	return code, err
}

// awaitBid sends requests until one gets a bid, for at most 10 s. An answer other
// than 204 ends it at once.
func (a *Attack) awaitBid(ctx context.Context, probe []byte) error {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		code, err := a.ask(limited, probe)
		switch {
		case err == nil && code == http.StatusOK:
			return nil
		case err != nil && limited.Err() == nil:
			return fmt.Errorf("cannot start the attack: %s", a.explain(0, err.Error()))
		case err == nil && code != http.StatusNoContent:
			return fmt.Errorf("cannot start the attack: %s", a.explain(code, ""))
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("cannot start the attack: %s", Interrupted)
			}
			return fmt.Errorf("cannot start the attack: got status %d from %s for 10 s; want a bid: %w", code, Redact(a.Target), errNoBid)
		case <-tick.C:
		}
	}
}

// probes is the client of single requests. It follows no redirect, as the attack
// follows none.
var probes = &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// post sends a JSON body with headers, given as names and values.
func post(ctx context.Context, url string, body []byte, header ...string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := probes.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	response, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, response, err
}
