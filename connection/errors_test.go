package connection_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func TestErrorText(t *testing.T) {
	err := &connection.Error{
		Op: "fetch", Driver: "imap", Endpoint: "h:993", Ref: connection.Ref{Mailbox: "a@b", Folder: "INBOX", ID: "7:12"},
		Kind: connection.ErrNotFound, Code: "NONEXISTENT", Err: errors.New("gone\r\nforged: line\x1b[2J\u202e\x9b"), Hint: "look at folders",
	}
	want := "imap fetch h:993 a@b/INBOX/7:12: not found [NONEXISTENT]: gone  forged: line [2J\ufffd\ufffd (look at folders)"
	if got := err.Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := (&connection.Error{Kind: connection.ErrQuota}).Error(); got != "quota exceeded" {
		t.Errorf("got %q", got)
	}
}

func TestKindOf(t *testing.T) {
	deep := fmt.Errorf("a: %w", errors.Join(errors.New("x"), fmt.Errorf("b: %w", &connection.Error{Kind: connection.ErrQuota})))
	for _, tt := range []struct {
		err  error
		want connection.Kind
	}{
		{nil, connection.ErrUnknown},
		{errors.New("x"), connection.ErrUnknown},
		{deep, connection.ErrQuota},
		{fmt.Errorf("x: %w", connection.ErrStale), connection.ErrStale},
		{&connection.Error{Err: context.Canceled}, connection.ErrCanceled},
		{context.DeadlineExceeded, connection.ErrTimeout},
		{os.ErrDeadlineExceeded, connection.ErrTimeout},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, connection.ErrNetwork},
		{&net.DNSError{IsNotFound: true}, connection.ErrNetwork},
		{io.ErrUnexpectedEOF, connection.ErrNetwork},
		{x509.HostnameError{Certificate: &x509.Certificate{}}, connection.ErrTLS},
		{x509.UnknownAuthorityError{}, connection.ErrTLS},
		{&fs.PathError{Err: syscall.ENOSPC}, connection.ErrQuota},
		{&fs.PathError{Err: syscall.EACCES}, connection.ErrPermission},
		{&fs.PathError{Err: syscall.ENOENT}, connection.ErrNotFound},
		{&fs.PathError{Err: syscall.EEXIST}, connection.ErrExists},
	} {
		if got := connection.KindOf(tt.err); got != tt.want {
			t.Errorf("KindOf(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
	if !errors.Is(deep, connection.ErrQuota) || errors.Is(deep, connection.ErrAuth) {
		t.Error("errors.Is does not see the kind")
	}
}

// joinedNothing joins errors, of which there are none.
type joinedNothing struct{}

func (joinedNothing) Error() string   { return "something" }
func (joinedNothing) Unwrap() []error { return nil }

func TestTemporary(t *testing.T) {
	kind := func(k connection.Kind) error { return &connection.Error{Kind: k} }
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{kind(connection.ErrNetwork), true},
		{kind(connection.ErrThrottled), true},
		{kind(connection.ErrUnavailable), true},
		{kind(connection.ErrTimeout), true},
		{kind(connection.ErrUncertain), false},
		{kind(connection.ErrAuth), false},
		{kind(connection.ErrTLS), false},
		{errors.Join(kind(connection.ErrNetwork), kind(connection.ErrTimeout)), true},
		{errors.Join(kind(connection.ErrNetwork), kind(connection.ErrAuth)), false},
		{&connection.Error{Kind: connection.ErrNetwork, Err: context.Canceled}, false},
		{joinedNothing{}, false},
	} {
		if got := connection.Temporary(tt.err); got != tt.want {
			t.Errorf("Temporary(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestErrorsAndRetryAfter(t *testing.T) {
	a := &connection.Error{Ref: connection.Ref{ID: "a"}, RetryAfter: time.Second}
	b := &connection.Error{Ref: connection.Ref{ID: "b"}, RetryAfter: time.Minute, Err: errors.Join(errors.New("inner"), errors.New("join"))}
	err := fmt.Errorf("deleting: %w", errors.Join(a, errors.New("plain"), errors.Join(b)))
	var ids []string
	for e := range connection.Errors(err) {
		ids = append(ids, e.Ref.ID)
	}
	if strings.Join(ids, " ") != "a b" {
		t.Errorf("Errors yielded %v, want a and b", ids)
	}
	for range connection.Errors(err) { //nolint:errcheck // left at once
		break
	}
	if got := connection.RetryAfter(err); got != time.Minute {
		t.Errorf("RetryAfter = %v, want a minute", got)
	}
}

func TestReport(t *testing.T) {
	refused := &connection.Error{Op: "test", Driver: "imap", Kind: connection.ErrAuth, Code: "AUTHENTICATIONFAILED", Err: errors.New("no\nway"), Hint: "check username and password"}
	r := &connection.Report{
		Info: connection.Info{Name: "Journal", Driver: "imap", Endpoint: "h:993"},
		Steps: []connection.Step{
			{Name: "connect", Status: connection.StatusOK, Detail: "192.0.2.1:993", Elapsed: 12 * time.Millisecond},
			{Name: "tls", Status: connection.StatusWarned, Detail: "TLS 1.3\nexpires soon", Hint: "renew the certificate"},
			{Name: "auth", Status: connection.StatusFailed, Err: refused, Hint: "check username and password"},
			{Name: "open", Status: connection.StatusSkipped},
		},
	}
	want := `Journal (imap) h:993
  ok       connect  192.0.2.1:993 (12ms)
  warned   tls      TLS 1.3
                    expires soon
                    Hint: renew the certificate
  failed   auth     imap test: authentication refused [AUTHENTICATIONFAILED]: no way
                    Hint: check username and password
  skipped  open
`
	if got := r.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if !errors.Is(r.Err(), connection.ErrAuth) || r.OK() {
		t.Errorf("Err() = %v", r.Err())
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"name":"auth","status":"failed"`, `"kind":"authentication refused"`, `"elapsed":"12ms"`, `"hint":"renew the certificate"`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("JSON lacks %s: %s", part, text)
		}
	}
}

func TestDurationJSON(t *testing.T) {
	for in, want := range map[string]time.Duration{`"1m30s"`: 90 * time.Second, `250`: 250 * time.Millisecond, `0`: 0, `"0"`: 0, `-5`: -5 * time.Millisecond} {
		var d connection.Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil || d.D() != want {
			t.Errorf("%s: got %v, %v; want %v", in, d, err, want)
		}
	}
	for _, in := range []string{`"x"`, `1.5`, `true`, `9223372036854775807`, `[]`} {
		var d connection.Duration
		if err := json.Unmarshal([]byte(in), &d); err == nil {
			t.Errorf("%s: no error, got %v", in, d)
		}
	}
	text, err := json.Marshal(connection.Duration(90 * time.Second))
	if err != nil || string(text) != `"1m30s"` {
		t.Errorf("got %s, %v", text, err)
	}
}
