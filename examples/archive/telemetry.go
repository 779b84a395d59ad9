package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/otelconn"
)

// The values of -otel.
const (
	otelStdout = "stdout" // JSON on standard output, in the end
	otelOTLP   = "otlp"   // to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names
)

// Telemetry is where measurements of a run go. A nil one takes none.
type telemetry struct {
	adapter *otelconn.Adapter
	meters  *metric.MeterProvider
	tracers *trace.TracerProvider
	ctx     context.Context // holds the run's span
	span    api.Span
	limit   time.Duration // how long a collector that does not answer may hold up the end of the program
}

// newTelemetry begins what -otel asks for: nothing if it is not given.
func newTelemetry(ctx context.Context, kind string, stdout io.Writer) (*telemetry, error) {
	var (
		measured metric.Exporter
		traced   trace.SpanExporter
		err      error
	)
	switch kind {
	case "":
		return nil, nil
	case otelStdout:
		if measured, err = stdoutmetric.New(stdoutmetric.WithWriter(stdout)); err == nil {
			traced, err = stdouttrace.New(stdouttrace.WithWriter(stdout))
		}
	case otelOTLP:
		if measured, err = otlpmetrichttp.New(ctx); err == nil {
			traced, err = otlptracehttp.New(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("-otel %s: %w", kind, err)
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("-otel: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &telemetry{
		limit:   10 * time.Second,
		meters:  metric.NewMeterProvider(metric.WithResource(about), metric.WithReader(metric.NewPeriodicReader(measured))),
		tracers: trace.NewTracerProvider(trace.WithResource(about), trace.WithBatcher(traced)),
	}
	if t.adapter, err = otelconn.New(t.meters, t.tracers); err != nil {
		return nil, err
	}
	t.ctx, t.span = t.tracers.Tracer("archive").Start(ctx, "archive")
	return t, nil
}

// observe puts t before next.
func (t *telemetry) observe(next func(connection.Event)) func(connection.Event) {
	if t == nil {
		return next
	}
	return t.adapter.Observe(t.ctx, next)
}

// stop sends what is left, for at most t.limit.
func (t *telemetry) stop() error {
	if t == nil {
		return nil
	}
	t.span.End()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), t.limit)
	defer cancel()
	if err := errors.Join(t.meters.Shutdown(ctx), t.tracers.Shutdown(ctx)); err != nil {
		return fmt.Errorf("-otel: not everything was sent: %w", err)
	}
	return nil
}
