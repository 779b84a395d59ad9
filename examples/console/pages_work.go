package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
)

func (a *app) test(w http.ResponseWriter, r *http.Request) {
	e, ok := a.entry(w, r)
	if !ok {
		return
	}
	conn, err := open[connection.Connection](a, e)
	if err != nil {
		a.problem(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	a.begin(w, r, "test", e, "Test of "+e.Name, func(ctx context.Context, j *job) { runTest(ctx, j, conn) }, conn)
}

func (a *app) archive(w http.ResponseWriter, r *http.Request) {
	e, ok := a.entry(w, r)
	if !ok {
		return
	}
	source, err := open[connection.Source](a, e)
	if err != nil {
		a.problem(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	keep := r.PostFormValue("then") != "delete"
	archive := mailarchive.New(a.vault.store, source.Info())
	title := "Moving into the archive: "
	if keep {
		title = "Copying into the archive: "
	}
	a.begin(w, r, "run", e, title+e.Name, func(ctx context.Context, j *job) { runArchive(ctx, j, source, archive.Store, keep) }, source)
}

// begin starts a job and shows it.
func (a *app) begin(w http.ResponseWriter, r *http.Request, kind string, e entry, title string, work func(context.Context, *job), conn connection.Connection) {
	j, err := a.jobs.start(kind, e.ID, title, work)
	if err != nil {
		err = errors.Join(err, conn.Close())
	}
	if j == nil {
		a.problem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	if now, ok := a.state.get(e.ID); !ok || now.Disabled {
		j.cancel() // it was switched off or removed between the click and the start
	}
	http.Redirect(w, r, "/jobs/"+j.ID, http.StatusSeeOther)
}

// jobOf returns the job that a request is about, or says that there is none.
func (a *app) jobOf(w http.ResponseWriter, r *http.Request) *job {
	j := a.jobs.get(r.PathValue("job"))
	if j == nil {
		a.problem(w, http.StatusNotFound, "There is no such test or run any more.")
	}
	return j
}

func (a *app) job(w http.ResponseWriter, r *http.Request) {
	if j := a.jobOf(w, r); j != nil {
		a.show(w, http.StatusOK, "job.html", page{Title: j.Title, Data: j.view()})
	}
}

// stopWait is how long a browser waits for the page after Stop.
const stopWait = 3 * time.Second

func (a *app) stopJob(w http.ResponseWriter, r *http.Request) {
	j := a.jobOf(w, r)
	if j == nil {
		return
	}
	j.cancel()
	ctx, cancel := context.WithTimeout(r.Context(), stopWait)
	defer cancel()
	select {
	case <-j.done:
	case <-ctx.Done(): // the page follows it to its end
	}
	http.Redirect(w, r, "/jobs/"+j.ID, http.StatusSeeOther)
}

// eventPause is the least time between two looks at what a job tells.
const eventPause = 100 * time.Millisecond

// events sends a job's lines from number ?from on, as server-sent events, until it ends.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	j := a.jobOf(w, r)
	if j == nil {
		return
	}
	next, _ := strconv.Atoi(r.URL.Query().Get("from")) // 0 without one
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if n, err := strconv.Atoi(last); err == nil {
			next = n
		}
	}
	next = max(0, next)
	if _, _, ended, _ := j.since(0); ended && next >= len(j.Lines()) {
		w.WriteHeader(http.StatusNoContent) // else the browser would ask again and again
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	told := ""
	for {
		lines, progress, ended, news := j.since(next)
		if progress.Text != "" && progress.Text != told {
			told = progress.Text
			lines = append([]line{progress}, lines...)
		}
		for _, l := range lines {
			data, err := event(l)
			if err != nil {
				return
			}
			if l.Kind != "progress" {
				next++
				data = append(fmt.Appendf(nil, "id: %d\n", next), data...)
			}
			if _, err := w.Write(data); err != nil {
				return // the browser has left
			}
		}
		if flush.Flush() != nil || ended {
			return
		}
		select {
		case <-news:
		case <-r.Context().Done():
			return
		}
		select { // a run tells of each message, and nobody reads that fast
		case <-time.After(eventPause):
		case <-j.done:
		case <-r.Context().Done():
			return
		}
	}
}

// newQuery reads what somebody looks for. The days are whole ones, in the time zone of this machine.
func (a *app) newQuery(from, subject, after, before string) (query, error) {
	q := query{From: strings.TrimSpace(from), Subject: strings.TrimSpace(subject)}
	for _, day := range []struct {
		name, text string
		to         *time.Time
		add        int
	}{{"from", after, &q.After, 0}, {"to", before, &q.Before, 1}} {
		if day.text == "" {
			continue
		}
		t, err := time.ParseInLocation("2006-01-02", day.text, a.zone)
		if err != nil {
			return q, fmt.Errorf("the day %q: want one like 2026-01-31", day.text)
		}
		*day.to = t.AddDate(0, 0, day.add)
	}
	return q, nil
}

// A letter is the page of one message.
type letter struct {
	Sum     string
	Size    int64
	Places  []mailarchive.Entry
	Senders []entry
	Header  string // the beginning of the message as text: nothing of it is interpreted
	To, Via string // of the form that was sent
}

// maxShown is how much of a message its page shows.
const maxShown = 20_000

func (a *app) letter(ctx context.Context, sum string) (l letter, err error) {
	body, size, err := a.vault.read(ctx, sum)
	if err != nil {
		return l, err
	}
	defer func() { _ = body.Close() }() // it was only read
	head, err := io.ReadAll(io.LimitReader(body, maxShown))
	if err != nil {
		return l, err
	}
	l = letter{Sum: sum, Size: size, Header: strings.ToValidUTF8(string(head), "�"), Senders: a.senders()}
	l.Places, err = a.vault.places(ctx, mailarchive.MessageKey(sum))
	return l, err
}

func (a *app) message(w http.ResponseWriter, r *http.Request) {
	a.showLetter(w, r, http.StatusOK, page{})
}

// showLetter shows a message, with what became of it.
func (a *app) showLetter(w http.ResponseWriter, r *http.Request, code int, p page) {
	l, err := a.letter(r.Context(), r.PathValue("sum"))
	if err != nil {
		a.problem(w, statusOf(err), err.Error())
		return
	}
	l.To, l.Via = r.PostFormValue("to"), r.PostFormValue("via")
	p.Title, p.Data = "Message", l
	if len(l.Places) > 0 && l.Places[0].Summary.Subject != "" {
		p.Title = l.Places[0].Summary.Subject
	}
	a.show(w, code, "message.html", p)
}

// download sends a message as it is. If it turns out to be damaged the transfer breaks off, so that no browser keeps it as whole.
func (a *app) download(w http.ResponseWriter, r *http.Request) {
	sum := r.PathValue("sum")
	body, size, err := a.vault.read(r.Context(), sum)
	if err != nil {
		a.problem(w, statusOf(err), err.Error())
		return
	}
	defer func() { _ = body.Close() }() // it was only read
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": sum + ".eml"}))
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// replay sends a message again, to one recipient.
func (a *app) replay(w http.ResponseWriter, r *http.Request) {
	via, ok := a.state.get(r.PostFormValue("via"))
	to := strings.TrimSpace(r.PostFormValue("to"))
	if !ok || to == "" {
		a.showLetter(w, r, http.StatusUnprocessableEntity, page{Error: "Say to whom to send the message, and by which connection."})
		return
	}
	receipt, err := a.send(r.Context(), via, to, r.PathValue("sum"))
	switch {
	case errors.Is(err, connection.ErrUncertain):
		a.showLetter(w, r, http.StatusBadGateway, page{Error: "Nobody knows whether the message was sent: look at the recipient's before you send it again. " + sentence(err)})
	case err != nil:
		a.showLetter(w, r, http.StatusBadGateway, page{Error: "The message was not sent: " + sentence(err)})
	default:
		note := fmt.Sprintf("Sent to %s. The server said: %s", to, receipt.Reply)
		if len(receipt.Rewritten) > 0 {
			note += ". What was sent differs from the archive: " + strings.Join(receipt.Rewritten, "; ") + "."
		}
		a.showLetter(w, r, http.StatusOK, page{Note: note})
	}
}

// An outgoing is a connection that sends.
type outgoing interface {
	connection.Connection
	connection.Sender
}

func (a *app) send(ctx context.Context, via entry, to, sum string) (*connection.Receipt, error) {
	body, size, err := a.vault.read(ctx, sum)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // it was only read
	sender, err := open[outgoing](a, via)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sender.Close() }() // whether the message was sent does not hang on it
	from := ""
	if own, ok := sender.(interface{ From() string }); ok {
		from = own.From()
	}
	return sender.Send(ctx, connection.Envelope{From: from, To: []string{to}}, body, &connection.SendOptions{Size: size})
}
