package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
)

// A source whose Close has something to say: a server that did not expunge, for instance.
type reluctant struct {
	connection.Source
	err error
}

func (r reluctant) Close() error { return errors.Join(r.Source.Close(), r.err) }

// outcome returns what a job says in the end.
func outcome(j *job) line {
	lines := j.Lines()
	return lines[len(lines)-1]
}

func TestRunThatIsStopped(t *testing.T) {
	r := newRig(t)
	source := connectiontest.NewMailbox([]byte("Subject: one\r\n\r\n"), []byte("Subject: two\r\n\r\n"))
	begun := make(chan struct{})
	sink := func(ctx context.Context, _ *connection.Message) error {
		select {
		case begun <- struct{}{}:
		case <-ctx.Done():
		}
		<-ctx.Done() // a store that does not answer
		return ctx.Err()
	}
	j, err := r.jobs.start("run", "x", "A run", func(ctx context.Context, j *job) {
		runArchive(ctx, j, reluctant{source, errors.New("2 messages are still marked")}, sink, false)
	})
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	r.post("/jobs/"+j.ID+"/stop", http.StatusOK)
	ended(t, j)
	end := outcome(j)
	if end.OK || !strings.Contains(end.Text, "stopped before the end") || !strings.Contains(end.Text, "still marked") || strings.Contains(end.Text, "context") {
		t.Errorf("the run says %q", end.Text)
	}
	if left := source.Messages(); len(left) != 2 {
		t.Errorf("%d messages are left, want 2", len(left))
	}
}

// What the archive did not take stays at the source, whatever the form says.
func TestRunDeletesOnlyWhatIsStored(t *testing.T) {
	r := newRig(t)
	bad := []byte("Subject: two\r\n\r\n")
	archive := mailarchive.New(r.vault.store, connection.Info{Driver: "test"})
	for _, keep := range []bool{true, false} {
		source := connectiontest.NewMailbox([]byte("Subject: one\r\n\r\n"), bad)
		j, err := r.jobs.start("run", "x", "A run", func(ctx context.Context, j *job) {
			runArchive(ctx, j, source, func(ctx context.Context, m *connection.Message) error {
				raw, err := io.ReadAll(m.Body)
				switch {
				case err != nil:
					return err
				case string(raw) == string(bad):
					return &connection.Error{Kind: connection.ErrRejected, Err: errors.New("the archive refuses it"), Hint: "look at it"}
				}
				m.Body = strings.NewReader(string(raw))
				return archive.Store(ctx, m)
			}, keep)
		})
		if err != nil {
			t.Fatal(err)
		}
		ended(t, j)
		want := 1
		if keep {
			want = 2
		}
		if left := source.Messages(); len(left) != want {
			t.Errorf("keep %v: %d messages are left, want %d", keep, len(left), want)
		}
		if end := outcome(j); end.OK || !strings.Contains(end.Text, "the archive refuses it") || !strings.Contains(j.view().Progress, "1 stored") {
			t.Errorf("keep %v: the run says %q, %q", keep, end.Text, j.view().Progress)
		}
	}
}

func TestSecondRunIsTheFirst(t *testing.T) {
	r := newRig(t)
	e := r.keep(connection.Settings{Driver: "maildir", Config: []byte(`{"path": "/nowhere"}`)}, "Journal")
	j, _ := r.begin("run", e)
	r.wants(r.post("/connections/"+e.ID+"/run", http.StatusOK, "then", "delete"), j.ID) // the page of the one that goes on
	if len(r.jobs.all) != 1 {
		t.Errorf("%d runs, want 1", len(r.jobs.all))
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	text := sentence(&connection.Error{Hint: "look at this", Err: errors.New(strings.Repeat("é", maxSentence))})
	if len(text) > maxSentence+100 || !strings.Contains(text, "look at this") || strings.Contains(text, "\ufffd") {
		t.Errorf("%d octets: %.100s", len(text), text)
	}
}

// What is being downloaded is downloaded to its end, and the archive stays open until then.
func TestEndsAfterADownload(t *testing.T) {
	dir := t.TempDir()
	a, err := newApp(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	raw := bytes.Repeat([]byte("a line of a large message\r\n"), 1<<20)
	sum := (&rig{app: a, t: t}).store(raw, connection.Message{})
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out lockedBuffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"-listen", "127.0.0.1:0", "-state", dir}, &out, &out) }()
	address := printed(t, &out, done)
	base, _, _ := strings.Cut(address, "/?")
	client := newClient(t)
	if status, _ := answer(t, client, request(t, "GET", address, "")); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	resp, err := client.Do(request(t, "GET", base+"/archive/"+sum+"/raw", ""))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			break // it takes no more
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("the console does not end")
		}
	}
	select {
	case <-done:
		t.Error("the console has ended while something is being downloaded")
		done <- 0
	case <-time.After(200 * time.Millisecond):
	}
	got, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("downloaded %d octets of %d, error %v", len(got), len(raw), err)
	}
	if code := <-done; code != 0 {
		t.Errorf("exit code %d\n%s", code, &out)
	}
}

// The console ends in good order with a page open that follows a run, and a run that is going on.
func TestEndsWithOpenPages(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out lockedBuffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"-listen", "127.0.0.1:0", "-state", t.TempDir()}, &out, &out) }()
	address := printed(t, &out, done)
	base, _, _ := strings.Cut(address, "/?")
	client := newClient(t)
	get := func(r *http.Request) *http.Response {
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if err := get(request(t, "GET", address, "")).Body.Close(); err != nil {
		t.Fatal(err)
	}
	status, home := answer(t, client, request(t, "GET", base+"/", ""))
	_, after, _ := strings.Cut(home, `name="form" value="`)
	token, _, _ := strings.Cut(after, `"`)
	if status != http.StatusOK || token == "" {
		t.Fatalf("%d %s", status, home)
	}
	// A server that takes connections and never says a word.
	silent := silence(t)
	resp := get(request(t, "POST", base+"/new/imap", "form="+token+"&s.server="+silent+"&s.mode=insecure&s.allow_plaintext_auth=true&s.username=u&s.password=p"))
	path := resp.Request.URL.Path
	if err := resp.Body.Close(); err != nil || !strings.HasPrefix(path, "/connections/") {
		t.Fatalf("the form leads to %s, error %v", path, err)
	}
	resp = get(request(t, "POST", base+path+"/run", "form="+token+"&then=keep"))
	job := resp.Request.URL.Path
	if err := resp.Body.Close(); err != nil || !strings.HasPrefix(job, "/jobs/") {
		t.Fatalf("the run leads to %s, error %v", job, err)
	}
	events := get(request(t, "GET", base+job+"/events", ""))
	began := time.Now()
	cancel()
	raw, err := io.ReadAll(events.Body)
	if err = errors.Join(err, events.Body.Close()); err != nil || !strings.Contains(string(raw), "stopped before the end") {
		t.Errorf("the page was told %q, error %v", raw, err)
	}
	if code := <-done; code != 0 {
		t.Errorf("exit code %d\n%s", code, &out)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v to end", took)
	}
}
