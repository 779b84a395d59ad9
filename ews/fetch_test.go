package ews_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

func TestFetchMetadata(t *testing.T) {
	r := newRig(t, nil)
	received := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	id := r.alice.Folder("Inbox/Sub").DeliverItems(ewstest.Message{Raw: letter(3), Received: received, Read: true, Draft: true})[0]
	all := collect(t, r.open(t), &connection.FetchOptions{Folders: []string{"inbox/sub"}})
	wantBodies(t, bodies(t, all), letter(3))
	m := all[0].Message
	if m.Ref != (connection.Ref{ID: id}) || m.Folder != "Inbox/Sub" || !m.Received.Equal(received) || m.Size != int64(len(letter(3))) ||
		!slices.Equal(m.Flags, []connection.Flag{connection.FlagSeen, connection.FlagDraft}) || m.Envelope != nil {
		t.Errorf("got %+v", m)
	}
	for _, name := range []string{`\Trash`, "INBOX", "deleted items"} {
		if _, err := one(r.open(t).Fetch(t.Context(), &connection.FetchOptions{Folders: []string{name}})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !r.Messages(alice, "Inbox/Sub")[0].Read || r.Calls("UpdateItem") != 0 {
		t.Error("something was changed")
	}
}

// An inbox of many pages, of which messages are removed while it is listed: none is passed over.
func TestFetchWhileDeleting(t *testing.T) {
	for _, unseen := range []bool{false, true} {
		t.Run(fmt.Sprint(unseen), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &ewstest.Options{SyncCap: 100, Quirks: ewstest.Quirks{ShortPages: true}})
			begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var items []ewstest.Message
			want := letters(400)
			for i, raw := range want { // many at the same second
				items = append(items, ewstest.Message{Raw: raw, Received: begin.Add(time.Duration(i/300) * time.Second)})
			}
			r.alice.Folder("Inbox").DeliverItems(items...)
			r.cfg.BatchItems = 100
			c := r.open(t)
			var got []string
			var refs []connection.Ref
			for m, err := range c.Fetch(t.Context(), &connection.FetchOptions{Unseen: unseen}) {
				if err != nil {
					t.Fatal(err)
				}
				raw, err := io.ReadAll(m.Body)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(raw))
				if refs = append(refs, m.Ref); len(refs) == 50 {
					if err := c.Delete(t.Context(), refs...); err != nil {
						t.Fatal(err)
					}
					refs = nil
				}
			}
			wantBodies(t, got, want...)
			if left := len(r.inbox()); left != 0 {
				t.Errorf("%d are left", left)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	r := newRig(t, nil)
	raw := [][]byte{letter(0), large(1 << 20)}
	ids := r.alice.Deliver("Inbox", raw...)
	c := r.open(t)
	for i, id := range ids {
		m, err := c.Open(t.Context(), connection.Ref{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(m.Body)
		if err != nil || !bytes.Equal(got, raw[i]) || m.Ref.ID != id {
			t.Errorf("got %d octets, %v, %+v", len(got), err, m.Ref)
		}
		if err := m.Body.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
		if n, err := m.Body.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a closed body gave %d octets, %v", n, err)
		}
	}
	// A ctx that ends closes what nobody else closes.
	ctx, cancel := context.WithCancel(t.Context())
	m, err := c.Open(ctx, connection.Ref{ID: ids[1]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, m.Body, 400<<10); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, m.Body); err == nil {
		t.Error("the body went on after its context")
	}
	r.alice.Break(ewstest.Corrupt, ids[0])
	_, err = c.Open(t.Context(), connection.Ref{ID: ids[0]})
	if e := theError(t, err, connection.ErrCorrupt); e.Op != "open" || e.Ref.ID != ids[0] {
		t.Errorf("got %+v", e)
	}
	r.alice.Remove(ids[1])
	_, err = c.Open(t.Context(), connection.Ref{ID: ids[1]})
	wantKind(t, err, connection.ErrNotFound)
	_, err = c.Open(t.Context(), connection.Ref{})
	wantKind(t, err, connection.ErrInvalid)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	noGoroutines(t)
}

// Follow goes on through what is temporary, yields what comes later, and nothing twice.
func TestFollow(t *testing.T) {
	for _, unseen := range []bool{false, true} {
		t.Run(fmt.Sprint(unseen), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.cfg.PollInterval = connection.Duration(time.Second)
			r.alice.Deliver("Inbox", letter(0))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var got []string
			for m, err := range r.open(t).Fetch(ctx, &connection.FetchOptions{Follow: true, Unseen: unseen}) {
				if err != nil {
					if len(got) != 4 || !errors.Is(err, context.Canceled) {
						t.Fatal(err)
					}
					break
				}
				raw, err := io.ReadAll(m.Body)
				if err != nil {
					t.Fatal(err)
				}
				switch got = append(got, string(raw)); len(got) {
				case 1:
					r.Fail(ewstest.On("*").Times(5), ewstest.Refuse("ErrorMailboxStoreUnavailable", "Later."))
					r.alice.Deliver("Inbox", letter(1), letter(2))
				case 3:
					r.alice.ExpireSyncStates()
					r.alice.Deliver("Inbox", letter(3))
				case 4:
					cancel()
				}
			}
			wantBodies(t, got, letter(0), letter(1), letter(2), letter(3))
		})
	}
}

// journaled makes a journal report around a message.
func journaled(raw []byte) []byte {
	return append([]byte("From: journal@corp.test\r\nTo: archive@corp.test\r\nSubject: x\r\nX-MS-Journal-Report:\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=\"bnd\"\r\n\r\n--bnd\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\n\r\n"+
		"Sender: ann@corp.test\r\nSubject: x\r\nMessage-Id: <1@corp.test>\r\nTo: alice@corp.test\r\nBcc: chief@corp.test\r\n\r\n"+
		"--bnd\r\nContent-Type: message/rfc822\r\n\r\n"), append(raw, "\r\n--bnd--\r\n"...)...)
}

func TestJournalReports(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.Journal = true
	broken := journaled(letter(3))
	broken = broken[:len(broken)-12]
	r.alice.Deliver("Inbox", journaled(letter(0)), letter(1), journaled(large(1<<20)), broken)
	var quirks int
	r.env.Observe = func(ev connection.Event) {
		if ev.Kind == connection.EventQuirk {
			quirks++
		}
	}
	all := collect(t, r.open(t), nil)
	wantBodies(t, bodies(t, all), letter(0), letter(1), large(1<<20), broken)
	for _, f := range all {
		wrapped := f.Raw == string(letter(0)) || len(f.Raw) > 1<<20
		if (f.Message.Envelope != nil) != wrapped {
			t.Errorf("got the envelope %+v of %.40q", f.Message.Envelope, f.Raw)
		}
		if wrapped && (f.Message.Envelope.From != "ann@corp.test" || !slices.Equal(f.Message.Envelope.To, []string{"alice@corp.test", "chief@corp.test"})) {
			t.Errorf("got the envelope %+v", f.Message.Envelope)
		}
	}
	if quirks != 1 {
		t.Errorf("told of %d reports that cannot be taken apart, want 1", quirks)
	}
	r.cfg.Journal = false
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), journaled(letter(0)), letter(1), journaled(large(1<<20)), broken)
}

// A rebuilt message has everything that the server still tells.
func TestRebuild(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.Fallbacks = []string{ews.FallbackRebuild}
	raw := []byte("Received: from a by b\r\nFrom: Ann <ann@corp.test>\r\nTo: alice@corp.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n" +
		"Message-ID: <m1@corp.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nthe text\r\n" +
		"--b1\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQF\r\n--b1--\r\n")
	ids := r.alice.Deliver("Inbox", raw)
	r.alice.Break(ewstest.UnconvertedUTF8, ids[0])
	all := collect(t, r.open(t), nil)
	if len(all) != 1 || all[0].Err != nil || all[0].BodyErr != nil {
		t.Fatalf("got %+v", all)
	}
	got := all[0].Raw
	for _, want := range []string{"<m1@corp.test>", "ann@corp.test", "MIME-Version: 1.0\r\n", "\r\n\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	if n := strings.Count(got, "MIME-Version"); n != 1 {
		t.Errorf("MIME-Version is there %d times: %s", n, got)
	}
}

// A server that does not say whether a page is the last has told everything when it has nothing more to tell, as Sync takes it.
func TestFetchLastIsNotTold(t *testing.T) {
	r := newRig(t, nil)
	r.alice.Deliver("Inbox", letters(3)...)
	r.Fail(ewstest.On("SyncFolderItems"), ewstest.Rewrite(func(body []byte) []byte {
		return regexp.MustCompile(`<(\w+:)?IncludesLastItemInRange>\w+</(\w+:)?IncludesLastItemInRange>`).ReplaceAll(body, nil)
	}))
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), letters(3)...)
	if n := r.Calls("SyncFolderItems"); n != 2 {
		t.Errorf("%d pages were asked for", n)
	}
}

// A rebuilt message that is not read to its end keeps no connection, nor a place among the requests.
func TestRebuiltIsLeft(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.Fallbacks, r.cfg.MaxConnections = []string{ews.FallbackRebuild}, 1
	const n = 15 // more than max_connections, and than what the limiter lets in beside those that wait for their readers
	for i := range n {
		raw := fmt.Sprintf("From: ann@corp.test\r\nMessage-ID: <%d@corp.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n"+
			"--b1\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n%s--b1--\r\n",
			i, strings.Repeat("AAECAwQF\r\n", 10_000))
		r.alice.Break(ewstest.UnconvertedUTF8, r.alice.Deliver("Inbox", []byte(raw))...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := 0
	for m, err := range r.open(t).Fetch(ctx, nil) {
		if err != nil {
			t.Fatalf("message %d: %v", got, err)
		}
		got++
		for lines := bufio.NewReaderSize(m.Body, 512); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "AAECAwQF") { // in the attachment
				break
			}
		}
	}
	if asked := r.Calls("GetAttachment"); got != n || asked != n {
		t.Errorf("got %d messages, %d attachments were asked for", got, asked)
	}
}

// What is logged, also in full, holds neither the password nor a message.
func TestFetchLogsNoSecret(t *testing.T) {
	r := newRig(t, nil).impersonating()
	var mu sync.Mutex
	var out bytes.Buffer
	r.env.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: connection.LevelTrace}))
	r.alice.Deliver("Inbox", []byte("Subject: verysecretsubject\r\n\r\nverysecrettext\r\n"))
	c := r.open(t)
	if got := collect(t, c, &connection.FetchOptions{Mailbox: alice}); len(got) != 1 {
		t.Fatal(got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range []string{canary, "verysecret", "c3ZjQGNvcnAudGVzd"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in the log: %s", secret, out.String())
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Folders are listed as the settings ask for.
func TestFoldersListed(t *testing.T) {
	r := newRig(t, nil)
	r.alice.Folder("Projects/One").Deliver(letters(3)...)
	r.alice.Folder("Dates").Class("IPF.Appointment")
	r.alice.Folder("Special").Class("IPF.Note.Special")
	list := func() map[string]*connection.Folder {
		all := map[string]*connection.Folder{}
		for f, err := range r.open(t).Folders(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			all[f.Name] = f
		}
		return all
	}
	all := list()
	if f := all["Projects/One"]; f == nil || f.Messages != 3 || f.ID == "" || f.Special != "" {
		t.Errorf("got %+v", f)
	}
	if all["Dates"] != nil || all["Special"] == nil || all["Inbox"] == nil || all["Drafts"].Special != `\Drafts` {
		t.Errorf("got %v", all)
	}
	r.cfg.FolderClasses = []string{"IPF.Appointment"}
	if all = list(); all["Dates"] == nil || all["Inbox"] != nil {
		t.Errorf("got %v", all)
	}
	r.cfg.FolderClasses, r.cfg.IncludeRecoverable = nil, true
	found := false
	for name := range list() {
		found = found || strings.HasSuffix(name, "/Deletions")
	}
	if !found {
		t.Error("the folders of what was deleted are not listed")
	}
	// A server that has no SyncFolderHierarchy (edge case 52).
	r = newRig(t, &ewstest.Options{Without: []string{"SyncFolderHierarchy"}})
	r.alice.Folder("Projects/One")
	if all = list(); all["Projects/One"] == nil || all["Inbox"] == nil {
		t.Errorf("got %v", all)
	}
	// And one without SyncFolderItems.
	r = newRig(t, &ewstest.Options{Without: []string{"SyncFolderItems"}})
	r.alice.Deliver("Inbox", letters(5)...)
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), letters(5)...)
}
