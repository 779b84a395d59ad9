package swift_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func TestReport(t *testing.T) {
	for name, test := range map[string]struct {
		opts  objecttest.SwiftOptions
		more  map[string]any
		fault string // operation that fails
		want  []string
		fails string // the step
		hint  string // of it
	}{
		"good": {
			opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3},
			want: []string{"version 3", "user and password accepted", "project mail", "DFW, ORD", "swift 2.30.1", "bulk delete", "presigned URLs", "container archive with 0 objects", "refused the second time"},
		},
		"rackspace":       {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace}, want: []string{"user and API key accepted"}},
		"TLS":             {opts: objecttest.SwiftOptions{ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertGood}}, want: []string{"TLS 1.3"}},
		"little":          {opts: objecttest.SwiftOptions{NoBulk: true, NoSLO: true, NoTempURL: true}, want: []string{"no large objects", "no bulk delete", "no presigned URLs", "single_put_limit"}},
		"silent":          {opts: objecttest.SwiftOptions{NoInfo: true}, want: []string{"does not tell"}},
		"scheme guessed":  {opts: objecttest.SwiftOptions{ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertGood}}, want: []string{"names no scheme: https"}},
		"wrong key":       {more: map[string]any{"credential": "wrong"}, fails: "auth", hint: "credential"},
		"unknown bucket":  {more: map[string]any{"bucket": "nowhere"}, fails: "open", hint: "bucket: create the container nowhere first"},
		"reader":          {opts: objecttest.SwiftOptions{Reader: true}, fails: "write", hint: "identity"},
		"expired":         {opts: objecttest.SwiftOptions{ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertExpired}}, fails: "tls", hint: "expired"},
		"region":          {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3}, more: map[string]any{"region": "NOPE"}, fails: "auth", hint: "region: name one of these regions: DFW, ORD"},
		"no project":      {opts: objecttest.SwiftOptions{Auth: objecttest.SwiftV3}, more: map[string]any{"identity": "archiver"}, fails: "auth", hint: "project"},
		"dead":            {more: map[string]any{"location": "http://127.0.0.1:1/auth/v1.0"}, fails: "connect", hint: "location"},
		"listing refused": {fault: "ListObjects", fails: "read", hint: "identity"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewSwift(t, &test.opts)
			more := test.more
			if name == "scheme guessed" {
				more = map[string]any{"location": srv.Addr() + "/auth/v1.0"}
			}
			c := conn(t, srv, more)
			if test.fault != "" {
				srv.Fail(test.fault, -1, objecttest.Status(http.StatusForbidden, ""))
			}
			report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
			text := report.String()
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("the report lacks %q:\n%s", want, text)
				}
			}
			var steps []string
			for _, s := range report.Steps {
				steps = append(steps, s.Name)
				if s.Status == connection.StatusFailed && (s.Name != test.fails || !strings.Contains(s.Hint, test.hint)) {
					t.Errorf("the step that failed is %s, with hint %q; want %s, %q\n%s", s.Name, s.Hint, test.fails, test.hint, text)
				}
			}
			if want := []string{"resolve", "connect", "tls", "auth", "capabilities", "open", "read", "write", "remove"}; !slices.Equal(steps, want) {
				t.Errorf("the steps are %q, want %q", steps, want)
			}
			if (err != nil) != (test.fails != "") {
				t.Errorf("got error %v\n%s", err, text)
			}
			if len(srv.Objects()) != 0 {
				t.Error("an object is left")
			}
			if strings.Contains(text, srv.Key()) {
				t.Error("the report holds the key")
			}
		})
	}
}

// A clock that differs is told, since it judges what is old.
func TestReportsSkew(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	srv.Skew(20 * time.Minute)
	report, err := conn(t, srv, nil).Test(t.Context(), nil)
	if err != nil || !strings.Contains(report.String(), "m59s ahead") && !strings.Contains(report.String(), "20m0s ahead") || !strings.Contains(report.String(), "clock") {
		t.Errorf("got error %v\n%s", err, report)
	}
}

func TestReportWithoutTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err := conn(t, objecttest.NewSwift(t, nil), nil).Test(ctx, nil)
	if connection.KindOf(err) != connection.ErrCanceled || len(report.Steps) == 0 {
		t.Errorf("got error %v\n%s", err, report)
	}
}
