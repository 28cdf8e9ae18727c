package collect

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Bounds of the lists of an advertiser and of the jobs that change them.
const (
	maxJobsRunning = 2
	maxJobsWaiting = 8
	maxJobsKept    = 200
	maxErrorLines  = 1000 // that a report shows; all are counted
	rowBatch       = 500  // rows per append
	defaultRowTTL  = 540 * 24 * time.Hour
	minRowTTL      = time.Hour
)

// ListOptions configure [Lists]. All but Logger are required.
type ListOptions struct {
	// Append and Busy are those of [Options].
	Append func(context.Context, ...events.Fact) error
	Busy   func(error) (wait time.Duration, busy bool)
	// Resolve returns the visitor to which an identifier is linked.
	Resolve func(rtb.Key) (rtb.Key, bool)
	// Reach reports whether a visitor has a profile, and whether an exchange knows the
	// visitor by an identifier of its own, a device id or an extended id.
	Reach func(visitor rtb.Key) (known, biddable bool)
	// State returns what the log says of a list; false if it does not exist.
	State   func(advertiser, list string) (ListInfo, bool)
	Keyring *rtb.Keyring
	Random  io.Reader
	Now     func() time.Time
	Logger  *zap.Logger
}

// ListInfo is a list.
type ListInfo struct {
	List    string      `json:"list"`
	Norm    string      `json:"norm"`
	Purpose string      `json:"purpose"`
	TTL     string      `json:"ttl"`
	Jobs    []JobReport `json:"jobs,omitempty"` // the last ones, the oldest first
}

// JobReport is the state of a job.
type JobReport struct {
	Job        string         `json:"job"`
	List       string         `json:"list"`
	Mode       string         `json:"mode"`  // append, replace, remove
	State      string         `json:"state"` // waiting, running, done, failed, interrupted
	Why        string         `json:"why,omitempty"`
	Rows       int64          `json:"rows"`
	Accepted   int64          `json:"accepted"`
	Invalid    map[string]int `json:"invalid,omitempty"`     // rows' faults by kind
	ErrorLines []LineError    `json:"error_lines,omitempty"` // the first 1,000
	Matched    *Matched       `json:"matched,omitempty"`
	// MatchRatePct is the share of the accepted rows whose person is a known visitor now;
	// BiddablePct the share that an exchange can offer. Both grow when persons come to the
	// site later.
	MatchRatePct float64   `json:"match_rate_pct"`
	BiddablePct  float64   `json:"biddable_pct"`
	Began        time.Time `json:"began,omitzero"`
	Ended        time.Time `json:"ended,omitzero"`

	advertiser string
	biddable   int64
}

// Matched counts rows by the identifier by which their person is known: any, an e-mail
// address, phone number or customer id that a page or server has linked, a device id, a raw
// UID2, or our own id.
type Matched struct {
	Any       int64 `json:"any"`
	HashGraph int64 `json:"hash_graph"`
	IFA       int64 `json:"ifa"`
	UID2      int64 `json:"uid2"`
	UID       int64 `json:"uid"`
}

// Lists takes lists of customers: their rows become facts, in jobs that run one after the
// other. It is safe for concurrent use.
type Lists struct {
	o      ListOptions
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	wg     sync.WaitGroup

	mu   sync.Mutex // guards the jobs
	jobs []*JobReport
	busy int // jobs that wait or run
}

// NewLists returns an empty Lists. Close stops its jobs.
func NewLists(o ListOptions) *Lists {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	l := &Lists{o: o, slots: make(chan struct{}, maxJobsRunning)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Close stops the jobs and waits for them. What they have stored remains.
func (l *Lists) Close() {
	l.cancel()
	l.wg.Wait()
}

// ListSettings are the settings of a list as its advertiser sends them.
type ListSettings struct {
	Norm    string `json:"norm"`
	Purpose string `json:"purpose"`
	TTL     string `json:"ttl"`
	Consent string `json:"consent"`
}

// settings is ListSettings after checks.
type settings struct {
	norm, purpose string
	ttl           time.Duration
}

var errConsent = errors.New(`consent: want "granted": the persons on the list agreed to its use for advertising`)

func (s *ListSettings) check(parse func(string) (time.Duration, error)) (settings, error) {
	out := settings{norm: s.Norm, purpose: s.Purpose, ttl: defaultRowTTL}
	if out.norm == "" {
		out.norm = "std"
	}
	if out.purpose == "" {
		out.purpose = "target"
	}
	switch {
	case out.norm != "std" && out.norm != "uid2":
		return out, fmt.Errorf("norm: got %.40q; want std or uid2", s.Norm)
	case out.purpose != "target" && out.purpose != "suppress":
		return out, fmt.Errorf("purpose: got %.40q; want target or suppress", s.Purpose)
	case s.Consent != "granted" && out.purpose == "target":
		return out, errConsent
	}
	if s.TTL != "" {
		ttl, err := parse(s.TTL)
		if err != nil || ttl < minRowTTL || ttl > defaultRowTTL {
			return out, fmt.Errorf("ttl: got %.40q; want 1h to 540d", s.TTL)
		}
		out.ttl = ttl
	}
	return out, nil
}

// fact returns a fact about a list, with a random id.
func (l *Lists) fact(advertiser string, v *events.List) (events.Fact, error) {
	id, err := l.random()
	return events.Fact{V: 1, ID: "list:" + id, At: l.o.Now().UTC(), Kind: events.KindList, Advertiser: advertiser, List: v}, err
}

func (l *Lists) random() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(l.o.Random, b[:]); err != nil {
		return "", fmt.Errorf("cannot generate id: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

func (l *Lists) define(ctx context.Context, advertiser, list string, s settings) error {
	f, err := l.fact(advertiser, &events.List{List: list, Mode: events.ListDefine, Norm: s.norm, Purpose: s.purpose, TTL: int64(s.ttl / time.Second)})
	if err != nil {
		return err
	}
	return l.o.Append(ctx, f)
}

func (l *Lists) drop(ctx context.Context, advertiser, list string) error {
	f, err := l.fact(advertiser, &events.List{List: list, Mode: events.ListDrop})
	if err != nil {
		return err
	}
	return l.o.Append(ctx, f)
}

var errTooManyJobs = errors.New("too many jobs are waiting")

// start begins a job that reads rows from body, which it keeps.
func (l *Lists) start(list ListInfo, mode string, body []byte, r *rowReader) (JobReport, error) {
	id, err := l.random()
	if err != nil {
		return JobReport{}, err
	}
	j := &JobReport{Job: id, List: list.List, Mode: mode, State: "waiting", Began: l.o.Now().UTC(), advertiser: r.advertiser, Matched: &Matched{}, Invalid: map[string]int{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy >= maxJobsWaiting || l.ctx.Err() != nil {
		return JobReport{}, errTooManyJobs
	}
	l.busy++
	l.jobs = append(l.jobs, j)
	if len(l.jobs) > maxJobsKept {
		l.jobs = slices.Delete(l.jobs, 0, len(l.jobs)-maxJobsKept)
	}
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		l.run(j, body, r)
	}()
	return j.copy(), nil
}

// copy returns a report that the job no longer changes. The caller holds the lock.
func (j *JobReport) copy() JobReport {
	c := *j
	matched := *j.Matched
	c.Matched, c.ErrorLines = &matched, slices.Clone(j.ErrorLines)
	c.Invalid = make(map[string]int, len(j.Invalid))
	for k, n := range j.Invalid {
		c.Invalid[k] = n
	}
	if j.Accepted > 0 {
		c.MatchRatePct = pct(matched.Any, j.Accepted)
		c.BiddablePct = pct(j.biddable, j.Accepted)
	}
	return c
}

// pct returns a share in percent, with one decimal.
func pct(n, of int64) float64 { return float64(n*1000/of) / 10 }

// report returns the report of a job of an advertiser.
func (l *Lists) report(advertiser, id string) (JobReport, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range l.jobs {
		if j.Job == id && j.advertiser == advertiser {
			return j.copy(), true
		}
	}
	return JobReport{}, false
}

// run reads the file of one job and stores its rows.
func (l *Lists) run(j *JobReport, body []byte, r *rowReader) {
	defer func() {
		l.mu.Lock()
		l.busy--
		l.mu.Unlock()
	}()
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-l.ctx.Done():
		l.finish(j, "interrupted", "the bidder stopped; upload the file again")
		return
	}
	l.change(func() { j.State = "running" })
	w := &jobWriter{l: l, j: j}
	err := w.append(&events.List{Mode: events.ListBegin, Action: j.Mode})
	if err == nil {
		err = eachRow(body, func(line int, row map[string]string) error { return w.row(line, row, r) }, w.bad)
	}
	if err == nil {
		err = w.flush()
	}
	mode := events.ListCommit
	if err != nil {
		mode = events.ListAbort
	}
	if end := w.append(&events.List{Mode: mode, Rows: j.Rows, Accepted: j.Accepted}); err == nil {
		err = end
	}
	switch {
	case err == nil:
		l.finish(j, "done", "")
	case l.ctx.Err() != nil:
		l.finish(j, "interrupted", "the bidder stopped; upload the file again")
	default:
		l.finish(j, "failed", err.Error())
	}
}

func (l *Lists) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

func (l *Lists) finish(j *JobReport, state, why string) {
	l.change(func() { j.State, j.Why, j.Ended = state, why, l.o.Now().UTC() })
	l.o.Logger.Info("list job ended", zap.String("list", j.List), zap.String("job", j.Job), zap.String("state", state),
		zap.Int64("rows", j.Rows), zap.Int64("accepted", j.Accepted), zap.String("why", why))
}

// jobWriter stores the rows of one job.
type jobWriter struct {
	l     *Lists
	j     *JobReport
	facts []events.Fact
	n     int
}

// row reads and stores one row.
func (w *jobWriter) row(line int, row map[string]string, r *rowReader) error {
	p, ok := r.person(row, func(e LineError) {
		e.Line = line
		w.bad(e)
	})
	var known, biddable bool
	if ok {
		known, biddable = w.l.match(&p)
	}
	w.l.change(func() {
		w.j.Rows++
		if !ok {
			return
		}
		w.j.Accepted++
		w.j.Matched.count(&p, known)
		if biddable {
			w.j.biddable++
		}
	})
	if !ok {
		return nil
	}
	w.n++
	f := events.Fact{V: 1, ID: "list:" + w.j.Job + ":" + strconv.Itoa(w.n), At: w.l.o.Now().UTC(), Kind: events.KindList, Advertiser: w.j.advertiser,
		Visitor: p.uid, Keys: p.keys, List: &events.List{List: w.j.List, Job: w.j.Job, Mode: events.ListRow, Traits: p.traits}}
	if f.Visitor.IsZero() && p.device != "" {
		f.Visitor = w.l.device(&p)
	}
	if w.facts = append(w.facts, f); len(w.facts) < rowBatch {
		return nil
	}
	return w.flush()
}

// bad counts an error and keeps the first ones.
func (w *jobWriter) bad(e LineError) {
	w.l.change(func() {
		w.j.Invalid[e.code]++
		if len(w.j.ErrorLines) < maxErrorLines {
			w.j.ErrorLines = append(w.j.ErrorLines, e)
		}
		if e.code == "bad_json" || e.code == "bad_csv" || e.code == "unknown_column" {
			w.j.Rows++
		}
	})
}

func (w *jobWriter) append(v *events.List) error {
	v.List, v.Job = w.j.List, w.j.Job
	f, err := w.l.fact(w.j.advertiser, v)
	if err != nil {
		return err
	}
	w.facts = append(w.facts, f)
	return w.flush()
}

// flush stores the facts that wait, and waits itself while the log is busy.
func (w *jobWriter) flush() error {
	for len(w.facts) > 0 {
		err := w.l.o.Append(w.l.ctx, w.facts...)
		if err == nil {
			w.facts = w.facts[:0]
			return nil
		}
		wait, busy := w.l.o.Busy(err)
		if !busy {
			return err
		}
		select {
		case <-time.After(wait):
		case <-w.l.ctx.Done():
			return w.l.ctx.Err()
		}
	}
	return nil
}

// device returns the visitor of a row that names a device: the one to which the device is
// linked, or as for a server event one that is derived from the device id.
func (l *Lists) device(p *listPerson) rtb.Key {
	for _, k := range p.keys {
		if k.KeyKind == "ifa" || k.KeyKind == "eid:uidapi.com" {
			if v, ok := l.o.Resolve(k.Key); ok && !v.IsZero() {
				return v
			}
		}
	}
	return l.o.Keyring.Key(rtb.IDVisitor, "", []byte(p.device))
}

// match reports whether the person of a row is a known visitor, and whether an exchange can
// offer it: a device id is in bid requests whether or not its owner was on the site.
func (l *Lists) match(p *listPerson) (known, biddable bool) {
	biddable = p.has("ifa")
	for _, k := range p.keys {
		v, ok := k.Key, true
		if k.KeyKind != "uid" {
			v, ok = l.o.Resolve(k.Key)
		}
		if !ok || v.IsZero() {
			continue
		}
		is, reach := l.o.Reach(v)
		known, biddable = known || is, biddable || reach
	}
	return known, biddable
}

func (m *Matched) count(p *listPerson, known bool) {
	if !known {
		return
	}
	m.Any++
	switch {
	case p.has("em") || p.has("ph") || p.has("xid"):
		m.HashGraph++
	case p.has("ifa"):
		m.IFA++
	case p.has("uid2"):
		m.UID2++
	default:
		m.UID++
	}
}
