package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// exported is what the SDK's exporter writes of metrics, as far as this test reads it.
type exported struct {
	ScopeMetrics []struct {
		Metrics []struct {
			Name string
			Data struct {
				DataPoints []struct {
					Attributes []struct {
						Key   string
						Value struct{ Value any }
					}
					Value json.Number
				}
			}
		}
	}
	Name   string // of a span
	Events []struct{ Name string }
}

func TestTelemetryOnStandardOutput(t *testing.T) {
	r := runArgs(t, "-to", filepath.Join(t.TempDir(), "archive"), "-otel", "stdout")
	r.want(t, exitOK, "Stored 300 messages")
	counts, events := make(map[string]string), make(map[string]int)
	for line := range strings.Lines(r.out) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e exported
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, scope := range e.ScopeMetrics {
			for _, m := range scope.Metrics {
				if m.Name != "mailconn.messages" {
					continue
				}
				for _, p := range m.Data.DataPoints {
					for _, a := range p.Attributes {
						if kind, ok := a.Value.Value.(string); ok && a.Key == "mailconn.event" {
							counts[kind] = p.Value.String()
						}
					}
				}
			}
		}
		if e.Name == "archive" {
			for _, ev := range e.Events {
				events[ev.Name]++
			}
		}
	}
	for _, kind := range []string{"fetched", "stored", "deleted"} {
		if counts[kind] != "300" {
			t.Errorf("%q messages were %s, want 300; all: %v", counts[kind], kind, counts)
		}
	}
	if events["mailconn stored"] == 0 {
		t.Errorf("the run's span has the events %v", events)
	}
}

func TestTelemetryToACollector(t *testing.T) {
	var mu sync.Mutex
	got := make(map[string][]byte)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path] = append(got[r.URL.Path], raw...)
	}))
	defer srv.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	r := runArgs(t, "-to", filepath.Join(t.TempDir(), "archive"), "-otel", "otlp")
	r.want(t, exitOK, "Stored 300 messages")
	mu.Lock()
	defer mu.Unlock()
	if !bytes.Contains(got["/v1/metrics"], []byte("mailconn.messages")) || !bytes.Contains(got["/v1/traces"], []byte("mailconn stored")) {
		t.Errorf("the collector got %d octets of metrics and %d of traces", len(got["/v1/metrics"]), len(got["/v1/traces"]))
	}
	srv.Close()
	r = runArgs(t, "-to", filepath.Join(t.TempDir(), "archive"), "-otel", "tape")
	r.want(t, exitUsage, "-otel tape: want stdout or otlp")
}
