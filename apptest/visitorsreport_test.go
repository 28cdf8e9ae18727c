package apptest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestVisitorsReport measures a running bidder: the delay from the append of an event until
// bids can see it, under EVENTS (5000) events a second and BIDS (5000) bid requests a second
// on the same machine as the load generators, the speed of list uploads, and the time from
// kill -9 until it is ready again. make visitors-report runs it; the test of the same name in
// segments measures the view at its full size.
func TestVisitorsReport(t *testing.T) {
	if os.Getenv("VISITORS") == "" {
		t.Skip("it measures and proves nothing; make visitors-report runs it")
	}
	const duration = 20 * time.Second
	perSecond, bids := rateOf(t, "EVENTS"), rateOf(t, "BIDS")
	b := startBidder(t)
	var attack sync.WaitGroup
	attack.Go(func() {
		status, out, errs := program(t, "loadtest", "attack", "--target", "http://"+b.Bid+"/openrtb2/demo", "--edge", "http://"+b.Edge,
			"--rate", strconv.Itoa(bids), "--duration", duration.String(), "--visitors", "20000", "--keep-going")
		t.Logf("bid requests at %d a second: exit status %d\n%s%s", bids, status, out, errs)
	})
	within(t, patience, "the visitors of the attack are known and bid requests arrive", func() bool {
		return b.metric("rebound_bidder_requests_total", "exchange", "demo") > float64(bids)
	})
	before, requests, began := b.buckets("rebound_collect_to_biddable_seconds"), b.metric("rebound_bidder_requests_total"), time.Now()
	sent, refused := b.sendEvents(perSecond, duration-5*time.Second)
	took := time.Since(began).Seconds()
	requests = b.metric("rebound_bidder_requests_total") - requests
	within(t, patience, "the events are folded", func() bool { return b.metric("rebound_journal_lag", "view", "segments") == 0 })
	after := b.buckets("rebound_collect_to_biddable_seconds")
	for i := range after {
		after[i].count -= before[i].count
	}
	t.Logf("%.0f events a second accepted and %d batches refused, next to %.0f bid requests a second: an event is biddable within %s (p50), %s (p99)",
		float64(sent)/took, refused, requests/took, quantile(after, 0.5), quantile(after, 0.99))
	attack.Wait()

	b.uploadRows(100_000)
	b.kill()
	began = time.Now()
	b.start()
	t.Logf("kill -9: ready again after %s", time.Since(began).Round(time.Millisecond))
}

func rateOf(t *testing.T, variable string) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return 5000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s: got %q; want a number a second", variable, text)
	}
	return n
}

// sendEvents posts batches of 100 events of 100,000 visitors on schedule, and returns how many
// events were accepted and how many batches were refused.
func (b *bidder) sendEvents(perSecond int, d time.Duration) (sent, refused int) {
	b.t.Helper()
	const batch = 100
	rnd := rand.New(rand.NewPCG(5, 6))
	began := time.Now()
	for n := 0; time.Since(began) < d; n += batch {
		if ahead := time.Duration(float64(n)/float64(perSecond)*float64(time.Second)) - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		}
		var body bytes.Buffer
		for range batch {
			fmt.Fprintf(&body, `{"event":"view_item","user":{"uid":"load-%d"},"items":[{"id":"SKU%d"}],"consent":{"gdpr":0}}`+"\n", rnd.IntN(100_000), 1+rnd.IntN(40))
		}
		rs, answer := call(b.t, nil, http.MethodPost, "http://"+b.Edge+"/v1/events", "application/json", body.Bytes(), "Authorization", "Bearer demo-shop-key")
		if rs.StatusCode != http.StatusOK {
			refused++
			continue
		}
		accepted, _ := num(parse(b.t, answer)["accepted"])
		sent += int(accepted)
	}
	return sent, refused
}

// uploadRows uploads a list and prints the rows per second until its job is done.
func (b *bidder) uploadRows(rows int) {
	b.t.Helper()
	var file strings.Builder
	file.WriteString("email_sha256\n")
	for i := range rows {
		file.WriteString(emailHash(i) + "\n")
	}
	path := filepath.Join(b.t.TempDir(), "customers.csv")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.t.Setenv("REBOUND_KEY", "demo-shop-key")
	began := time.Now()
	if status, out, errs := program(b.t, "bidder", "list", "upload", "vip", path, "--edge", "http://"+b.Edge, "--consent-granted"); status != 0 {
		b.t.Fatalf("upload: exit status %d: %s%s", status, out, errs)
	}
	took := time.Since(began)
	b.t.Logf("list: %d rows uploaded and stored in %s: %.0f rows a second", rows, took.Round(time.Millisecond), float64(rows)/took.Seconds())
}

// bucket is one of a histogram: how many values are at most le seconds.
type bucket struct {
	le    float64
	count float64
}

var bucketLine = regexp.MustCompile(`le="([^"]+)"[^}]*\} (\S+)`)

func (b *bidder) buckets(name string) (out []bucket) {
	b.t.Helper()
	_, text := b.get("http://" + b.Admin + "/metrics")
	for line := range strings.Lines(text) {
		if m := bucketLine.FindStringSubmatch(line); m != nil && strings.HasPrefix(line, name+"_bucket{") {
			le, err := strconv.ParseFloat(m[1], 64)
			count, err2 := strconv.ParseFloat(m[2], 64)
			if err != nil || err2 != nil {
				b.t.Fatalf("metric %s: cannot read %q", name, line)
			}
			out = append(out, bucket{le, count})
		}
	}
	if len(out) == 0 {
		b.t.Fatalf("metric %s: got no buckets", name)
	}
	return out
}

// quantile returns a quantile of a histogram, interpolated within its bucket.
func quantile(list []bucket, q float64) time.Duration {
	want, last := q*list[len(list)-1].count, bucket{}
	for _, b := range list {
		if b.count >= want && b.count > last.count {
			share := (want - last.count) / (b.count - last.count)
			return time.Duration((last.le + share*(b.le-last.le)) * float64(time.Second)).Round(time.Millisecond)
		}
		last = b
	}
	return 0
}
