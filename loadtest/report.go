package loadtest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Report is the result of an attack. Shares are percentages, times are milliseconds. It
// contains no secret.
type Report struct {
	Target         string         `json:"target"`
	Stopped        string         `json:"stopped,omitempty"` // why the attack ended early
	Scheduled      int            `json:"scheduled"`         // requests in the schedule
	Sent           int            `json:"sent"`              // requests sent
	SentPct        float64        `json:"sent_pct"`          // Sent / Scheduled
	OnSchedulePct  float64        `json:"on_schedule_pct"`   // sent at most 10 ms late / Scheduled
	Seconds        float64        `json:"seconds"`           // from the first due time to the last response
	RateWanted     int            `json:"rate_wanted"`       // per second
	RateAchieved   float64        `json:"rate_achieved"`     // per second, over the schedule
	Statuses       map[string]int `json:"statuses"`          // by HTTP status; "0" means no response
	Errors         map[string]int `json:"errors,omitempty"`  // by message, at most 10 different ones
	ErrorStatuses  int            `json:"error_statuses"`    // neither 200 nor 204
	Bids           int            `json:"bids"`              // responses with a bid
	BidPct         float64        `json:"bid_pct"`           // Bids / Sent
	DeadlineMS     float64        `json:"deadline_ms"`       // limit for a response in time
	InsideDeadline float64        `json:"in_time_pct"`       // of Sent, from the scheduled time
	Latency        Quantiles      `json:"latency_ms"`        // from the scheduled time to the response
	ServiceLatency Quantiles      `json:"service_ms"`        // from the actual send to the response
	ScheduleLag    Quantiles      `json:"schedule_lag_ms"`   // how late requests were sent
	PerSecond      []Second       `json:"per_second"`        // by scheduled second
	Checked        int            `json:"checked"`           // responses whose validity was checked
	Invalid        []string       `json:"invalid,omitempty"` // what was wrong with them, at most 10

	Sender         string  `json:"sender"`               // what sent the requests: vegeta or poll
	AnsweredInTime float64 `json:"answered_in_time_pct"` // of the responses with 200 or 204, from the scheduled time
	// NoConnection counts requests that the sender poll did not send, because each
	// connection had a request without a response when they were due.
	NoConnection int `json:"no_connection,omitempty"`
}

// Quantiles of a duration in milliseconds.
type Quantiles struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// Second is one second of the schedule.
type Second struct {
	Sent int     `json:"sent"`
	Bids int     `json:"bids"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
}

const onTime = 10 * time.Millisecond

// tally accumulates results.
type tally struct {
	attack          *Attack
	scheduled, sent int
	bids, bad       int
	unsent          int // because no connection was free
	onSchedule      int
	inTime          int
	statuses        map[uint16]int
	errors          map[string]int
	latency         durations
	service, lag    durations
	seconds         []durations
	perSecond       []int // requests
	secondBids      []int
	checked         int
	invalid         []string
	request         func(*vegeta.Result) []byte // the request of a bid; nil: unknown
	first, lastDue  time.Time                   // due times
	last            time.Time                   // of the last response
}

func newTally(a *Attack) *tally {
	secs := int(a.Duration.Seconds()) + 1
	t := &tally{attack: a, scheduled: a.requests(), statuses: map[uint16]int{}, errors: map[string]int{},
		latency: a.durations(), service: a.durations(), lag: a.durations(), seconds: make([]durations, secs), perSecond: make([]int, secs), secondBids: make([]int, secs),
		request: func(res *vegeta.Result) []byte { return a.requestOf(res.Body) }}
	for i := range t.seconds {
		t.seconds[i] = a.durations()
	}
	return t
}

// durations collects durations and returns their quantiles.
type durations interface {
	add(time.Duration)
	quantiles() Quantiles
}

// durations returns an empty collection. At a high rate, growing a list would disturb the
// schedule of the sender poll.
func (a *Attack) durations() durations {
	if a.Sender == Poll && a.Rate > 1000 {
		return &histogram{}
	}
	return &exact{}
}

// exact keeps every duration.
type exact []time.Duration

func (e *exact) add(d time.Duration) { *e = append(*e, d) }

func (e *exact) quantiles() Quantiles { return quantiles(*e) }

// add counts one result, whose request was due at the given time.
func (t *tally) add(res *vegeta.Result, due time.Time) {
	if t.sent == 0 || due.Before(t.first) {
		t.first = due
	}
	if due.After(t.lastDue) {
		t.lastDue = due
	}
	if end := res.End(); end.After(t.last) {
		t.last = end
	}
	t.sent++
	lag := max(res.Timestamp.Sub(due), 0)
	total := lag + res.Latency
	t.lag.add(lag)
	t.service.add(res.Latency)
	t.latency.add(total)
	if lag <= onTime {
		t.onSchedule++
	}
	ok := isAnswer(res.Code)
	if ok && total <= t.attack.Deadline {
		t.inTime++
	}
	t.statuses[res.Code]++
	if !ok {
		t.bad++
		text := t.attack.redactText(res.Error)
		if _, known := t.errors[text]; known || len(t.errors) < 10 {
			t.errors[text]++
		}
	}
	sec := min(int(t.attack.due(res.Seq)/time.Second), len(t.seconds)-1)
	t.seconds[sec].add(total)
	t.perSecond[sec]++
	if isBid(res) {
		t.bids++
		t.secondBids[sec]++
		t.check(res)
	}
}

// checkEvery is how many bids go by between two whose validity is checked.
const checkEvery = 50

// check checks a sample of the bids against their requests, which it finds by the ids
// that generated requests have.
func (t *tally) check(res *vegeta.Result) {
	if t.bids%checkEvery != 1 {
		return
	}
	request := t.request(res)
	if request == nil {
		return
	}
	t.checked++
	if err := CheckResponse(request, int(res.Code), res.Body); err != nil && len(t.invalid) < maxInvalidKept {
		t.invalid = append(t.invalid, err.Error())
	}
}

// requestOf returns the generated request to which a response belongs, or nil.
func (a *Attack) requestOf(response []byte) []byte {
	digits, ok := bytes.CutPrefix(response, []byte(requestIDPrefix))
	if !ok || len(digits) < requestIDDigits {
		return nil
	}
	n, err := strconv.ParseUint(string(digits[:requestIDDigits]), 16, 64)
	if err != nil || n >= uint64(len(a.Bodies)) {
		return nil
	}
	return a.Bodies[n]
}

// report returns the report; stopped is why the attack ended early, if it did.
func (t *tally) report(stopped string) *Report {
	took := t.attack.Duration
	if stopped != "" { // the schedule ended with the last request that was sent
		took = min(took, max(t.lastDue.Sub(t.first), time.Second/time.Duration(max(t.attack.Rate, 1))))
	}
	statuses, answered := map[string]int{}, 0
	for code, n := range t.statuses {
		statuses[strconv.Itoa(int(code))] = n
		if isAnswer(code) {
			answered += n
		}
	}
	r := &Report{Sender: t.attack.sender(), NoConnection: t.unsent, AnsweredInTime: pct(t.inTime, answered), Target: Redact(t.attack.Target), Stopped: stopped, Scheduled: t.scheduled, Sent: t.sent, RateWanted: t.attack.Rate,
		SentPct: pct(t.sent, t.scheduled), OnSchedulePct: pct(t.onSchedule, t.scheduled),
		Seconds: t.last.Sub(t.first).Seconds(), RateAchieved: float64(t.sent) / took.Seconds(),
		Checked: t.checked, Invalid: t.invalid, Statuses: statuses, Errors: t.errors, ErrorStatuses: t.bad, Bids: t.bids, BidPct: pct(t.bids, t.sent),
		DeadlineMS: ms(t.attack.Deadline), InsideDeadline: pct(t.inTime, t.sent),
		Latency: t.latency.quantiles(), ServiceLatency: t.service.quantiles(), ScheduleLag: t.lag.quantiles()}
	for i, s := range t.seconds {
		if t.perSecond[i] == 0 {
			continue
		}
		q := s.quantiles()
		r.PerSecond = append(r.PerSecond, Second{Sent: t.perSecond[i], Bids: t.secondBids[i], P50: q.P50, P99: q.P99})
	}
	return r
}

// quantiles returns the quantiles of d, which it sorts.
func quantiles(d []time.Duration) Quantiles {
	if len(d) == 0 {
		return Quantiles{}
	}
	slices.Sort(d)
	var sum time.Duration
	for _, v := range d {
		sum += v
	}
	at := func(q float64) float64 { return ms(d[min(int(q*float64(len(d))), len(d)-1)]) }
	return Quantiles{Mean: ms(sum / time.Duration(len(d))), P50: at(0.50), P90: at(0.90), P99: at(0.99), P999: at(0.999), Max: ms(d[len(d)-1])}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func pct(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// WriteText writes the report as plain text.
func (r *Report) WriteText(w io.Writer) error {
	line := func(name string, q Quantiles) string {
		return fmt.Sprintf("%-26s mean %8.2f  p50 %8.2f  p90 %8.2f  p99 %8.2f  p99.9 %8.2f  max %8.2f\n", name, q.Mean, q.P50, q.P90, q.P99, q.P999, q.Max)
	}
	text := fmt.Sprintf("target                     %s\n", r.Target) +
		fmt.Sprintf("scheduled / sent           %d / %d (%.2f %%); at most 10 ms late: %.2f %%\n", r.Scheduled, r.Sent, r.SentPct, r.OnSchedulePct) +
		fmt.Sprintf("rate wanted / achieved     %d / %.1f per second, %.1f s in total\n", r.RateWanted, r.RateAchieved, r.Seconds) +
		fmt.Sprintf("statuses                   %s; error statuses: %d\n", statusText(r.Statuses), r.ErrorStatuses) +
		fmt.Sprintf("bids                       %d (%.1f %%)\n", r.Bids, r.BidPct) +
		fmt.Sprintf("in time (%.0f ms)           %.3f %% of the requests, %.3f %% of the 200 and 204\n", r.DeadlineMS, r.InsideDeadline, r.AnsweredInTime) +
		line("latency from schedule, ms", r.Latency) + line("latency from send, ms", r.ServiceLatency) + line("schedule lag, ms", r.ScheduleLag)
	if r.NoConnection > 0 {
		text += fmt.Sprintf("not sent                   %d requests, because every connection had one without a response\n", r.NoConnection)
	}
	if r.Checked > 0 {
		text += fmt.Sprintf("validity                   %d bids checked, %d invalid\n", r.Checked, len(r.Invalid))
	}
	for _, why := range r.Invalid {
		text += fmt.Sprintf("invalid                    %s\n", why)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
		text += fmt.Sprintf("error                      %d x %s\n", r.Errors[k], k)
	}
	if r.Stopped != "" {
		text += fmt.Sprintf("stopped early              %s\n", r.Stopped)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

func statusText(m map[string]int) string {
	s := ""
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s: %d", k, m[k])
	}
	return s
}
