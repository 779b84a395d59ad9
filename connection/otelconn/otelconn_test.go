package otelconn_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/otelconn"
)

// text writes attributes in order.
func text(set attribute.Set) string {
	var all []string
	for _, kv := range set.ToSlice() {
		all = append(all, string(kv.Key)+"="+kv.Value.String())
	}
	return strings.Join(all, " ")
}

// measured returns every measurement as "instrument{attributes} value".
func measured(t *testing.T, reader metric.Reader) []string {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, scope := range rm.ScopeMetrics {
		if scope.Scope.Name != otelconn.Scope {
			t.Errorf("scope %q", scope.Scope.Name)
		}
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					all = append(all, fmt.Sprintf("%s [%s] {%s} %d", m.Name, m.Unit, text(p.Attributes), p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					all = append(all, fmt.Sprintf("%s [%s] {%s} %d of %gs", m.Name, m.Unit, text(p.Attributes), p.Count, p.Sum))
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestEventsBecomeMetricsAndSpans(t *testing.T) {
	reader, spans := metric.NewManualReader(), tracetest.NewInMemoryExporter()
	tracers := trace.NewTracerProvider(trace.WithSyncer(spans))
	a, err := otelconn.New(metric.NewMeterProvider(metric.WithReader(reader)), tracers)
	if err != nil {
		t.Fatal(err)
	}
	parent, cancel := context.WithCancel(t.Context())
	parent, run := tracers.Tracer("test").Start(parent, "run")
	var passed []connection.EventKind
	observe := a.Observe(parent, func(ev connection.Event) { passed = append(passed, ev.Kind) })
	cancel() // what is told at the end of the work counts too

	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	busy := &connection.Error{Kind: connection.ErrThrottled, Err: errors.New("ann@example.org is busy")}
	for _, ev := range []connection.Event{
		{Kind: connection.EventFetched, Connection: "journal", Mailbox: "ann@example.org", Count: 3, Bytes: 300},
		{Kind: connection.EventFetched, Connection: "journal", Mailbox: "bob@example.org", Count: 2, Bytes: 200},
		{Kind: connection.EventStored, Connection: "journal", Count: 1, Bytes: 100},
		{Kind: connection.EventDeleted, Connection: "journal", Count: 5},
		{Kind: connection.EventDeleted, Count: 4}, // Drain's own
		{Kind: connection.EventSkipped, Connection: "journal", Detail: "too large"},
		{Kind: connection.EventOperation, Connection: "store", Detail: "put", Count: 2, Bytes: 50, Elapsed: 2 * time.Second, Time: now},
		{Kind: connection.EventOperation, Connection: "store", Detail: "put", Count: 1, Elapsed: time.Second, Time: now, Err: busy},
		{Kind: connection.EventThrottled, Connection: "store", Time: now, Until: now.Add(3 * time.Second), Err: busy, Detail: "ann@example.org is busy"},
		{Kind: "something new", Connection: "store"},
	} {
		observe(ev)
	}
	run.End()

	want := []string{
		"mailconn.events [{event}] {error.type=throttled mailconn.connection=store mailconn.event=throttled} 1",
		"mailconn.events [{event}] {mailconn.connection=store mailconn.event=something new} 1",
		"mailconn.io [By] {error.type=throttled mailconn.connection=store mailconn.event=operation} 0",
		"mailconn.io [By] {mailconn.connection=journal mailconn.event=fetched} 500",
		"mailconn.io [By] {mailconn.connection=journal mailconn.event=stored} 100",
		"mailconn.io [By] {mailconn.connection=store mailconn.event=operation} 50",
		"mailconn.messages [{message}] {mailconn.connection= mailconn.event=deleted} 4",
		"mailconn.messages [{message}] {mailconn.connection=journal mailconn.event=deleted} 5",
		"mailconn.messages [{message}] {mailconn.connection=journal mailconn.event=fetched} 5",
		"mailconn.messages [{message}] {mailconn.connection=journal mailconn.event=skipped} 1",
		"mailconn.messages [{message}] {mailconn.connection=journal mailconn.event=stored} 1",
		"mailconn.operation.duration [s] {error.type=throttled mailconn.connection=store mailconn.event=operation mailconn.operation=put} 1 of 1s",
		"mailconn.operation.duration [s] {mailconn.connection=store mailconn.event=operation mailconn.operation=put} 1 of 2s",
		"mailconn.operation.requests [{request}] {error.type=throttled mailconn.connection=store mailconn.event=operation mailconn.operation=put} 1",
		"mailconn.operation.requests [{request}] {mailconn.connection=store mailconn.event=operation mailconn.operation=put} 2",
		"mailconn.wait.duration [s] {error.type=throttled mailconn.connection=store mailconn.event=throttled} 1 of 3s",
	}
	if got := measured(t, reader); !slices.Equal(got, want) {
		t.Errorf("measured\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(passed) != 10 {
		t.Errorf("%d events were passed on, want 10", len(passed))
	}
	checkSpans(t, spans.GetSpans(), now)
}

// checkSpans looks at the two operations, and at what was added to the run.
func checkSpans(t *testing.T, spans tracetest.SpanStubs, now time.Time) {
	t.Helper()
	byName := make(map[string]int)
	for _, s := range spans {
		byName[s.Name]++
		switch s.Name {
		case "mailconn put":
			if !s.EndTime.Equal(now) || now.Sub(s.StartTime) < time.Second || s.Parent.SpanID() != spans[len(spans)-1].SpanContext.SpanID() {
				t.Errorf("span from %v to %v under %v", s.StartTime, s.EndTime, s.Parent.SpanID())
			}
			if failed := s.Status.Description != ""; failed != (now.Sub(s.StartTime) == time.Second) || strings.Contains(s.Status.Description, "ann@") {
				t.Errorf("span of %v has status %+v", now.Sub(s.StartTime), s.Status)
			}
		case "run":
			var names []string
			for _, e := range s.Events {
				names = append(names, e.Name)
			}
			want := []string{
				"mailconn fetched", "mailconn fetched", "mailconn stored", "mailconn deleted", "mailconn deleted", "mailconn skipped", "mailconn throttled",
				"mailconn something new",
			}
			if !slices.Equal(names, want) {
				t.Errorf("the run's events are %q, want %q", names, want)
			}
			if got := text(attribute.NewSet(s.Events[0].Attributes...)); got != "mailconn.bytes=300 mailconn.connection=journal mailconn.count=3 mailconn.mailbox=ann@example.org" {
				t.Errorf("the first has %s", got)
			}
		}
	}
	if want := map[string]int{"mailconn put": 2, "run": 1}; !maps.Equal(byName, want) {
		t.Errorf("spans %v, want %v", byName, want)
	}
}

func ExampleNew() {
	// A host gives the providers of its SDK.
	a, err := otelconn.New(noopmetric.NewMeterProvider(), nooptrace.NewTracerProvider())
	if err != nil {
		fmt.Println(err)
		return
	}
	env := &connection.Env{Observe: a.Observe(context.Background(), nil)}
	env.Emit(connection.Event{Kind: connection.EventFetched, Count: 1})
	// Output:
}
