package loadtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Attack sends bid requests at a constant rate that does not depend on the responses:
// the schedule is open.
type Attack struct {
	Target   string        // bid endpoint of one exchange
	Rate     int           // requests per second
	Duration time.Duration // how long the schedule runs
	Deadline time.Duration // a response within it counts as in time
	Bodies   [][]byte      // sent in rotation
	// Results, if not nil, receives every result in the binary format of vegeta.
	Results io.Writer
	// Progress, if not nil, is called about once per second with the number of responses.
	Progress func(done, scheduled int)
}

// MaxRequests limits the requests of one attack. Every latency is kept in memory, so
// that the percentiles are exact.
const MaxRequests = 20_000_000

// OnlyLoopback returns an error if the target is not this machine, so that a load test
// cannot hit another host by mistake.
func OnlyLoopback(target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("cannot parse target: got %q; want a URL such as http://127.0.0.1:8080/openrtb2/demo: %w", target, err)
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("cannot attack %s: got the host %q; want a loopback address, or --remote if you own the host", target, host)
}

// validate returns an error if the attack cannot run.
func (a *Attack) validate() error {
	switch {
	case a.Rate <= 0 || a.Duration <= 0:
		return fmt.Errorf("cannot attack: got rate %d and duration %s; want both above zero", a.Rate, a.Duration)
	case float64(a.Rate)*a.Duration.Seconds() > MaxRequests:
		return fmt.Errorf("cannot attack: got %d per second for %s; want at most %d requests in total", a.Rate, a.Duration, MaxRequests)
	case len(a.Bodies) == 0:
		return errors.New("cannot attack: got no requests to send; want at least one")
	}
	return nil
}

// Run executes the attack and returns its report. It returns when every scheduled
// request has been answered or has failed, or when ctx ends.
func (a *Attack) Run(ctx context.Context) (*Report, error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	pacer := &clockedPacer{Pacer: vegeta.ConstantPacer{Freq: a.Rate, Per: time.Second}}
	attacker := vegeta.NewAttacker(vegeta.KeepAlive(true), vegeta.HTTP2(false), vegeta.Connections(1024),
		vegeta.MaxConnections(0), vegeta.Workers(32), vegeta.Timeout(5*time.Second), vegeta.Redirects(vegeta.NoFollow))
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	run := newTally(a)
	var encode vegeta.Encoder
	if a.Results != nil {
		encode = vegeta.NewEncoder(a.Results)
	}
	lastReported := 0
	for res := range attacker.Attack(a.targeter(), pacer, a.Duration, "rebound") {
		run.add(res, pacer.scheduled(res.Seq, a.Rate))
		if encode != nil {
			if err := encode.Encode(res); err != nil {
				attacker.Stop()
				return nil, fmt.Errorf("cannot write results: %w", err)
			}
		}
		if a.Progress != nil && run.sent-lastReported >= a.Rate {
			lastReported = run.sent
			a.Progress(run.sent, run.scheduled)
		}
	}
	return run.report(), ctx.Err()
}

// targeter returns the bodies in rotation; vegeta calls it from many goroutines.
func (a *Attack) targeter() vegeta.Targeter {
	var next atomic.Uint64
	header := http.Header{"Content-Type": {"application/json"}, "X-Openrtb-Version": {"2.6"}}
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

// scheduled returns when request seq was due. The constant pacer of vegeta sends the
// first request after one interval.
func (p *clockedPacer) scheduled(seq uint64, rate int) time.Time {
	return p.began.Add(time.Duration(float64(seq+1) / float64(rate) * float64(time.Second)))
}

// isBid reports whether a response contains a bid.
func isBid(res *vegeta.Result) bool {
	return res.Code == http.StatusOK && bytes.Contains(res.Body, []byte(`"impid"`))
}
