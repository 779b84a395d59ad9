package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

func dated(n int, date time.Time) []byte {
	return fmt.Appendf(nil, "From: ann@example.org\r\nSubject: message %d\r\nDate: %s\r\n\r\n", n, date.Format(time.RFC1123Z))
}

// The days of a search are whole days of this machine, and the page shows the times of the same days.
func TestSearchByDays(t *testing.T) {
	r := newRig(t)
	r.app.zone = time.FixedZone("far east", 9*3600) // another than that of mail servers
	midnight := time.Date(2026, 3, 10, 0, 0, 0, 0, r.app.zone)
	for i, at := range []time.Time{midnight.Add(-time.Second), midnight, midnight.Add(24*time.Hour - time.Second), midnight.Add(24 * time.Hour)} {
		r.store(dated(i, at.UTC()), connection.Message{})
	}
	r.store([]byte("Subject: no date, but an arrival\r\n\r\n"), connection.Message{Received: midnight.Add(time.Hour).UTC()})
	for query, want := range map[string]string{
		"":                                    "5 found",
		"?after=2026-03-10&before=2026-03-10": "3 found",
		"?after=2026-03-11":                   "1 found",
		"?before=2026-03-09":                  "1 found",
		"?after=2026-03-11&before=2026-03-10": "0 found",
		"?after=yesterday":                    "want one like 2026-01-31",
	} {
		r.wants(r.get("/archive"+query, http.StatusOK), want)
	}
	page := r.get("/archive?after=2026-03-10&before=2026-03-10", http.StatusOK)
	for _, want := range []string{"2026-03-10 00:00", "2026-03-10 23:59", "2026-03-10 01:00"} {
		r.wants(page, want)
	}
}

// list writes a manifest.
func (r *rig) list(entries []mailarchive.Entry) {
	r.t.Helper()
	raw := []byte("{\"run\": \"20260101-000000\", \"segment\": 1}\n")
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			r.t.Fatal(err)
		}
		raw = append(append(raw, line...), '\n')
	}
	key := fmt.Sprintf("%s20260101-000000/%x.jsonl", mailarchive.ManifestsPrefix, sha256.Sum256(raw))
	if _, err := r.vault.store.Put(r.t.Context(), key, bytes.NewReader(raw), nil); err != nil {
		r.t.Fatal(err)
	}
}

// A message that several runs bring is one message, and the newest are shown wherever the manifest has them.
func TestSearchShowsTheNewestOnce(t *testing.T) {
	r := newRig(t)
	begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	const all = 2*maxFound + 50
	var entries []mailarchive.Entry
	for i := range all {
		at := begin.Add(time.Duration(i*7%all) * time.Minute) // in no order, as segments of a manifest are
		entries = append(entries, mailarchive.Entry{Key: fmt.Sprintf("messages/%d.eml", i), Summary: mailarchive.Summary{Subject: at.String(), Date: at}})
	}
	sum := r.store([]byte("Subject: daily\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\n"), connection.Message{})
	for i := range 2*maxPlaces + 5 {
		entries = append(entries, mailarchive.Entry{Key: mailarchive.MessageKey(sum), Folder: fmt.Sprint("copy ", i), Stored: begin.Add(time.Duration(i) * time.Hour)})
	}
	r.list(entries)
	f, err := r.vault.search(t.Context(), query{})
	if err != nil || f.Total != all+1 || len(f.Entries) != maxFound || f.Damaged != 0 {
		t.Fatalf("%d found, %d shown, %d damaged, error %v", f.Total, len(f.Entries), f.Damaged, err)
	}
	for i, e := range f.Entries {
		if want := begin.Add(time.Duration(all-1-i) * time.Minute).String(); e.Summary.Subject != want {
			t.Fatalf("at %d is %q, want %q", i, e.Summary.Subject, want)
		}
	}
	r.wants(r.get("/archive", http.StatusOK), fmt.Sprintf("%d found; the newest %d are shown", all+1, maxFound))
	page := r.get("/archive/"+sum, http.StatusOK)
	if n := strings.Count(page, "<dl>"); n != maxPlaces {
		t.Errorf("the page shows %d places, want %d", n, maxPlaces)
	}
	r.wants(page, fmt.Sprint("copy ", 2*maxPlaces+4))
}

// Nothing of a damaged message is downloaded as if it were whole, or sent; and the rest of the archive can still be used.
func TestDamagedArchive(t *testing.T) {
	r := newRig(t)
	post := smtptest.NewServer(t, nil)
	via := r.keep(post.Settings(), "Outgoing")
	raw := append(dated(1, time.Now()), bytes.Repeat([]byte("x"), 3*maxShown)...)
	sum := r.store(raw, connection.Message{})
	r.store(dated(2, time.Now()), connection.Message{})
	changed := append(bytes.Clone(raw[:len(raw)-1]), 'y')
	if err := os.WriteFile(filepath.Join(r.vault.dir, "messages", sum[:2], sum[2:4], sum+".eml"), changed, 0o600); err != nil {
		t.Fatal(err)
	}
	resp, err := r.client.Do(request(t, http.MethodGet, r.base+"/archive/"+sum+"/raw", ""))
	if err == nil {
		var got bytes.Buffer
		_, err = got.ReadFrom(resp.Body)
		_ = resp.Body.Close() // it was only read
		if err == nil && resp.StatusCode == http.StatusOK {
			t.Errorf("%d damaged octets were downloaded as a whole message", got.Len())
		}
	}
	r.wants(r.post("/archive/"+sum+"/replay", http.StatusBadGateway, "to", "bob@example.org", "via", via.ID), "The message was not sent")
	if sent := post.Messages(); len(sent) > 0 {
		t.Errorf("sent %d damaged messages", len(sent))
	}

	manifests, err := filepath.Glob(filepath.Join(r.vault.dir, "manifests", "*", "*.jsonl"))
	if err != nil || len(manifests) != 2 {
		t.Fatalf("manifests %v, error %v", manifests, err)
	}
	if err := os.WriteFile(manifests[0], []byte("{\"run\": \"x\"}\nnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	page := r.get("/archive", http.StatusOK)
	r.wants(page, "1 found")
	r.wants(page, "1 parts of the manifests cannot be read")
	r.get("/archive/"+sum, http.StatusOK)

	for _, name := range []string{strings.Repeat("0", 64), strings.ToUpper(sum), "short", "..%2f..%2fconnections.json", "%2e%2e"} {
		for _, page := range []string{"", "/raw"} {
			if status, body := answer(t, r.client, request(t, http.MethodGet, r.base+"/archive/"+name+page, "")); status != http.StatusNotFound {
				t.Errorf("%s%s: %d\n%s", name, page, status, body)
			}
		}
	}
}

// A courier sends, warns when it is tested, and complains when it is closed.
type courier struct {
	connection.Connection
	sent    int
	trouble error // of Close
}

type courierConfig struct{}

func (courierConfig) Validate() error { return nil }

func (c *courier) Info() connection.Info { return connection.Info{Driver: "courier"} }
func (c *courier) Close() error          { return c.trouble }

func (c *courier) Test(_ context.Context, o *connection.TestOptions) (*connection.Report, error) {
	o.Progress(connection.Step{Name: "tls", Status: connection.StatusWarned, Hint: "the certificate ends soon"})
	return &connection.Report{}, nil
}

func (c *courier) Send(_ context.Context, _ connection.Envelope, body io.Reader, _ *connection.SendOptions) (*connection.Receipt, error) {
	c.sent++
	_, err := io.Copy(io.Discard, body)
	return &connection.Receipt{Reply: "250 taken", Rewritten: []string{"a line was wrapped"}}, err
}

// What the server has taken is never called unsent, or it would be sent twice; and what is not the archived message is told.
func TestReplayThatEndsBadly(t *testing.T) {
	r := newRig(t)
	c := &courier{trouble: errors.New("the line broke")}
	d := connection.NewDriver("courier", func(courierConfig, *connection.Env) (*courier, error) { return c, nil })
	r.registry = connection.NewRegistry(append(r.registry.Drivers(), d)...)
	via := r.keep(connection.Settings{Driver: "courier", Config: []byte("{}")}, "Courier")
	sum := r.store(dated(1, time.Now()), connection.Message{})
	page := r.post("/archive/"+sum+"/replay", http.StatusOK, "to", "bob@example.org", "via", via.ID)
	r.wants(page, "Sent to bob@example.org. The server said: 250 taken")
	r.wants(page, "a line was wrapped")
	if c.sent != 1 {
		t.Errorf("sent %d times", c.sent)
	}

	r.get("/connections/"+via.ID, http.StatusOK)
	for _, tc := range []struct {
		trouble error
		text    string
	}{{c.trouble, "the line broke"}, {nil, "It works, with the warnings above."}} {
		c.trouble = tc.trouble
		r.post("/connections/"+via.ID+"/test", http.StatusOK)
		j := r.jobs.of("test", via.ID)
		ended(t, j)
		if end := outcome(j); end.OK != (tc.trouble == nil) || !strings.Contains(end.Text, tc.text) {
			t.Errorf("the test says %+v", end)
		}
		r.wants(r.get("/jobs/"+j.ID, http.StatusOK), "the certificate ends soon")
	}
}

func TestReplayTellsWhatBecameOfIt(t *testing.T) {
	r := newRig(t)
	post := smtptest.NewServer(t, nil)
	r.keep(post.Settings(), "A first one") // which the page would choose by itself
	via := r.keep(post.Settings(), "Outgoing")
	sum := r.store(dated(1, time.Now()), connection.Message{})
	send := func(status int, to string) string {
		t.Helper()
		return r.post("/archive/"+sum+"/replay", status, "to", to, "via", via.ID)
	}
	r.wants(send(http.StatusUnprocessableEntity, " "), "Say to whom")
	send(http.StatusBadGateway, "bob@example.org>\r\nRCPT TO:<eve@example.org")
	post.Refuse("nobody@example.org", "550 5.1.1 no such person")
	page := send(http.StatusBadGateway, "nobody@example.org")
	r.wants(page, "The message was not sent")
	r.wants(page, "no such person")
	r.wants(page, `<option value="`+via.ID+`" selected>`)
	if sent := post.Messages(); len(sent) > 0 {
		t.Errorf("sent %+v", sent)
	}
	post.Fail("QUIT", "500 no") // the message is the server's by then
	r.wants(send(http.StatusOK, "bob@example.org"), "Sent to bob@example.org")
	if sent := post.Messages(); len(sent) != 1 || len(sent[0].To) != 1 {
		t.Fatalf("sent %+v", sent)
	}
	post.LoseReply(smtptest.End)
	r.wants(send(http.StatusBadGateway, "bob@example.org"), "Nobody knows whether the message was sent")

	if err := r.state.change(via.ID, func(e *entry) { e.Disabled = true }); err != nil {
		t.Fatal(err)
	}
	r.wants(send(http.StatusBadGateway, "bob@example.org"), "switched off")
}
