package loadtest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Interrupted is the value of Report.Stopped after a signal.
const Interrupted = "interrupted"

// patience is how long every response may be an error before the attack stops.
const patience = time.Second

// watchEvery is how often an attack is checked.
const watchEvery = 200 * time.Millisecond

// watch decides when an attack stops early.
type watch struct {
	attack  *Attack
	tick    *time.Ticker
	halt    func()             // ends the schedule
	cancel  context.CancelFunc // abandons the requests in flight
	stopped string             // the reason; empty: not stopped
	abandon time.Time          // when the requests in flight are abandoned

	began    time.Time     // the first tick
	answered bool          // at least one response was not an error
	errors   int           // responses since the last that was not an error
	firstBad time.Time     // end of the first of them
	lastBad  vegeta.Result // the last of them
}

// stop stops the attack for the first reason that is given. Requests in flight have
// until the deadline.
func (w *watch) stop(reason string) {
	if w.stopped == "" {
		w.stopped = reason
		w.halt()
	}
}

// see takes note of a response. It reports whether the response counts: those that
// the attack itself abandoned do not.
func (w *watch) see(res *vegeta.Result) bool {
	switch {
	case isAnswer(res.Code):
		w.answered, w.errors = true, 0
	case w.stopped != "" && res.Code == 0 && strings.Contains(res.Error, context.Canceled.Error()):
		return false
	default:
		if w.errors == 0 {
			w.firstBad = res.End()
		}
		w.errors, w.lastBad = w.errors+1, *res
	}
	return true
}

// check returns why the attack must stop: everything in the last second was an error,
// or nothing at all was answered since the attack began. It returns an empty string
// otherwise, and abandons the requests of a stopped attack once they are late.
func (w *watch) check(now time.Time) string {
	switch {
	case w.stopped != "" && w.abandon.IsZero():
		w.abandon = now.Add(w.attack.Deadline)
	case w.stopped != "" && !now.Before(w.abandon):
		w.cancel()
	}
	if w.began.IsZero() {
		w.began = now
	}
	if w.attack.KeepGoing || w.stopped != "" {
		return ""
	}
	due := w.attack.due(0)
	silence := now.Sub(w.began)
	switch {
	case w.errors > 1 && now.Sub(w.firstBad) >= patience:
		return w.attack.explain(int(w.lastBad.Code), w.lastBad.Error)
	case !w.answered && w.errors == 0 && silence >= due+patience+max(patience, w.attack.Deadline):
		return fmt.Sprintf("no response from %s in %s: the target accepts connections but does not answer", Redact(w.attack.Target), silence.Round(100*time.Millisecond))
	}
	return ""
}

// isAnswer reports whether a status is one of those with which a bidder answers.
func isAnswer(code uint16) bool { return code == http.StatusOK || code == http.StatusNoContent }

// explain returns the cause and the remedy of a status, or of an error of the HTTP
// client where the status is 0.
func (a *Attack) explain(status int, message string) string {
	target := Redact(a.Target)
	switch {
	case status == http.StatusNotFound:
		return fmt.Sprintf("status 404 from %s: the bidder has no such exchange or path; check the last part of --target", target)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Sprintf("status %d from %s: the secret or the sender's address is refused; check --secret-env and the exchange's sources", status, target)
	case status == http.StatusTooManyRequests:
		return fmt.Sprintf("status 429 from %s: the target limits the rate; use a lower --rate", target)
	case status == http.StatusBadRequest || status == http.StatusUnsupportedMediaType || status == http.StatusRequestEntityTooLarge:
		return fmt.Sprintf("status %d from %s: the target cannot read the requests; check --requests", status, target)
	case status >= 300 && status < 400:
		return fmt.Sprintf("status %d from %s: the target redirects; use the address to which it redirects", status, target)
	case status != 0:
		return fmt.Sprintf("status %d from %s; want 200 or 204", status, target)
	case strings.Contains(message, "connection refused"):
		return fmt.Sprintf("connection refused: nothing listens at %s; start the bidder or check --target", target)
	case strings.Contains(message, "no such host"):
		return fmt.Sprintf("unknown host: %s has no address; check --target", target)
	case strings.Contains(message, "Timeout") || strings.Contains(message, "deadline exceeded") || strings.Contains(message, "timeout"):
		return fmt.Sprintf("no response from %s in time: the target accepts connections but does not answer", target)
	case strings.Contains(message, "tls:") || strings.Contains(message, "x509:") || strings.Contains(message, "HTTP response to HTTPS"):
		return fmt.Sprintf("cannot agree on TLS with %s; check http or https in --target: %s", target, a.redactText(message))
	}
	return fmt.Sprintf("no response from %s: %s", target, a.redactText(message))
}
