package server

import (
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"github.com/valyala/fasthttp/pprofhandler"
)

// Metrics is the registry behind /metrics. Packages count with plain atomics and do not
// know the registry: each metric reads its values through a function at scrape time.
// Names are rebound_<package>_<noun>_<unit|total>.
type Metrics struct {
	registry *prometheus.Registry
	mu       sync.Mutex // held while a page is rendered
	before   []func()
}

// Emit reports one value of a metric, with label values in the order of the labels of
// the metric.
type Emit func(value float64, labels ...string)

// Buckets is a snapshot of a histogram: Counts[i] observations were at most Bounds[i]
// and more than Bounds[i-1]. Counts has one element more, for observations above the
// last bound.
type Buckets struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// NewMetrics returns a registry that already exports metrics of the process and the Go
// runtime.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Before registers a function that is called before each page, so that it can take a
// snapshot and all values of a page belong to the same moment. Pages are rendered one
// after the other.
func (m *Metrics) Before(read func()) { m.before = append(m.before, read) }

// Counter registers a counter; read emits its values. It panics if the name is already
// registered, which is a bug that shows at startup.
func (m *Metrics) Counter(name, help string, labels []string, read func(Emit)) {
	m.registry.MustRegister(&metric{desc: prometheus.NewDesc(name, help, labels, nil), kind: prometheus.CounterValue, read: read})
}

// Gauge registers a gauge; read emits its values.
func (m *Metrics) Gauge(name, help string, labels []string, read func(Emit)) {
	m.registry.MustRegister(&metric{desc: prometheus.NewDesc(name, help, labels, nil), kind: prometheus.GaugeValue, read: read})
}

// Histogram registers a histogram without labels.
func (m *Metrics) Histogram(name, help string, read func() Buckets) {
	m.registry.MustRegister(&histogram{desc: prometheus.NewDesc(name, help, nil, nil), read: read})
}

// Handler returns the handler of /metrics, which writes the Prometheus text format.
func (m *Metrics) Handler() fasthttp.RequestHandler {
	page := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return fasthttpadaptor.NewFastHTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, read := range m.before {
			read()
		}
		page.ServeHTTP(w, r)
	})
}

var profileIndex = fasthttpadaptor.NewFastHTTPHandlerFunc(pprof.Index)

// Profiles handles /debug/pprof/, the list of profiles, and the profiles below it. It
// redirects /debug/pprof there, because the links in the list are relative.
func Profiles(ctx *fasthttp.RequestCtx) {
	switch string(ctx.Path()) {
	case "/debug/pprof":
		ctx.Response.Header.Set(fasthttp.HeaderLocation, "/debug/pprof/")
		ctx.SetStatusCode(fasthttp.StatusFound)
	case "/debug/pprof/": // the handler of the library serves only the paths below
		profileIndex(ctx)
	default:
		pprofhandler.PprofHandler(ctx)
	}
}

type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(Emit)
}

// Describe implements prometheus.Collector.
func (m *metric) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

// Collect implements prometheus.Collector.
func (m *metric) Collect(ch chan<- prometheus.Metric) {
	m.read(func(v float64, labels ...string) {
		c, err := prometheus.NewConstMetric(m.desc, m.kind, v, labels...)
		if err != nil {
			c = prometheus.NewInvalidMetric(m.desc, err)
		}
		ch <- c
	})
}

type histogram struct {
	desc *prometheus.Desc
	read func() Buckets
}

// Describe implements prometheus.Collector.
func (h *histogram) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }

// Collect implements prometheus.Collector.
func (h *histogram) Collect(ch chan<- prometheus.Metric) {
	b := h.read()
	total, below := uint64(0), make(map[float64]uint64, len(b.Bounds))
	for i, n := range b.Counts {
		total += n
		if i < len(b.Bounds) {
			below[b.Bounds[i]] = total
		}
	}
	c, err := prometheus.NewConstHistogram(h.desc, total, b.Sum, below)
	if err != nil {
		c = prometheus.NewInvalidMetric(h.desc, err)
	}
	ch <- c
}

// Latency is a histogram of durations. It is safe for concurrent use.
type Latency struct {
	bounds []float64 // seconds
	counts []atomic.Uint64
	nanos  atomic.Int64
}

// NewLatency returns a histogram with the given upper bounds in seconds, in ascending
// order.
func NewLatency(bounds ...float64) *Latency {
	return &Latency{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Observe counts one duration; a negative one counts as 0.
func (l *Latency) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(l.bounds) && d.Seconds() > l.bounds[i] {
		i++
	}
	l.counts[i].Add(1)
	l.nanos.Add(int64(d))
}

// Buckets returns a snapshot, for [Metrics.Histogram].
func (l *Latency) Buckets() Buckets {
	b := Buckets{Bounds: l.bounds, Counts: make([]uint64, len(l.counts)), Sum: float64(l.nanos.Load()) / 1e9}
	for i := range l.counts {
		b.Counts[i] = l.counts[i].Load()
	}
	return b
}
