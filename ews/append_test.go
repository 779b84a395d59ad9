package ews_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A message that is appended is no draft, and has the flags and the time that were asked for.
func TestAppend(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	at := time.Date(2019, 3, 31, 1, 59, 59, 0, time.FixedZone("", 3600))
	for name, tt := range map[string]struct {
		opts        *connection.AppendOptions
		read, draft bool
	}{
		"Inbox":      {nil, false, false},
		"Sent Items": {&connection.AppendOptions{Flags: []connection.Flag{connection.FlagSeen}, Received: at, Size: int64(len(letter(1)))}, true, false},
		"Drafts":     {&connection.AppendOptions{Flags: []connection.Flag{connection.FlagDraft, `\seen`}}, true, true},
	} {
		ref, err := c.Append(t.Context(), name, bytes.NewReader(letter(1)), tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		all := r.Messages(alice, name)
		if len(all) != 1 || !bytes.Equal(all[0].Raw, letter(1)) || all[0].ID != ref.ID || all[0].Read != tt.read || all[0].Draft != tt.draft {
			t.Errorf("%s holds %+v; the Ref is %v", name, all, ref)
		}
		if tt.opts != nil && !tt.opts.Received.IsZero() && !all[0].Received.Equal(at) {
			t.Errorf("%s: received %v, want %v", name, all[0].Received, at)
		}
		m, err := c.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil || !bytes.Equal(raw, letter(1)) {
			t.Errorf("read back: %q, error %v", raw, err)
		}
		if err := m.Body.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	}
}

// Flags that Exchange has no property for are left out, and an event says so.
func TestAppendFlags(t *testing.T) {
	r := newRig(t, nil)
	var quirks []string
	r.env.Observe = func(ev connection.Event) {
		if ev.Kind == connection.EventQuirk {
			quirks = append(quirks, ev.Detail)
		}
	}
	c := r.open(t)
	flags := []connection.Flag{connection.FlagFlagged, `\FLAGGED`, connection.FlagAnswered, connection.FlagForwarded, "$Junk"}
	if _, err := c.Append(t.Context(), "Inbox", bytes.NewReader(letter(1)), &connection.AppendOptions{Flags: flags}); err != nil {
		t.Fatal(err)
	}
	if len(quirks) != 1 || !strings.Contains(quirks[0], "$Junk") || strings.Contains(quirks[0], "Answered") {
		t.Errorf("got events %q", quirks)
	}
	body := requestBody(t, r, "CreateItem")
	for _, want := range []string{`PropertyTag="0x1090"`, `PropertyTag="0x1081"`, "<t:Value>102</t:Value>"} {
		if strings.Count(body, want) != 1 {
			t.Errorf("the request has %d of %s: %s", strings.Count(body, want), want, body)
		}
	}
}

// requestBody returns the body of the last request of an operation.
func requestBody(t testing.TB, r *rig, operation string) string {
	t.Helper()
	for _, req := range slices.Backward(r.Requests()) {
		if req.Operation == operation {
			return string(req.Body)
		}
	}
	t.Fatalf("there was no request %s", operation)
	return ""
}

func TestAppendFolders(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	put := func(folder string, create bool) error {
		_, err := c.Append(t.Context(), folder, bytes.NewReader(letter(1)), &connection.AppendOptions{CreateFolder: create})
		return err
	}
	e := theError(t, put("Projects/2026/a%2Fb", false), connection.ErrNotFound)
	if e.Op != "append" || e.Ref.Folder != "Projects/2026/a%2Fb" || e.Hint == "" {
		t.Errorf("got %+v", e)
	}
	for _, name := range []string{"Projects/2026/a%2Fb", "Projects/2026/c", "inbox/below"} {
		if err := put(name, true); err != nil {
			t.Fatal(err)
		}
		if err := put(name, false); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	names := map[string]bool{}
	for f, err := range c.Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names[f.Name] = true
	}
	for _, want := range []string{"Projects", "Projects/2026", "Projects/2026/a%2Fb", "Projects/2026/c", "Inbox/below"} {
		if !names[want] {
			t.Errorf("there is no %q among %v", want, names)
		}
	}
	mustBe(t, put("a//b", true), connection.ErrInvalid)
	_, err := c.Append(t.Context(), "x", bytes.NewReader(letter(1)), &connection.AppendOptions{Mailbox: "#public"})
	mustBe(t, err, connection.ErrUnsupported)
}

// A folder that was found once is not looked for again; one that is made anew behind our back is.
func TestAppendRemembersFolders(t *testing.T) {
	r := newRig(t, nil)
	f := r.alice.Folder("Projects")
	c := r.open(t)
	for range 3 {
		if _, err := c.Append(t.Context(), "Projects", bytes.NewReader(letter(1)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Calls("SyncFolderHierarchy"); n != 1 {
		t.Errorf("folders were listed %d times for three messages", n)
	}
	f.Delete()
	_, err := c.Append(t.Context(), "Projects", bytes.NewReader(letter(2)), nil)
	mustBe(t, err, connection.ErrNotFound)
	r.alice.Folder("Projects")
	if _, err := c.Append(t.Context(), "Projects", bytes.NewReader(letter(3)), nil); err != nil {
		t.Fatal(err)
	}
	if got := r.Messages(alice, "Projects"); len(got) != 1 || !bytes.Equal(got[0].Raw, letter(3)) {
		t.Errorf("the new folder holds %d messages", len(got))
	}
}

// A reply that is lost leaves it open whether the message is stored, and it is not sent again.
func TestE37AppendReplyLost(t *testing.T) {
	for name, fault := range map[string]ewstest.Fault{
		"connection closed":  ewstest.Lose(),
		"cut":                ewstest.CutAfter(300),
		"not to be read":     ewstest.Unclosed(),
		"internal error":     ewstest.Refuse("ErrorInternalServerError", "An internal server error occurred."),
		"timeout":            ewstest.Refuse("ErrorTimeoutExpired", "The request timed out."),
		"fault without code": ewstest.Refuse("", "Something went wrong."),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.Fail(ewstest.On("CreateItem"), fault)
			_, err := r.open(t).Append(t.Context(), "Inbox", bytes.NewReader(letter(1)), nil)
			mustBe(t, err, connection.ErrUncertain)
			if connection.Temporary(err) {
				t.Error("what is uncertain is temporary")
			}
			if n := r.Calls("CreateItem"); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// What the server refuses is not in doubt.
func TestAppendRefused(t *testing.T) {
	for code, kind := range map[string]connection.Kind{
		"ErrorQuotaExceeded":              connection.ErrQuota,
		"ErrorMessageSizeExceeded":        connection.ErrTooLarge,
		"ErrorAccessDenied":               connection.ErrPermission,
		"ErrorSomethingNobodyHasHeardOf":  connection.ErrUnknown,
		"ErrorMimeContentInvalid":         connection.ErrRejected,
		"ErrorSubmissionQuotaExceeded":    connection.ErrUnknown,
		"ErrorInvalidPropertyRequest":     connection.ErrProtocol,
		"ErrorMailboxStoreUnavailable":    connection.ErrUnavailable,
		"ErrorInsufficientResources":      connection.ErrUnavailable,
		"ErrorADUnavailable":              connection.ErrUnavailable,
		"ErrorExceededConnectionCount000": connection.ErrUnknown,
	} {
		r := newRig(t, nil)
		r.Fail(ewstest.On("CreateItem"), ewstest.FailItem(0, code))
		_, err := r.open(t).Append(t.Context(), "Inbox", bytes.NewReader(letter(1)), nil)
		if e := theError(t, err, kind); e.Code != code || e.Op != "append" {
			t.Errorf("%s: got %v", code, err)
		}
		if n := r.Calls("CreateItem"); n != 1 {
			t.Errorf("%s: %d requests", code, n)
		}
	}
}

// A server that is busy has not acted, and is asked again.
func TestAppendBusy(t *testing.T) {
	r := newRig(t, nil)
	r.Fail(ewstest.On("CreateItem").Times(1), ewstest.Busy(time.Second))
	if _, err := r.open(t).Append(t.Context(), "Inbox", bytes.NewReader(letter(1)), nil); err != nil {
		t.Fatal(err)
	}
	if got := r.inbox(); len(got) != 1 {
		t.Errorf("the inbox holds %d messages", len(got))
	}
}

var errTorn = errors.New("the tape is torn")

// torn reads as raw does and then fails, with an error that looks like an end.
type torn struct{ r io.Reader }

func (s torn) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == io.EOF { //nolint:errorlint // a reader of bytes
		err = errors.Join(errTorn, io.EOF)
	}
	return n, err
}

// Nothing is stored of a message that cannot be read whole, or is not as long as it was said to be.
func TestAppendAllOrNothing(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	raw := large(400_000)
	name := filepath.Join(t.TempDir(), "shrinking")
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // was only read
	for what, tt := range map[string]struct {
		body io.Reader
		size int64
		kind connection.Kind
	}{
		"torn":               {torn{bytes.NewReader(raw[:300_000])}, 0, connection.ErrUnknown},
		"torn at the end":    {torn{bytes.NewReader(raw)}, int64(len(raw)), connection.ErrUnknown},
		"too long":           {bytes.NewReader(raw), int64(len(raw)) - 1, connection.ErrInvalid},
		"too long, streamed": {io.MultiReader(bytes.NewReader(raw)), int64(len(raw)) - 1, connection.ErrInvalid},
		"too short":          {strings.NewReader(string(raw)), int64(len(raw)) + 1, connection.ErrInvalid},
		"a negative size":    {bytes.NewReader(raw), -1, connection.ErrInvalid},
		"empty":              {strings.NewReader(""), 0, connection.ErrInvalid},
		"closed file":        {closed(t, name), 0, connection.ErrUnknown},
	} {
		_, err := c.Append(t.Context(), "Inbox", tt.body, &connection.AppendOptions{Size: tt.size})
		var e *connection.Error
		if !errors.As(err, &e) || tt.kind != connection.ErrUnknown && e.Kind != tt.kind || e.Kind == connection.ErrUncertain {
			t.Errorf("%s: got error %v", what, err)
		}
		if strings.HasPrefix(what, "torn") && !errors.Is(err, errTorn) {
			t.Errorf("%s: the reader's error is not in %v", what, err)
		}
	}
	// A file that shrinks while it is sent.
	shrink := &shrinking{File: f, name: name, t: t}
	_, err = c.Append(t.Context(), "Inbox", io.NewSectionReader(shrink, 0, int64(len(raw))), nil)
	if err == nil || errors.Is(err, connection.ErrUncertain) {
		t.Errorf("a file that shrank: got error %v", err)
	}
	if got := r.inbox(); len(got) != 0 {
		t.Errorf("the inbox holds %d messages", len(got))
	}
	if _, err := c.Append(t.Context(), "Inbox", bytes.NewReader(raw), nil); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, strs(r.inbox()), raw)
}

func strs(all [][]byte) []string {
	var out []string
	for _, raw := range all {
		out = append(out, string(raw))
	}
	return out
}

// closed returns a file that can be sought in no more.
func closed(t testing.TB, name string) io.Reader {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// shrinking loses its second half when that is read.
type shrinking struct {
	*os.File
	name string
	t    testing.TB
}

func (s *shrinking) ReadAt(p []byte, at int64) (int, error) {
	if at > 150_000 {
		if err := os.Truncate(s.name, 150_000); err != nil {
			s.t.Error(err)
		}
	}
	return s.File.ReadAt(p, at)
}

// A reader is read from where it stands, and a filter around a file is not passed by.
func TestAppendReadsFromWhereItStands(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	name := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(name, append([]byte("skip me"), letter(1)...), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() *os.File {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() }) // was only read
		if _, err := f.Seek(7, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		return f
	}
	pipe, w := io.Pipe()
	go func() {
		_, err := w.Write(letter(1))
		w.CloseWithError(err)
	}()
	want := letter(1)
	for what, body := range map[string]io.Reader{"file": open(), "pipe": pipe} {
		ref, err := c.Append(t.Context(), what, body, &connection.AppendOptions{CreateFolder: true})
		if err != nil || ref.ID == "" {
			t.Fatalf("%s: Ref %v, error %v", what, ref, err)
		}
		if got := r.Messages(alice, what); len(got) != 1 || !bytes.Equal(got[0].Raw, want) {
			t.Errorf("%s: holds %+v", what, got)
		}
	}
	filtered := upper{open()}
	if _, err := c.Append(t.Context(), "Inbox", filtered, nil); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, strs(r.inbox()), bytes.ToUpper(want))
}

// upper is a filter that has all the methods of a file.
type upper struct{ *os.File }

func (u upper) Read(p []byte) (int, error) {
	n, err := u.File.Read(p)
	copy(p, bytes.ToUpper(p[:n]))
	return n, err
}

func TestAppendToAnotherMailbox(t *testing.T) {
	r := newRig(t, nil)
	r.AddMailbox(bob, ewstest.MailboxOptions{})
	c := r.impersonating().open(t)
	ref, err := c.Append(t.Context(), "Inbox", bytes.NewReader(letter(1)), &connection.AppendOptions{Mailbox: bob})
	if err != nil || ref.Mailbox != bob || ref.ID == "" {
		t.Fatalf("Ref %v, error %v", ref, err)
	}
	if got := r.Messages(bob, "Inbox"); len(got) != 1 {
		t.Errorf("bob's inbox holds %d messages", len(got))
	}
	r.Revoke(svc)
	_, err = c.Append(t.Context(), "Inbox", bytes.NewReader(letter(1)), &connection.AppendOptions{Mailbox: alice})
	mustBe(t, err, connection.ErrPermission)
}

func TestAppendEnds(t *testing.T) {
	r := newRig(t, nil)
	r.Fail(ewstest.On("CreateItem"), ewstest.StallAfter(0))
	c := r.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(t, "the request", func() bool { return r.Calls("CreateItem") > 0 })
		cancel()
	}()
	_, err := c.Append(ctx, "Inbox", bytes.NewReader(letter(1)), nil)
	mustBe(t, err, connection.ErrUncertain)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ctx.Err() in its chain", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = c.Append(t.Context(), "Inbox", bytes.NewReader(letter(1)), nil)
	mustBe(t, err, connection.ErrClosed)
	noGoroutines(t)
}

var _ connection.Appender = (*ews.Conn)(nil)
