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
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "hexrd", Name: "api_calls_total", Help: "Calls by method and answer.",
		}, []string{"method", "answer"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "hexrd", Name: "api_call_seconds", Help: "Time to answer, by method.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"method"}),
	}
	r.MustRegister(m.calls, m.seconds)
	return m
}

func (m *metrics) answered(method string, err error, took time.Duration) {
	answer := "OK"
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
