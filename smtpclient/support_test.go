package smtpclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/drivertest"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

const (
	ann   = "ann@example.org"
	bob   = "bob@example.org"
	carol = "carol@example.org"
)

var (
	toBob  = connection.Envelope{From: ann, To: []string{bob}}
	toBoth = connection.Envelope{From: ann, To: []string{bob, carol}}
	letter = "From: Ann <ann@example.org>\r\nMessage-ID: <one@example.org>\r\nSubject: x\r\n\r\nHello.\r\n"
)

// open opens a Conn that closes with the test.
func open(t testing.TB, cfg smtpclient.Config, env *connection.Env) *smtpclient.Conn {
	t.Helper()
	c, err := smtpclient.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// plainServer is a server without TLS and without a login, whose dialogue is easy to follow.
func plainServer(t testing.TB, change func(*smtptest.Options)) (*smtptest.Server, smtpclient.Config) {
	t.Helper()
	o := &smtptest.Options{Mode: connection.ModeInsecure, Open: true}
	if change != nil {
		change(o)
	}
	srv := smtptest.NewServer(t, o)
	return srv, srv.Config()
}

func send(t testing.TB, c *smtpclient.Conn, env connection.Envelope, raw string) (*connection.Receipt, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return c.Send(ctx, env, strings.NewReader(raw), nil)
}

// mustSend fails the test if the message is not taken.
func mustSend(t testing.TB, c *smtpclient.Conn, env connection.Envelope, raw string) *connection.Receipt {
	t.Helper()
	r, err := send(t, c, env, raw)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	return r
}

// wantKind fails the test if err is not of the kind, or is not the driver's own.
func wantKind(t testing.TB, err error, kind connection.Kind, texts ...string) connection.Error {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got error %v, want %q", err, kind)
	}
	if e.Driver != "smtp" || e.Op == "" || e.Endpoint == "" {
		t.Errorf("got error with driver %q, op %q, endpoint %q", e.Driver, e.Op, e.Endpoint)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got error %q, want %q in it", err, text)
		}
	}
	return *e
}

// wantArrived fails the test if not exactly these messages were taken.
func wantArrived(t testing.TB, srv *smtptest.Server, raw ...string) {
	t.Helper()
	got := srv.Messages()
	if len(got) != len(raw) {
		t.Fatalf("%d messages arrived, want %d", len(got), len(raw))
	}
	for i, m := range got {
		if string(m.Raw) != raw[i] {
			t.Errorf("message %d: got %q, want %q", i+1, m.Raw, raw[i])
		}
	}
}

// names returns the names of commands.
func names(all []smtptest.Command) string {
	var words []string
	for _, c := range all {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// stream is a body that cannot seek.
func stream(raw string) io.Reader { return io.MultiReader(strings.NewReader(raw)) }

// failing reads raw and then fails.
func failing(raw string, err error) io.Reader {
	return io.MultiReader(strings.NewReader(raw), errReader{err})
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// fickle is a body that can seek and fails, or ends, only when it is read a second time.
type fickle struct {
	*bytes.Reader
	again []byte
	err   error
	times int
}

func (f *fickle) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		if f.times++; f.times == 2 {
			f.Reader = bytes.NewReader(f.again)
		}
	}
	return f.Reader.Seek(offset, whence)
}

func (f *fickle) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if f.times >= 2 && errors.Is(err, io.EOF) && f.err != nil {
		err = f.err
	}
	return n, err
}

var poll = drivertest.Eventually
