package s3_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/s3"
)

// canned answers every request at once, so that what is measured is the driver.
func canned(b *testing.B, body []byte) *s3.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"x"`)
		switch {
		case r.URL.Query().Has("object-lock"):
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>")
		case r.Method == http.MethodGet:
			_, _ = w.Write(body)
		default:
			_, _ = io.Copy(io.Discard, r.Body)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // until Close
	}()
	b.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	c, err := s3.Open(s3.Config{Settings: objectstore.Settings{
		Location: "http://" + l.Addr().String(), Bucket: "archive", Identity: "AKIDEXAMPLE", Credential: connection.NewSecret("a secret key"),
	}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}

func BenchmarkPut(b *testing.B) {
	body := make([]byte, 50_000)
	c := canned(b, nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := c.Put(b.Context(), "2026/11/23/mail.eml", bytes.NewReader(body), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	c := canned(b, make([]byte, 50_000))
	b.ReportAllocs()
	b.SetBytes(50_000)
	for b.Loop() {
		o, err := c.Get(b.Context(), "2026/11/23/mail.eml", nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, o.Body); err != nil {
			b.Fatal(err)
		}
		if err := o.Body.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
