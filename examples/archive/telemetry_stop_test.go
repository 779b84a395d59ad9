package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A collector that takes requests and never answers does not keep the program from ending, and is told of.
func TestTelemetryDoesNotHang(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the request is seen
		<-r.Context().Done()
	}))
	defer srv.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	measured, err := newTelemetry(t.Context(), otelOTLP, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	measured.observe(nil)(connection.Event{Kind: connection.EventStored, Count: 1})
	measured.limit = 100 * time.Millisecond
	began := time.Now()
	if err := measured.stop(); err == nil || !strings.Contains(err.Error(), "not everything was sent") {
		t.Errorf("got error %v", err)
	}
	if took := time.Since(began); took > 8*time.Second { // an exporter's own patience is 10 seconds for each request
		t.Errorf("it took %v to end", took)
	}
}
