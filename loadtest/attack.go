package loadtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Attack sends bid requests at a constant rate that does not depend on the responses:
// the schedule is open.
type Attack struct {
	Target   string        // bid endpoint of one exchange
	Secret   string        // sent in the X-Rebound-Secret header; empty: none
	Rate     int           // requests per second
	Duration time.Duration // how long the schedule runs
	Deadline time.Duration // a response within it counts as in time
	Bodies   [][]byte      // sent in rotation
	// Offsets, if not nil, are when each body is due after the start, ascending: the
	// requests are sent once, at these times instead of at a constant rate, until the
	// duration has passed.
	Offsets []time.Duration
	// Conns is how many connections the sender Poll opens; zero means one for each request
	// that is due within twice the deadline, as far as descriptors are available.
	Conns int
	// Now is the clock of the sender Poll; vegeta reads its own.
	Now func() time.Time
	// KeepGoing continues the attack when every response of a whole second is an error.
	KeepGoing bool
	// Sender is what sends the requests: Vegeta, the default, or Poll.
	Sender string
	// Results, if not nil, receives every result in the binary format of vegeta.
	Results io.Writer
	// Progress, if not nil, is called about five times per second with the number of
	// responses.
	Progress func(done, scheduled int)
}

// The senders of an attack.
const (
	// Vegeta is vegeta's library: a goroutine and an HTTP client for each request in flight.
	Vegeta = "vegeta"
	// Poll is one thread that polls keep-alive connections without sleeping. It sends
	// several times as many requests with one core, to an http target on Linux. Each
	// request gets an id of its own, which is also in the placements of its impressions. Above 1,000 requests per second
	// quantiles come from a histogram and are up to 1.6 % too high.
	Poll = "poll"
)

// sender returns the name of the sender.
func (a *Attack) sender() string { return cmp.Or(a.Sender, Vegeta) }

// Limits of one attack.
const (
	// MaxRequests limits the requests: every latency is kept in memory, so that the
	// percentiles are exact, except with the sender Poll above 1,000 requests per second.
	MaxRequests = 20_000_000
	// MaxRate is more requests per second than one machine can send.
	MaxRate = 1_000_000
	// MaxDuration limits the time that the schedule takes.
	MaxDuration = 24 * time.Hour
	// MaxDeadline is longer than any exchange waits.
	MaxDeadline = time.Minute
)

// minTimeout is the shortest time that the attack waits for one response.
const minTimeout = 5 * time.Second

// requests returns the number of requests in the schedule.
func (a *Attack) requests() int {
	if a.Offsets != nil {
		n, _ := slices.BinarySearch(a.Offsets, a.Duration)
		return min(n, len(a.Bodies))
	}
	return int(float64(a.Rate) * a.Duration.Seconds())
}

// due returns when request seq is due after the start. The constant pacer of vegeta
// sends the first request after one interval.
func (a *Attack) due(seq uint64) time.Duration {
	if a.Offsets != nil {
		return a.Offsets[min(seq, uint64(len(a.Offsets)-1))]
	}
	return time.Duration(float64(seq+1) / float64(a.Rate) * float64(time.Second))
}

// Validate returns an error if the attack cannot run.
func (a *Attack) Validate() error {
	switch {
	case a.Offsets != nil && (len(a.Offsets) != len(a.Bodies) || !slices.IsSorted(a.Offsets) || a.Offsets[0] < 0):
		return fmt.Errorf("cannot attack: got %d times for %d requests; want as many, ascending", len(a.Offsets), len(a.Bodies))
	case a.Offsets == nil && (a.Rate < 1 || a.Rate > MaxRate):
		return fmt.Errorf("cannot attack: got a rate of %d requests per second; want 1 to %d", a.Rate, MaxRate)
	case a.Duration <= 0 || a.Duration > MaxDuration:
		return fmt.Errorf("cannot attack: got a duration of %s; want more than zero and at most %s", a.Duration, MaxDuration)
	case a.Deadline < time.Millisecond || a.Deadline > MaxDeadline:
		return fmt.Errorf("cannot attack: got a deadline of %s; want 1ms to %s", a.Deadline, MaxDeadline)
	case a.Offsets == nil && float64(a.Rate)*a.Duration.Seconds() > MaxRequests:
		return fmt.Errorf("cannot attack: got %d requests per second for %s; want at most %d requests in total", a.Rate, a.Duration, MaxRequests)
	case a.sender() != Vegeta && a.sender() != Poll:
		return fmt.Errorf("cannot attack: got the sender %q; want %s or %s", a.Sender, Vegeta, Poll)
	case a.Sender == Poll && a.Now == nil:
		return fmt.Errorf("cannot attack: want a clock for the sender %s", Poll)
	case a.Sender == Poll && a.Results != nil:
		return fmt.Errorf("cannot attack: the sender %s writes no results; use the sender %s", Poll, Vegeta)
	case a.requests() < 1:
		return fmt.Errorf("cannot attack: got %d requests per second for %s, which is less than one request; want a higher rate or a longer duration", a.Rate, a.Duration)
	}
	return ValidateURL(a.Target)
}

// Run executes the attack and returns its report. It returns when every scheduled
// request has been answered or has failed; when ctx ends, or when every response of
// a whole second is an error, it stops early, and the report says so in Stopped. The
// report is nil only if the attack could not begin.
func (a *Attack) Run(ctx context.Context) (*Report, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	if len(a.Bodies) == 0 {
		return nil, errors.New("cannot attack: got no requests to send; want at least one")
	}
	if a.Sender == Poll {
		return a.poll(ctx)
	}
	pacer := &clockedPacer{Pacer: a.pacer()}
	inFlight, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	client, closeIdle := a.client(inFlight)
	defer closeIdle()
	attacker := vegeta.NewAttacker(vegeta.Client(client), vegeta.Workers(32))
	run, w := newTally(a), &watch{attack: a, tick: time.NewTicker(watchEvery), halt: func() { attacker.Stop() }, cancel: cancel}
	defer w.tick.Stop()
	save := a.saver()
	results := attacker.Attack(a.targeter(), pacer, a.Duration, "rebound")
	var failed error
	done := ctx.Done()
	for {
		select {
		case res, more := <-results:
			if !more {
				return run.report(w.stopped), failed
			}
			if !w.see(res) {
				continue
			}
			run.add(res, pacer.began.Add(a.due(res.Seq)))
			if err := save(res); err != nil && failed == nil {
				failed = fmt.Errorf("cannot write results: %w", err)
				w.stop("the results could not be written")
			}
		case now := <-w.tick.C:
			if reason := w.check(now); reason != "" {
				w.stop(reason)
			}
			if a.Progress != nil {
				a.Progress(run.sent, run.scheduled)
			}
		case <-done:
			done = nil
			w.stop(Interrupted)
		}
	}
}

// client returns the HTTP client of the attack, whose requests end with ctx, and a
// function that closes its idle connections.
func (a *Attack) client(ctx context.Context) (client *http.Client, closeIdle func()) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1024, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	return &http.Client{Timeout: max(minTimeout, a.Deadline), Transport: cancellable{transport, ctx},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, transport.CloseIdleConnections
}

// cancellable is a transport whose requests also end with ctx, because vegeta gives
// its requests no context.
type cancellable struct {
	*http.Transport
	ctx context.Context
}

// RoundTrip implements http.RoundTripper.
func (c cancellable) RoundTrip(rq *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(rq.Context())
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Canceled) })
	rs, err := c.Transport.RoundTrip(rq.WithContext(ctx))
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	rs.Body = &closingBody{rs.Body, func() { stop(); cancel(nil) }}
	return rs, nil
}

// closingBody calls a function when the body is closed.
type closingBody struct {
	io.ReadCloser
	closed func()
}

// Close implements io.Closer.
func (b *closingBody) Close() error {
	err := b.ReadCloser.Close()
	b.closed()
	return err
}

// saver returns a function that writes a result to Results, without the secret.
func (a *Attack) saver() func(*vegeta.Result) error {
	if a.Results == nil {
		return func(*vegeta.Result) error { return nil }
	}
	encode := vegeta.NewEncoder(a.Results)
	return func(res *vegeta.Result) error {
		res.URL, res.Error = Redact(res.URL), a.redactText(res.Error)
		return encode.Encode(res)
	}
}

// header returns the headers of every request.
func (a *Attack) header() http.Header {
	header := http.Header{"Content-Type": {"application/json"}, "X-Openrtb-Version": {"2.6"}}
	if a.Secret != "" {
		header.Set(SecretHeader, a.Secret)
	}
	return header
}

// targeter returns the bodies in rotation; vegeta calls it from many goroutines.
func (a *Attack) targeter() vegeta.Targeter {
	var next atomic.Uint64
	header := a.header()
	return func(t *vegeta.Target) error {
		n := next.Add(1) - 1
		t.Method, t.URL, t.Header = http.MethodPost, a.Target, header
		t.Body = a.Bodies[n%uint64(len(a.Bodies))]
		return nil
	}
}

// clockedPacer records when the schedule of vegeta began; results contain only the
// time at which a worker sent the request.
type clockedPacer struct {
	vegeta.Pacer
	began time.Time
}

// Pace is called by one goroutine, before the first request is sent.
func (p *clockedPacer) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	if p.began.IsZero() {
		p.began = time.Now().Add(-elapsed)
	}
	return p.Pacer.Pace(elapsed, hits)
}

// pacer returns the schedule of the requests.
func (a *Attack) pacer() vegeta.Pacer {
	if a.Offsets != nil {
		return recordedPacer(a.Offsets[:a.requests()])
	}
	return vegeta.ConstantPacer{Freq: a.Rate, Per: time.Second}
}

// recordedPacer sends each request at its own time.
type recordedPacer []time.Duration

// Pace implements vegeta.Pacer.
func (p recordedPacer) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	if hits >= uint64(len(p)) {
		return 0, true
	}
	return max(p[hits]-elapsed, 0), false
}

// Rate implements vegeta.Pacer: it is the mean rate.
func (p recordedPacer) Rate(time.Duration) float64 {
	return float64(len(p)) / max(p[len(p)-1].Seconds(), 1e-3)
}

// isBid reports whether a response contains a bid.
func isBid(res *vegeta.Result) bool {
	return res.Code == http.StatusOK && bytes.Contains(res.Body, []byte(`"impid"`))
}
