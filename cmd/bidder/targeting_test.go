package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ask sends one bid request for a visitor on a site, and gives the number of bids,
// or the no-bid's code.
func (r *running) ask(visitor, exchange, domain string) (bids, nbr int) {
	r.t.Helper()
	status, body := r.do("POST", "http://"+r.at.Bid+"/openrtb2/"+exchange, fmt.Sprintf(`{"id":"q","at":2,"cur":["USD"],
		"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"domain":%q,"page":"https://%s/a","publisher":{"id":"p1"}},
		"device":{"ua":"Mozilla/5.0 (X11; Linux x86_64) Chrome/130","ip":"203.0.113.7","geo":{"country":"CAN"}},"user":{"buyeruid":%q}}`, domain, domain, visitor))
	if status == 204 {
		return 0, -1
	}
	var answer struct {
		NBR     int
		SeatBid []struct{ Bid []struct{ Price float64 } }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		r.t.Fatalf("got %d %s", status, body)
	}
	for _, s := range answer.SeatBid {
		bids += len(s.Bid)
	}
	return bids, answer.NBR
}

// The sample of targeting runs: it bids, loads a changed list without a signal,
// and applies approvals from the admin listener across a restart.
func TestTargetingSample(t *testing.T) {
	dir := filepath.Dir(filepath.Dir(copyShop(t)))
	file, data := filepath.Join(dir, "targeting", "rebound.yaml"), filepath.Join(t.TempDir(), "data")
	r := startProgram(t, file, data)
	for _, visitor := range []string{"u1", "u2"} {
		event := fmt.Sprintf(`{"event":"view_item","event_id":%q,"user":{"uid":%q},"ts":%q}`, "e-"+visitor, visitor, time.Now().UTC().Format(time.RFC3339))
		if status, body := r.do("POST", "http://"+r.at.Edge+"/v1/events", event+"\n"); status/100 != 2 {
			t.Fatalf("got %d %s", status, body)
		}
	}
	eventually(t, "a bid", func() bool { n, _ := r.ask("u1", "demo", "quiet.example"); return n == 1 })
	if n, nbr := r.ask("u1", "demo", "m.piracy.example"); n != 0 || nbr != 7 {
		t.Errorf("a blocked site: got %d bids, nbr %d; want nbr 7", n, nbr)
	}

	f, err := os.OpenFile(filepath.Join(dir, "targeting", "lists", "blocked-sites.txt"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("quiet.example\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the changed list is in use", func() bool { _, nbr := r.ask("u2", "demo", "quiet.example"); return nbr == 7 })

	approve := func(creative, body string) (int, string) {
		return r.do("PUT", "http://"+r.at.Admin+"/admin/creatives/"+creative+"/approval", body)
	}
	for _, c := range []struct {
		creative, body string
		status         int
	}{
		{"cart", `{"exchange":"demo","state":"rejected"}`, 404}, {"card", `{"exchange":"demmo","state":"rejected"}`, 400}, {"card", `{"exchange":"demo","state":"no"}`, 400},
		{"card", `{"exchange":"demo"}`, 400}, {"card", `{"exchange":"demo","state":"rejected","why":"x"}`, 400}, {"card", ``, 400},
		{"card", `{"exchange":"demo","state":"rejected","by":"` + strings.Repeat("x", 129) + `"}`, 400},
		{"card", `{"exchange":"demo","state":"rejected","by":"review"}`, 200},
	} {
		if status, body := approve(c.creative, c.body); status != c.status {
			t.Errorf("%s %s: got %d %s; want %d", c.creative, c.body, status, body, c.status)
		}
	}
	if n, _ := r.ask("u1", "demo", "other.example"); n != 0 {
		t.Error("a rejected creative is shown")
	}
	if n, _ := r.ask("u1", "strict", "other.example"); n != 1 {
		t.Error("a rejection at one exchange holds at another")
	}
	r.stop()
	r = startProgram(t, file, data)
	if n, _ := r.ask("u1", "demo", "other.example"); n != 0 {
		t.Error("the rejection did not survive the restart")
	}
	if status, body := approve("card", `{"exchange":"demo","state":"approved"}`); status != 200 || !strings.Contains(body, `"crid":"card-`) {
		t.Errorf("got %d %s", status, body)
	}
	if n, _ := r.ask("u1", "demo", "other.example"); n != 1 {
		t.Error("an approved creative is not shown")
	}
}
