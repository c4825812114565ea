package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count calls by method and answer. No label holds a path, a scope or an
// identity.
type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	ok      map[string]series // of methods, so that an answer needs no look by labels
}

type series struct {
	calls   prometheus.Counter
	seconds prometheus.Observer
}

func newMetrics(r *prometheus.Registry, methods map[string]*method) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "hexrd", Name: "api_calls_total", Help: "Calls by method and answer.",
		}, []string{"method", "answer"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "hexrd", Name: "api_call_seconds", Help: "Time to answer, by method.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"method"}),
	}
	m.ok = make(map[string]series, len(methods))
	for name := range methods {
		m.ok[name] = series{m.calls.WithLabelValues(name, answeredOK), m.seconds.WithLabelValues(name)}
	}
	r.MustRegister(m.calls, m.seconds)
	return m
}

const answeredOK = "OK"

func (m *metrics) answered(method string, err error, took time.Duration) {
	if s, found := m.ok[method]; found && err == nil {
		s.calls.Inc()
		s.seconds.Observe(took.Seconds())
		return
	}
	answer := answeredOK
	if err != nil {
		f := failureOf(err)
		answer = f.reason
		if f == errMethod { // its name is the caller's, and unbounded
			method = "unknown"
		}
	}
	m.calls.WithLabelValues(method, answer).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}
