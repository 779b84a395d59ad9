package s3_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// step returns a step of a report.
func step(t testing.TB, r *connection.Report, name string) connection.Step {
	t.Helper()
	for _, s := range r.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step %s in\n%s", name, r)
	return connection.Step{}
}

func TestReport(t *testing.T) {
	for name, tt := range map[string]struct {
		opts    objecttest.S3Options
		more    map[string]any
		prepare func(srv *objecttest.S3)
		failed  string // the step that fails, "" = none
		says    map[string]string
	}{
		"all is well": {says: map[string]string{
			"auth": "access key AKIDEXAMPLE; the server's clock is", "open": "/archive, region us-east-1", "capabilities": "put-if-absent of objects in parts: not proven: a look right before the last request guards them\nunfinished uploads: none",
			"write": "put once, refused the second time, and read back", "tls": "http on this machine",
		}},
		"over TLS":         {opts: objecttest.S3Options{ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertGood}}, says: map[string]string{"tls": "TLS 1.3"}},
		"identity":         {more: map[string]any{"identity": "AKIDOTHER"}, failed: "auth", says: map[string]string{"auth": "identity:"}},
		"credential":       {more: map[string]any{"credential": "wrong"}, failed: "auth", says: map[string]string{"auth": "credential:"}},
		"bucket":           {more: map[string]any{"bucket": "none"}, failed: "open", says: map[string]string{"open": "Bucket UID"}},
		"no permission":    {prepare: func(srv *objecttest.S3) { srv.Deny() }, failed: "open", says: map[string]string{"open": "identity: this access key lacks a permission"}},
		"clock":            {prepare: func(srv *objecttest.S3) { srv.Skew(-20 * time.Minute) }, failed: "auth", says: map[string]string{"auth": "set this machine's clock"}},
		"clock a bit off":  {prepare: func(srv *objecttest.S3) { srv.Skew(10 * time.Minute) }, says: map[string]string{"auth": "from 15 minutes on"}},
		"bucket in front":  {more: map[string]any{"location": "http://archive.localhost:1"}, failed: "resolve,connect", says: map[string]string{"resolve": "the bucket is left out of the host"}},
		"locks":            {opts: objecttest.S3Options{Lock: true}, says: map[string]string{"capabilities": "object lock: yes\nversions: yes"}},
		"may not ask":      {opts: objecttest.S3Options{NoLockQuestion: true}, prepare: func(srv *objecttest.S3) { srv.Deny("GetBucketVersioning", "ListMultipartUploads") }, says: map[string]string{"capabilities": "object lock: not known"}},
		"no put-if-absent": {opts: objecttest.S3Options{Conditions: objecttest.S3Ignored}, says: map[string]string{"write": "emulate_if_absent"}},
		"default retention": {
			opts: objecttest.S3Options{Lock: true},
			prepare: func(srv *objecttest.S3) {
				srv.Fail("GetObjectLockConfiguration", -1, objecttest.Status(200, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>365</Days></DefaultRetention></Rule></ObjectLockConfiguration>"))
			},
			says: map[string]string{"capabilities": "with a default retention", "write": "not tried: the bucket has a default retention"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &tt.opts)
			if tt.prepare != nil {
				tt.prepare(srv)
			}
			c := open(t, srv.Settings(), nil, tt.more)
			report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
			if (err != nil) != (tt.failed != "") || (err == nil) != report.OK() {
				t.Fatalf("got error %v\n%s", err, report)
			}
			failed := ""
			for _, s := range report.Steps {
				if s.Status == connection.StatusFailed {
					failed = s.Name
				}
			}
			if failed != tt.failed && !strings.Contains(tt.failed+",", failed+",") {
				t.Errorf("the step %q failed, want %q\n%s", failed, tt.failed, report)
			}
			for name, want := range tt.says {
				if s := step(t, report, name); !strings.Contains(s.Detail+"\n"+s.Hint, want) {
					t.Errorf("%s: got %q, hint %q, want %q", name, s.Detail, s.Hint, want)
				}
			}
			if n := len(srv.Objects()); n != 0 {
				t.Errorf("%d objects are left", n)
			}
			var e *connection.Error
			if err != nil && (!errors.As(err, &e) || e.Op != "test" || e.Driver != "s3") {
				t.Errorf("got error %+v", err)
			}
		})
	}
}

// TestReportLeavesNoVersions: what the probe writes into a bucket with versions is gone for good.
func TestReportLeavesNoVersions(t *testing.T) {
	srv := objecttest.NewS3(t, &objecttest.S3Options{Versions: true})
	srv.Plant("mailconn-test/old", []byte("of somebody else"))
	srv.Skew(time.Minute) // whose version would be older than the test by the server's clock, too
	c := open(t, srv.Settings(), nil, nil)
	if report, err := c.Test(t.Context(), &connection.TestOptions{Write: true}); err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	for _, r := range srv.Requests("PutObject") {
		key := strings.TrimPrefix(r.Path, "/archive/")
		if n := srv.Versions(key); n != 0 {
			t.Errorf("%d versions of %s are left", n, key)
		}
	}
	if n := srv.Versions("mailconn-test/old"); n != 1 {
		t.Errorf("%d versions of another's are left, want 1", n)
	}
}

// TestReportChangesNothing without leave to write.
func TestReportChangesNothing(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	var told []string
	report, err := open(t, srv.Settings(), nil, nil).Test(t.Context(), &connection.TestOptions{Progress: func(s connection.Step) { told = append(told, s.Name) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range srv.Requests() {
		if r.Method != "GET" && r.Method != "HEAD" {
			t.Errorf("%s %s", r.Method, r.Op)
		}
	}
	if got, want := strings.Join(told, " "), "resolve connect tls auth open capabilities read write remove"; got != want || len(report.Steps) != len(told) {
		t.Errorf("got the steps %s, want %s", got, want)
	}
}

// TestReportCountsLeftovers, which cost room.
func TestReportCountsLeftovers(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20, "max_attempts": 1})
	srv.Fail("AbortMultipartUpload", -1, objecttest.Status(403, "<Error><Code>AccessDenied</Code></Error>"))
	srv.Fail("UploadPart", 1, objecttest.Status(403, "<Error><Code>AccessDenied</Code></Error>"))
	_, err := c.Put(t.Context(), "k", bytes.NewReader(make([]byte, 2<<20)), nil)
	if e := mustKind(t, "put", err, connection.ErrPermission); !strings.Contains(e.Error(), "stays behind") {
		t.Errorf("got %v", e)
	}
	report, err := c.Test(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := step(t, report, "capabilities"); s.Status != connection.StatusWarned || !strings.Contains(s.Detail, "unfinished uploads: 1, the oldest of") {
		t.Errorf("got %+v", s)
	}
}
