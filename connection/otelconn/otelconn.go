// Package otelconn turns what connections tell of their work ([connection.Env.Observe]) into OpenTelemetry metrics and
// traces. It speaks to OpenTelemetry's API alone: where measurements go, and how often, is what the host's providers say.
//
// The instruments, all under the scope name [Scope]:
//
//	mailconn.messages           counter, {message}    messages by event: fetched, stored, deleted, skipped, poisoned
//	mailconn.io                 counter, By           octets by event: fetched, stored, operation
//	mailconn.events             counter, {event}      everything else that connections tell, by event: retry, throttled, …
//	mailconn.operation.duration histogram, s          verbs of object stores, by operation: put, get, delete, …
//	mailconn.operation.requests counter, {request}    the requests that they took
//	mailconn.wait.duration      histogram, s          how long a retry or a throttling server makes a connection wait
//
// Attributes are mailconn.connection (Settings.ID, or the driver's name), mailconn.event, mailconn.operation, and
// error.type (the text of the error's [connection.Kind]) where something failed. mailconn.connection is empty for what Drain
// and Mirror tell by their own options: Drain's "deleted" counts again what most connections tell, and is all there is for
// those that do not, so sum it over one or the other. Mailboxes, folders, keys and texts are no
// attributes of metrics: there may be too many of them.
//
// An event that took time is a span, "mailconn put" for instance, under the span of the context given to
// [Adapter.Observe]; other events are added to that span. Spans also say the mailbox.
package otelconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/mailconn/mailconn/connection"
)

// Scope is the name of the instrumentation scope of all instruments and spans.
const Scope = "github.com/mailconn/mailconn/connection/otelconn"

// The attributes.
const (
	keyConnection = attribute.Key("mailconn.connection")
	keyEvent      = attribute.Key("mailconn.event")
	keyOperation  = attribute.Key("mailconn.operation")
	keyMailbox    = attribute.Key("mailconn.mailbox")
	keyCount      = attribute.Key("mailconn.count")
	keyBytes      = attribute.Key("mailconn.bytes")
	keyError      = attribute.Key("error.type")
)

// An Adapter holds the instruments. It may be used by several goroutines.
type Adapter struct {
	tracer   trace.Tracer
	messages metric.Int64Counter
	octets   metric.Int64Counter
	events   metric.Int64Counter
	requests metric.Int64Counter
	duration metric.Float64Histogram
	wait     metric.Float64Histogram
}

// New makes the instruments of an Adapter at the providers given. An error is the providers'.
func New(meters metric.MeterProvider, tracers trace.TracerProvider) (*Adapter, error) {
	meter := meters.Meter(Scope)
	a := &Adapter{tracer: tracers.Tracer(Scope)}
	var errs []error
	counter := func(to *metric.Int64Counter, name, unit, text string) {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
		*to, errs = c, append(errs, err)
	}
	histogram := func(to *metric.Float64Histogram, name, text string) {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text))
		*to, errs = h, append(errs, err)
	}
	counter(&a.messages, "mailconn.messages", "{message}", "messages that were fetched, stored, deleted or passed over")
	counter(&a.octets, "mailconn.io", "By", "octets that were fetched or stored")
	counter(&a.events, "mailconn.events", "{event}", "what else happened to connections")
	counter(&a.requests, "mailconn.operation.requests", "{request}", "requests that verbs of object stores took")
	histogram(&a.duration, "mailconn.operation.duration", "duration of verbs of object stores")
	histogram(&a.wait, "mailconn.wait.duration", "how long connections wait before they try again")
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("otelconn: %w", err)
	}
	return a, nil
}

// Observe returns a function for [connection.Env.Observe] and the options of Drain and Mirror. Its spans and span events
// belong to the span of ctx, which need not be there. next, if not nil, receives the events too.
func (a *Adapter) Observe(ctx context.Context, next func(connection.Event)) func(connection.Event) {
	ctx = context.WithoutCancel(ctx) // what happens at the end of the work is counted too
	return func(ev connection.Event) {
		a.measure(ctx, ev)
		a.trace(ctx, ev)
		if next != nil {
			next(ev)
		}
	}
}

func (a *Adapter) measure(ctx context.Context, ev connection.Event) {
	attributes := []attribute.KeyValue{keyConnection.String(ev.Connection), keyEvent.String(string(ev.Kind))}
	if kind := kindOf(ev); kind != "" {
		attributes = append(attributes, keyError.String(kind))
	}
	by := metric.WithAttributeSet(attribute.NewSet(attributes...))
	switch ev.Kind {
	case connection.EventFetched, connection.EventStored:
		a.messages.Add(ctx, ev.Count, by)
		a.octets.Add(ctx, ev.Bytes, by)
	case connection.EventDeleted:
		a.messages.Add(ctx, ev.Count, by)
	case connection.EventSkipped, connection.EventPoisoned:
		a.messages.Add(ctx, 1, by)
	case connection.EventOperation:
		a.octets.Add(ctx, ev.Bytes, by)
		by = metric.WithAttributeSet(attribute.NewSet(append(attributes, keyOperation.String(ev.Detail))...))
		a.requests.Add(ctx, ev.Count, by)
		a.duration.Record(ctx, ev.Elapsed.Seconds(), by)
	default:
		a.events.Add(ctx, 1, by)
	}
	if wait := ev.Until.Sub(ev.Time); !ev.Until.IsZero() && wait > 0 {
		a.wait.Record(ctx, wait.Seconds(), by)
	}
}

func (a *Adapter) trace(ctx context.Context, ev connection.Event) {
	attributes := []attribute.KeyValue{keyConnection.String(ev.Connection)}
	if ev.Mailbox != "" {
		attributes = append(attributes, keyMailbox.String(ev.Mailbox))
	}
	if ev.Count > 0 {
		attributes = append(attributes, keyCount.Int64(ev.Count))
	}
	if ev.Bytes > 0 {
		attributes = append(attributes, keyBytes.Int64(ev.Bytes))
	}
	kind := kindOf(ev)
	if kind != "" {
		attributes = append(attributes, keyError.String(kind))
	}
	name := "mailconn " + string(ev.Kind)
	if ev.Kind == connection.EventOperation {
		name = "mailconn " + ev.Detail
	}
	if ev.Elapsed <= 0 {
		trace.SpanFromContext(ctx).AddEvent(name, trace.WithTimestamp(at(ev)), trace.WithAttributes(attributes...))
		return
	}
	_, span := a.tracer.Start(ctx, name, trace.WithTimestamp(at(ev).Add(-ev.Elapsed)), trace.WithAttributes(attributes...))
	if kind != "" {
		span.SetStatus(codes.Error, kind)
	}
	span.End(trace.WithTimestamp(at(ev)))
}

func at(ev connection.Event) time.Time {
	if ev.Time.IsZero() {
		return time.Now()
	}
	return ev.Time
}

// kindOf classifies the error of ev, "" if it has none. The error's own text may name people, so it is left out.
func kindOf(ev connection.Event) string {
	switch {
	case ev.Err == nil:
		return ""
	case errors.Is(ev.Err, context.Canceled):
		return "canceled"
	}
	return connection.KindOf(ev.Err).Error()
}
