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
// most 10 s until the last of them gets a bid at target. progress, if not nil, is called
// with the number of visitors sent so far.
func (t Traffic) Introduce(ctx context.Context, s Shop, target string, progress func(done, of int)) error {
	t = t.withDefaults()
	for from := 0; from < t.Visitors; from += batch {
		to := min(from+batch, t.Visitors)
		if err := t.sendEvents(ctx, s, from, to); err != nil {
			return err
		}
		if progress != nil {
			progress(to, t.Visitors)
		}
	}
	return t.awaitBid(ctx, target)
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
	code, response, err := post(ctx, s.EdgeURL+"/v1/events", "Bearer "+s.Key, body)
	if err != nil {
		return fmt.Errorf("cannot send visitor events to the edge listener at %s: %w", s.EdgeURL, err)
	}
	var reply struct {
		Accepted, Duplicates int
	}
	if code != http.StatusOK || json.Unmarshal(response, &reply) != nil || reply.Accepted+reply.Duplicates != len(events) {
		return fmt.Errorf("cannot send visitor events: got status %d and %.200s; want %d accepted events; check --key", code, response, len(events))
	}
	return nil
}

// errNoBid is returned when known visitors get no bids.
var errNoBid = errors.New("a known visitor got no bid")

// awaitBid sends requests for the last visitor until one gets a bid, for at most 10 s.
func (t Traffic) awaitBid(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	probe := fmt.Appendf(nil, `{"id":"lt-probe","test":1,"tmax":1000,"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]},"secure":1}],"site":{"id":"s","domain":"site1.example","page":"https://site1.example/"},"device":{"ua":%q,"geo":{"country":"CAN"}},"user":{"buyeruid":%q},"regs":{"gdpr":0}}`,
		agents[0], t.Visitor(t.Visitors-1))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		code, _, err := post(ctx, target, "", probe)
		if err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot start the attack: got status %d from %s for 10 s; want a bid: %w", code, target, errors.Join(errNoBid, err))
		case <-tick.C:
		}
	}
}

func post(ctx context.Context, url, auth string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	response, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, response, err
}
