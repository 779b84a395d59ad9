package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
)

// A rig is the console without its main, and somebody who has its address.
type rig struct {
	*app
	t       *testing.T
	base    string
	address string // with the token
	client  *http.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	a, err := newApp(t.Context(), filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config.Handler = newGuard("TOKEN", srv.Listener.Addr().String(), a.routes())
	srv.Start()
	t.Cleanup(func() {
		a.stop() // its pages end
		srv.Close()
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{app: a, t: t, base: srv.URL, address: srv.URL + "/?token=TOKEN", client: newClient(t)}
	r.get("/?token=TOKEN", http.StatusOK)
	return r
}

// newClient returns a browser without pages.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: new(http.Transport)}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// silence returns the address of a server that takes connections and never says a word.
func silence(t *testing.T) string {
	t.Helper()
	l, err := listenHere(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// get returns a page.
func (r *rig) get(path string, want int) string {
	r.t.Helper()
	status, body := answer(r.t, r.client, request(r.t, http.MethodGet, r.base+path, ""))
	if status != want {
		r.t.Fatalf("GET %s: %d, want %d\n%s", path, status, want, body)
	}
	return body
}

// post sends a form, given as name, value, name, value…, and returns the page that follows.
func (r *rig) post(path string, want int, fields ...string) string {
	r.t.Helper()
	form := url.Values{"form": {r.form}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	status, body := answer(r.t, r.client, request(r.t, http.MethodPost, r.base+path, form.Encode()))
	if status != want {
		r.t.Fatalf("POST %s: %d, want %d\n%s", path, status, want, body)
	}
	return body
}

// wants looks for a text in a page.
func (r *rig) wants(body, text string) {
	r.t.Helper()
	if !strings.Contains(body, text) {
		r.t.Errorf("the page does not say %q\n%s", text, body)
	}
}

// keep stores a connection without a form.
func (r *rig) keep(s connection.Settings, name string) entry {
	r.t.Helper()
	e := entry{Settings: s}
	e.ID, e.Name = "", name
	id, err := r.state.put(e)
	if err != nil {
		r.t.Fatal(err)
	}
	e.ID = id
	return e
}

// store puts a message into the archive as a run does, and returns its digest.
func (r *rig) store(raw []byte, from connection.Message) string {
	r.t.Helper()
	from.Body = bytes.NewReader(raw)
	archive := mailarchive.New(r.vault.store, connection.Info{Driver: "test"})
	if err := archive.Store(r.t.Context(), &from); err != nil {
		r.t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// begin starts a job that lasts until what it gets is closed, or it is canceled.
func (r *rig) begin(kind string, e entry) (*job, chan<- line) {
	r.t.Helper()
	lines := make(chan line)
	j, err := r.jobs.start(kind, e.ID, "A job of "+e.Name, func(ctx context.Context, j *job) {
		for {
			select {
			case l, more := <-lines:
				if !more {
					j.end(nil, "All is done.")
					return
				}
				j.say(l)
			case <-ctx.Done():
				j.end(errStopped, "")
				return
			}
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return j, lines
}

// ended waits for the end of a job.
func ended(t *testing.T, j *job) {
	t.Helper()
	select {
	case <-j.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not end", j.Title)
	}
}

var here = connection.Settings{Driver: "maildir", Config: []byte(`{"path": "/nowhere"}`)}

func TestSwitchesToWhatTheFormSays(t *testing.T) {
	r := newRig(t)
	e := r.keep(here, "Journal")
	j, _ := r.begin("run", e)
	for range 2 { // the second click, or another tab's, is no switching on
		r.post("/connections/"+e.ID+"/switch", http.StatusOK, "to", "off")
		if now, _ := r.state.get(e.ID); !now.Disabled {
			t.Fatal("the connection is on")
		}
	}
	ended(t, j)
	r.post("/connections/"+e.ID+"/switch", http.StatusBadRequest)
	r.wants(r.post("/connections/"+e.ID+"/run", http.StatusUnprocessableEntity, "then", "keep"), "switched off")
	r.wants(r.post("/connections/"+e.ID+"/test", http.StatusUnprocessableEntity), "switched off")
	r.post("/connections/"+e.ID+"/switch", http.StatusOK, "to", "on")
	if now, _ := r.state.get(e.ID); now.Disabled {
		t.Error("the connection is off")
	}
}

func TestRemovesNoConnectionThatARunReads(t *testing.T) {
	r := newRig(t)
	e := r.keep(here, "Journal")
	j, _ := r.begin("run", e)
	r.wants(r.post("/connections/"+e.ID+"/delete", http.StatusConflict), "stop it first")
	r.post("/jobs/"+j.ID+"/stop", http.StatusOK)
	ended(t, j)
	r.post("/connections/"+e.ID+"/delete", http.StatusOK)
	if left := r.state.all(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// In a tab that still shows it:
	r.post("/connections/"+e.ID, http.StatusNotFound, "name", "Back again", "s.path", "/nowhere")
	r.post("/connections/"+e.ID+"/switch", http.StatusNotFound, "to", "off")
	r.post("/connections/"+e.ID+"/run", http.StatusNotFound)
	r.get("/connections/"+e.ID, http.StatusNotFound)
	if left := r.state.all(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A click that was under way while the connection was switched off, or removed, starts nothing that goes on.
func TestNoRunBesideTheSwitch(t *testing.T) {
	r := newRig(t)
	for name, meanwhile := range map[string]func(e entry) error{
		"switched off": func(e entry) error { return r.state.change(e.ID, func(e *entry) { e.Disabled = true }) },
		"removed":      func(e entry) error { return r.state.remove(e.ID) },
	} {
		e := r.keep(here, name)
		if err := meanwhile(e); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		r.app.begin(w, request(t, http.MethodPost, r.base, ""), "run", e, "A run", func(ctx context.Context, j *job) {
			<-ctx.Done()
			j.end(errStopped, "")
		}, nil)
		ended(t, r.jobs.of("run", e.ID))
	}
}

// A connection of the demonstration that somebody has pointed at a server of their own is theirs from then on.
func TestDemonstrationReplacesNothingOfOthers(t *testing.T) {
	r := newRig(t)
	r.post("/demo", http.StatusOK)
	var mailbox, outbox entry
	for _, e := range r.state.all() {
		if e.Demo == demoMailbox {
			mailbox = e
		} else {
			outbox = e
		}
	}
	r.post("/connections/"+mailbox.ID, http.StatusOK, "name", "Mine", "s.server", "mail.example.org", "s.username", "ann")
	r.post("/connections/"+outbox.ID, http.StatusOK, "name", "Still the demonstration's", "s.server", r.demo.outbox.Addr(), "s.from_address", "ann@example.org", "s.username", "ann")
	if err := r.demo.resume(r.state); err != nil { // as the next start does
		t.Fatal(err)
	}
	if now, _ := r.state.get(mailbox.ID); now.Name != "Mine" || !strings.Contains(string(now.Config), "mail.example.org") {
		t.Errorf("the connection is %+v", now)
	}
	if now, _ := r.state.get(outbox.ID); now.Demo != demoOutbox {
		t.Errorf("the connection is %+v", now)
	}
}

func TestSavesDuringARunSayWhatHolds(t *testing.T) {
	r := newRig(t)
	e := r.keep(here, "Journal")
	if page := r.post("/connections/"+e.ID, http.StatusOK, "name", "Journal", "s.path", "/elsewhere"); strings.Contains(page, "going on") {
		t.Errorf("no run is going on, but the page says\n%s", page)
	}
	r.begin("run", e)
	r.wants(r.post("/connections/"+e.ID, http.StatusOK, "name", "Journal 2", "s.path", "/elsewhere"), "keeps to those it began with")
	now, _ := r.state.get(e.ID)
	if now.Name != "Journal 2" || !strings.Contains(string(now.Config), "elsewhere") {
		t.Errorf("saved %+v", now)
	}
}

// A secret is not shown on the page of a form that was refused, so the page must say that it is not kept either.
func TestRefusedFormAsksForSecretsAgain(t *testing.T) {
	r := newRig(t)
	page := r.post("/new/imap", http.StatusUnprocessableEntity, "s.username", "ann", "s.password", "horse-1", "s.polling_interval", "soon", "s.server", "mail.example.org")
	r.wants(page, "Not saved: type it again.")
	r.wants(page, "<details open>")
	if strings.Contains(page, "horse-1") {
		t.Errorf("the page shows the password\n%s", page)
	}
	if page := r.post("/new/imap", http.StatusUnprocessableEntity, "s.username", "ann"); strings.Contains(page, "type it again") {
		t.Errorf("nothing was typed, but the page says\n%s", page)
	}
	e := r.keep(connection.Settings{Driver: "imap", Config: []byte(`{"server": "mail.example.org", "username": "ann", "password": "horse-2"}`)}, "Journal")
	page = r.post("/connections/"+e.ID, http.StatusUnprocessableEntity, "s.server", "", "s.username", "ann", "clear.password", "1")
	r.wants(page, "leave it empty to keep it")
	r.wants(page, `name="clear.password" value="1" checked`)
	r.post("/connections/"+e.ID, http.StatusOK, "name", "Journal", "s.server", "mail2.example.org", "s.username", "ann")
	if now, _ := r.state.get(e.ID); !strings.Contains(string(now.Config), "horse-2") || !strings.Contains(string(now.Config), "mail2") {
		t.Errorf("saved %s", now.Config)
	}
}

// events reads what a job's page is sent, to the end.
func (r *rig) events(path string) string {
	r.t.Helper()
	resp, err := r.client.Do(request(r.t, http.MethodGet, r.base+path, ""))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Status + "\n" + string(raw)
}

func TestEventsGoOnWhereTheyWere(t *testing.T) {
	r := newRig(t)
	j, lines := r.begin("test", r.keep(here, "Journal"))
	for _, text := range []string{"one", "two", "three"} {
		lines <- line{Kind: "note", OK: true, Text: text}
	}
	close(lines)
	got := r.events("/jobs/" + j.ID + "/events?from=1")
	if strings.Contains(got, `"one"`) || strings.Count(got, `"two"`) != 1 || strings.Count(got, `"three"`) != 1 || !strings.Contains(got, "id: 4\nevent: end\n") {
		t.Errorf("from the second line on:\n%s", got)
	}
	again := request(t, http.MethodGet, r.base+"/jobs/"+j.ID+"/events?from=1", "")
	again.Header.Set("Last-Event-ID", "4")
	if status, body := answer(t, r.client, again); status != http.StatusNoContent {
		t.Errorf("a browser that has it all is told %d %q, and will ask for ever", status, body)
	}
	r.get("/jobs/nothing/events", http.StatusNotFound)
}

// A run that finds very many problems must not fill the memory, nor a page.
func TestJobsAreBounded(t *testing.T) {
	r := newRig(t)
	j, lines := r.begin("run", r.keep(here, "Journal"))
	for range 3 * maxLines {
		lines <- line{Kind: "problem", Text: "it cannot be read"}
	}
	close(lines)
	ended(t, j)
	if n := len(j.Lines()); n > maxLines+2 {
		t.Errorf("%d lines are kept", n)
	}
	r.wants(r.get("/jobs/"+j.ID, http.StatusOK), "Further lines are not kept.")
	for range 2 * maxJobs {
		j, lines := r.begin("test", entry{Settings: connection.Settings{ID: "x"}})
		close(lines)
		ended(t, j)
	}
	if n := len(r.jobs.all); n > maxJobs {
		t.Errorf("%d jobs are kept", n)
	}
}
