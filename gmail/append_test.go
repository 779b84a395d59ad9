package gmail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// letterOf is a message of about size octets.
func letterOf(id string, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: eve@out.example\r\nTo: ann@corp.example\r\nDate: Tue, 01 Dec 2026 10:00:00 +0000\r\nMessage-ID: <%s>\r\nSubject: restored\r\n\r\n", id)
	line := strings.Repeat("letter \xc3\xa4 ", 90) + "\r\n"
	for b.Len() < size {
		b.WriteString(line)
	}
	return b.Bytes()
}

func appendTo(t *testing.T, r *changeRig, folder string, raw []byte, opts connection.AppendOptions) (connection.Ref, error) {
	t.Helper()
	if opts.Mailbox == "" {
		opts.Mailbox = "ann@corp.example"
	}
	return r.conn.Append(t.Context(), folder, io.MultiReader(bytes.NewReader(raw)), &opts)
}

// Every method, form and size gives the octets unchanged, with what the settings say.
func TestAppend(t *testing.T) {
	for _, test := range []struct {
		method, form string
		size         int
		upload       string // what the server sees
	}{
		{gmail.AppendImport, gmail.UploadAuto, 1, ""},
		{gmail.AppendImport, gmail.UploadAuto, 4<<20 + 1, "multipart"},
		{gmail.AppendImport, gmail.UploadAuto, 6 << 20, "resumable"},
		{gmail.AppendImport, gmail.UploadJSON, 5 << 20, ""},
		{gmail.AppendImport, gmail.UploadMedia, 3000, "multipart"},
		{gmail.AppendInsert, gmail.UploadJSON, 3001, ""},
		{gmail.AppendInsert, gmail.UploadMedia, 3002, "multipart"},
	} {
		t.Run(fmt.Sprintf("%s, %s, %d", test.method, test.form, test.size), func(t *testing.T) {
			set := func(c *gmail.Config, _ *gmail.Options) { c.AppendMethod, c.Upload = test.method, test.form }
			changing(t, nil, set, func(t *testing.T, r *changeRig) {
				raw := letterOf("1@out.example", test.size)
				ref, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{Flags: []connection.Flag{connection.FlagSeen}})
				if err != nil {
					t.Fatal(err)
				}
				m := r.holds(t, "ann@corp.example", raw)
				if m == nil || ref != (connection.Ref{Mailbox: r.ann, ID: m.ID}) {
					t.Fatalf("got %v, and the mailbox holds %v", ref, m)
				}
				if !slices.Equal(m.Labels, []string{"INBOX"}) {
					t.Errorf("labels: got %q, want INBOX alone", m.Labels)
				}
				if want := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC); !m.Internal.Equal(want) {
					t.Errorf("received: got %s, want %s", m.Internal, want)
				}
				if r.Units(r.ann) != 26 {
					t.Errorf("%d units, want 26: of the labels and the message", r.Units(r.ann))
				}
				for _, q := range r.Requests() {
					if q.Method != "messages."+test.method {
						continue
					}
					if q.Upload != test.upload || !slices.Equal(q.Scopes, []string{"https://www.googleapis.com/auth/gmail.insert"}) {
						t.Errorf("upload type %q, scopes %q", q.Upload, q.Scopes)
					}
				}
			})
		})
	}
}

func TestAppendFlagsAndFolders(t *testing.T) {
	const star, draft = connection.FlagFlagged, connection.FlagDraft
	for _, test := range []struct {
		folder string
		flags  []connection.Flag
		want   []string
		quirks int
	}{
		{"INBOX", nil, []string{"INBOX", "UNREAD"}, 0},
		{"inbox", []connection.Flag{`\SEEN`, star, star}, []string{"INBOX", "STARRED"}, 0},
		{"SENT", []connection.Flag{"$Important", `\Seen`}, []string{"IMPORTANT", "SENT"}, 0},
		{`\Junk`, []connection.Flag{`\Seen`}, []string{"SPAM"}, 0},
		{"TRASH", []connection.Flag{`\Seen`}, []string{"TRASH"}, 0},
		{"Archive", []connection.Flag{`\Seen`}, nil, 0},
		{"DRAFT", []connection.Flag{draft, `\Seen`}, []string{"DRAFT"}, 0},
		{"Archive", []connection.Flag{"CATEGORY_SOCIAL"}, []string{"CATEGORY_SOCIAL", "UNREAD"}, 0},
		{"Archive", []connection.Flag{`\Seen`, `\Answered`, "$Work"}, nil, 1},
		{"Projects/Old", []connection.Flag{`\Seen`}, []string{"Projects/Old"}, 0},
		{"New/Box", []connection.Flag{`\Seen`}, []string{"New/Box"}, 0},
		{"A%2FB/C%25", []connection.Flag{`\Seen`}, []string{"A/B/C%"}, 0},
	} {
		t.Run(test.folder, func(t *testing.T) {
			changing(t, nil, nil, func(t *testing.T, r *changeRig) {
				r.AddLabel("ann@corp.example", "Projects/Old")
				raw := letterOf("1@out.example", 100)
				if _, err := appendTo(t, r, test.folder, raw, connection.AppendOptions{Flags: test.flags, CreateFolder: true}); err != nil {
					t.Fatal(err)
				}
				names := r.Labels("ann@corp.example")
				var got []string
				for _, id := range r.holds(t, "ann@corp.example", raw).Labels {
					got = append(got, names[id])
				}
				slices.Sort(got)
				if !slices.Equal(got, test.want) {
					t.Errorf("labels: got %q, want %q", got, test.want)
				}
				if n := len(r.told(connection.EventQuirk)); n != test.quirks {
					t.Errorf("told of %d quirks, want %d", n, test.quirks)
				}
			})
		})
	}
}

func TestAppendToMissingFolder(t *testing.T) {
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		raw := letterOf("1@out.example", 100)
		_, err := appendTo(t, r, "Nowhere", raw, connection.AppendOptions{})
		if refs := failedRefs(t, err, connection.ErrNotFound); !slices.Equal(refs, []connection.Ref{{Mailbox: "ann@corp.example", Folder: "Nowhere"}}) {
			t.Errorf("got %v for %v", err, refs)
		}
		// A label that somebody else makes is found, and one that is known and gone is noticed.
		id := r.AddLabel("ann@corp.example", "Nowhere")
		if _, err := appendTo(t, r, "Nowhere", raw, connection.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		r.RemoveLabel("ann@corp.example", id)
		_, err = appendTo(t, r, "Nowhere", raw, connection.AppendOptions{})
		failedRefs(t, err, connection.ErrNotFound)
		r.AddLabel("ann@corp.example", "Nowhere")
		if _, err = appendTo(t, r, "Nowhere", raw, connection.AppendOptions{}); err != nil {
			t.Error(err)
		}
		// One that is known and made anew since has another id.
		r.RemoveLabel("ann@corp.example", r.labelNamed("Nowhere"))
		r.AddLabel("ann@corp.example", "Nowhere")
		if _, err = appendTo(t, r, "Nowhere", raw, connection.AppendOptions{}); err != nil {
			t.Error(err)
		}
		// Two who make one label at a time both get it.
		r.Fail(gmailtest.On("labels.create"), gmailtest.Do(func(gmailtest.Request) { r.AddLabel("ann@corp.example", "Twice") }))
		if _, err = appendTo(t, r, "Twice", raw, connection.AppendOptions{CreateFolder: true}); err != nil {
			t.Error(err)
		}
	})
}

// What the settings say goes with each form of upload.
func TestAppendSettings(t *testing.T) {
	no := false
	spam := []byte("Subject: win\r\nMessage-ID: <1@out.example>\r\n\r\n" + gmailtest.Spam + "\r\n")
	for _, form := range []string{gmail.UploadJSON, gmail.UploadMedia} {
		t.Run(form, func(t *testing.T) {
			set := func(c *gmail.Config, _ *gmail.Options) { c.Upload = form }
			changing(t, nil, set, func(t *testing.T, r *changeRig) {
				if _, err := appendTo(t, r, "INBOX", spam, connection.AppendOptions{}); err != nil {
					t.Fatal(err)
				}
				if got := r.Messages(r.ann)[0].Labels; slices.Contains(got, "SPAM") {
					t.Errorf("never_mark_spam: got labels %q", got)
				}
				r.cfg.NeverMarkSpam, r.cfg.InternalDate = &no, gmail.ReceivedTime
				r.conn = r.open(t)
				if _, err := appendTo(t, r, "INBOX", spam, connection.AppendOptions{}); err != nil {
					t.Fatal(err)
				}
				m := r.Messages(r.ann)[1]
				if !slices.Contains(m.Labels, "SPAM") {
					t.Errorf("without never_mark_spam: got labels %q", m.Labels)
				}
				if d := time.Since(m.Internal); d < 0 || d > time.Hour {
					t.Errorf("internal_date: received %s ago", d)
				}
				r.cfg.VaultOnly = true
				r.conn = r.open(t)
				if _, err := appendTo(t, r, "INBOX", spam, connection.AppendOptions{}); err != nil {
					t.Fatal(err)
				}
				if shown, hidden := len(r.Messages(r.ann)), len(r.Vaulted(r.ann)); shown != 2 || hidden != 1 {
					t.Errorf("vault_only: the mailbox shows %d messages and Vault %d, want 2 and 1", shown, hidden)
				}
			})
		})
	}
}

// An arrival time that Gmail cannot record is told, and one that it records anyhow is not.
func TestAppendReceived(t *testing.T) {
	date := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		source   string
		received time.Time
		quirks   int
	}{
		"none": {gmail.DateHeader, time.Time{}, 0}, "the Date": {gmail.DateHeader, date.In(time.FixedZone("", 3600)), 0},
		"another": {gmail.DateHeader, date.Add(time.Minute), 1}, "not recorded": {gmail.ReceivedTime, date, 1},
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.InternalDate = test.source }, func(t *testing.T, r *changeRig) {
				if _, err := appendTo(t, r, "INBOX", letterOf("1@out.example", 10), connection.AppendOptions{Received: test.received}); err != nil {
					t.Fatal(err)
				}
				if n := len(r.told(connection.EventQuirk)); n != test.quirks {
					t.Errorf("told of %d quirks, want %d", n, test.quirks)
				}
			})
		})
	}
}

// broken reads as raw and then fails.
func broken(raw []byte, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(raw), errorReader{err})
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestAppendRefuses(t *testing.T) {
	raw := letterOf("1@out.example", 100)
	whole := func() io.Reader { return bytes.NewReader(raw) }
	for name, test := range map[string]struct {
		set  func(*gmail.Config, *gmail.Options)
		body io.Reader
		opts connection.AppendOptions
		to   string
		kind connection.Kind
	}{
		"no verb":       {func(c *gmail.Config, _ *gmail.Options) { c.Verbs = nil }, whole(), connection.AppendOptions{Mailbox: "ann@corp.example"}, "INBOX", connection.ErrConfig},
		"by monitors":   {monitored, whole(), connection.AppendOptions{Mailbox: "ann@corp.example"}, "INBOX", connection.ErrUnsupported},
		"no mailbox":    {nil, whole(), connection.AppendOptions{}, "INBOX", connection.ErrConfig},
		"no folder":     {nil, whole(), connection.AppendOptions{Mailbox: "ann@corp.example"}, "", connection.ErrInvalid},
		"no body":       {nil, nil, connection.AppendOptions{Mailbox: "ann@corp.example"}, "INBOX", connection.ErrInvalid},
		"empty":         {nil, strings.NewReader(""), connection.AppendOptions{Mailbox: "ann@corp.example"}, "INBOX", connection.ErrInvalid},
		"too short":     {nil, whole(), connection.AppendOptions{Mailbox: "ann@corp.example", Size: int64(len(raw)) + 1}, "INBOX", connection.ErrInvalid},
		"too long":      {nil, whole(), connection.AppendOptions{Mailbox: "ann@corp.example", Size: int64(len(raw)) - 1}, "INBOX", connection.ErrInvalid},
		"negative":      {nil, whole(), connection.AppendOptions{Mailbox: "ann@corp.example", Size: -1}, "INBOX", connection.ErrInvalid},
		"too large":     {nil, errorReader{errHost}, connection.AppendOptions{Mailbox: "ann@corp.example", Size: 157_286_401}, "INBOX", connection.ErrTooLarge},
		"long header":   {nil, strings.NewReader("X: " + strings.Repeat("x", 2<<20)), connection.AppendOptions{Mailbox: "ann@corp.example"}, "INBOX", connection.ErrTooLarge},
		"broken reader": {nil, broken(raw, connection.ErrUncertain), connection.AppendOptions{Mailbox: "ann@corp.example"}, "INBOX", connection.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, test.set, func(t *testing.T, r *changeRig) {
				_, err := r.conn.Append(t.Context(), test.to, test.body, &test.opts)
				failedRefs(t, err, test.kind)
				if n := r.Calls("messages.import"); n != 0 || err == nil {
					t.Errorf("asked %d times: %v", n, err)
				}
			})
		})
	}
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		_, err := r.conn.Append(t.Context(), "INBOX", broken(raw, fmt.Errorf("%w: %w", errHost, io.EOF)), &connection.AppendOptions{Mailbox: r.ann})
		if !errors.Is(err, errHost) {
			t.Errorf("got %v, want the reader's error", err)
		}
	})
}

// A refusal says that nothing was done: the upload is made again.
func TestAppendAfterRefusal(t *testing.T) {
	for form, size := range map[string]int{gmail.UploadJSON: 100, gmail.UploadMedia: 100, gmail.UploadAuto: 6 << 20} {
		for name, fault := range map[string]gmailtest.Fault{
			"rate": gmailtest.Refuse(403, "userRateLimitExceeded", "User Rate Limit Exceeded"), "concurrent": gmailtest.TooManyConcurrent(),
			"token": gmailtest.Refuse(401, "authError", "Invalid Credentials"),
		} {
			t.Run(form+", "+name, func(t *testing.T) {
				changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Upload = form }, func(t *testing.T, r *changeRig) {
					raw := letterOf("1@out.example", size)
					r.Fail(gmailtest.On("messages.import").Times(1), fault)
					if _, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{}); err != nil {
						t.Fatal(err)
					}
					if r.holds(t, r.ann, raw) == nil {
						t.Error("the mailbox does not hold it")
					}
				})
			})
		}
	}
}

// A server that takes no resumable upload is not asked for ever.
func TestG47RefusedUpload(t *testing.T) {
	opts := &gmailtest.Options{Mail: gmailtest.MailOptions{NoResumable: true}}
	changing(t, opts, nil, func(t *testing.T, r *changeRig) {
		raw := letterOf("1@out.example", 6<<20)
		_, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{})
		var e *connection.Error
		if !errors.As(err, &e) || connection.Temporary(err) || !strings.Contains(e.Hint, "upload") {
			t.Errorf("got %v, want an error that names the setting upload", err)
		}
		if n := r.Calls("messages.import"); n > 2 {
			t.Errorf("asked %d times", n)
		}
		r.cfg.Upload = gmail.UploadJSON
		r.conn = r.open(t)
		if _, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{}); err != nil || r.holds(t, r.ann, raw) == nil {
			t.Errorf("by json: %v", err)
		}
	})
}

// A caller who gives up before the last octet has left knows that nothing was stored; behind it nobody knows.
func TestAppendCanceled(t *testing.T) {
	for form, silence := range map[string]gmailtest.Fault{
		gmail.UploadJSON: gmailtest.StallAfter(0), gmail.UploadMedia: gmailtest.Stall(),
	} {
		t.Run(form, func(t *testing.T) {
			changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Upload = form }, func(t *testing.T, r *changeRig) {
				raw := letterOf("1@out.example", 100)
				ctx, cancel := context.WithCancel(t.Context())
				arrived := make(chan struct{})
				r.Fail(gmailtest.On("messages.import"), gmailtest.Do(func(gmailtest.Request) { close(arrived) }), silence)
				go func() {
					<-arrived
					synctest.Wait() // the server has the message, and says nothing
					cancel()
				}()
				_, err := r.conn.Append(ctx, "INBOX", bytes.NewReader(raw), &connection.AppendOptions{Mailbox: r.ann})
				failedRefs(t, err, connection.ErrUncertain)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want it to be canceled", err)
				}
				_, err = r.conn.Append(ctx, "INBOX", bytes.NewReader(raw), &connection.AppendOptions{Mailbox: r.ann})
				failedRefs(t, err, connection.ErrCanceled)
			})
		})
	}
	changing(t, &gmailtest.Options{AllowBadRequests: true}, nil, func(t *testing.T, r *changeRig) {
		ctx, cancel := context.WithCancel(t.Context())
		r.Fail(gmailtest.On("messages.import"), gmailtest.Do(func(gmailtest.Request) { cancel() }), gmailtest.Stall())
		_, err := r.conn.Append(ctx, "INBOX", bytes.NewReader(letterOf("1@out.example", 2<<20)), &connection.AppendOptions{Mailbox: r.ann})
		failedRefs(t, err, connection.ErrCanceled)
	})
}

// Levels of a path are apart by the delimiter of the settings, and by "/" in Gmail.
func TestAppendWithAnotherDelimiter(t *testing.T) {
	changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.FolderDelimiter = "." }, func(t *testing.T, r *changeRig) {
		for _, folder := range []string{"Work.Q%2E3", "Work/Other"} {
			if _, err := appendTo(t, r, folder, letterOf("1@out.example", 10), connection.AppendOptions{CreateFolder: true}); err != nil {
				t.Fatal(err)
			}
		}
		got := slices.Sorted(maps.Values(r.Labels(r.ann)))
		for _, name := range []string{"Work/Q.3", "Work/Other"} {
			if !slices.Contains(got, name) {
				t.Errorf("labels: got %q, want %q among them", got, name)
			}
		}
		var paths []string
		for f, err := range r.conn.Folders(t.Context(), r.ann) {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, f.Name)
		}
		if !slices.Contains(paths, "Work.Q%2E3") {
			t.Errorf("folders: got %q, want that which was made among them", paths)
		}
	})
}

// zeros is a message of many octets.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	return n, nil
}

// A sink is a server that takes all requests and keeps nothing.
type sink struct {
	octets atomic.Int64
}

func (s *sink) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return nil, err
		}
		s.octets.Add(n)
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
	}
	h := http.Header{"Content-Type": {"application/json"}}
	switch chunk := r.Header.Get("Content-Range"); {
	case r.URL.Query().Get("uploadType") == "resumable" && chunk == "":
		h.Set("Location", "http://127.0.0.1:1/upload/gmail/v1/users/me/messages/import?uploadType=resumable&upload_id=1")
	case strings.HasSuffix(chunk, "/*"):
		h.Set("X-Http-Status-Code-Override", "308")
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Request: r, Body: io.NopCloser(strings.NewReader(`{"id":"1"}`)),
	}, nil
}

// A message of any size takes the same memory.
func TestAppendIsStreamed(t *testing.T) {
	const size = 48 << 20
	for _, form := range []string{gmail.UploadJSON, gmail.UploadMedia} {
		t.Run(form, func(t *testing.T) {
			server := &sink{}
			env := &connection.Env{
				HTTPClient: &http.Client{Transport: server},
				Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
					return connection.NewSecret("ya29.token"), nil
				},
			}
			c, err := gmail.Open(gmail.Config{Endpoint: "http://127.0.0.1:1", CustomEndpoints: true, Verbs: []string{gmail.VerbAppend}, Upload: form}, env)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			body := io.MultiReader(strings.NewReader("Message-ID: <1@out.example>\r\n\r\n"), &zeros{size})
			if _, err := c.Append(t.Context(), "INBOX", body, nil); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
				t.Errorf("%d octets of memory were asked for to send %d", used, size)
			}
			if n := server.octets.Load(); n < size {
				t.Errorf("the server got %d octets", n)
			}
		})
	}
}
