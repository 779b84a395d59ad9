package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A job is something that takes a while: a test or an archive run. Its lines can be followed while they come.
type job struct {
	ID         string
	Kind       string // "test" or "run"
	Connection string // its ID
	Title      string
	Began      time.Time
	cancel     context.CancelFunc
	done       chan struct{}

	mu       sync.Mutex
	lines    []line
	progress line // the newest of its kind; the zero line if there is none
	ended    bool
	failed   bool
	news     chan struct{} // closed and made anew with each change
}

// A line is one thing that a job tells.
type line struct {
	Kind string `json:"kind"`           // "step", "progress", "note", "problem" or "end"
	Step *step  `json:"step,omitempty"` // of a test
	Text string `json:"text,omitempty"`
	OK   bool   `json:"ok"`

	Stats *connection.DrainStats `json:"stats,omitempty"`
}

// A step is one step of a test, in words.
type step struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
	Hint   string `json:"hint,omitempty"`
	Took   string `json:"took,omitempty"`
}

// maxLines bounds what a job that finds many problems keeps; jobs keeps the newest ones.
const (
	maxLines = 500
	maxJobs  = 50
)

func (j *job) change(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
	close(j.news)
	j.news = make(chan struct{})
}

func (j *job) say(l line) {
	j.change(func() {
		switch {
		case l.Kind == "progress":
			j.progress = l
		case len(j.lines) < maxLines:
			j.lines = append(j.lines, l)
		case len(j.lines) == maxLines:
			j.lines = append(j.lines, line{Kind: "note", OK: true, Text: "Further lines are not kept."})
		}
	})
}

// end says how it went.
func (j *job) end(err error, text string) {
	l := line{Kind: "end", OK: err == nil, Text: text}
	if err != nil {
		l.Text = sentence(err)
	}
	j.change(func() {
		j.lines = append(j.lines, l)
		j.ended, j.failed = true, err != nil
	})
}

// maxSentence is how many octets of an error are told: one may join those of many messages, and quote what a server says.
const maxSentence = 2000

func sentence(err error) string {
	text := err.Error()
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "") + "…"
	}
	var e *connection.Error
	if errors.As(err, &e) && e.Hint != "" && !strings.Contains(text, e.Hint) {
		text += " (" + e.Hint + ")"
	}
	return text
}

// since returns the lines from n on, the progress, whether the job has ended, and a channel that is closed at the next change.
func (j *job) since(n int) (lines []line, progress line, ended bool, news <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[min(n, len(j.lines)):]), j.progress, j.ended, j.news
}

// A jobView is a job as it is at one moment, for its page, which then follows it from there on.
type jobView struct {
	*job
	Lines    []line
	Progress string
	Ended    bool
}

func (j *job) view() jobView {
	lines, progress, ended, _ := j.since(0)
	return jobView{job: j, Lines: lines, Progress: progress.Text, Ended: ended}
}

// Lines, Progress, Ended and Failed are for lists.
func (j *job) Lines() []line {
	lines, _, _, _ := j.since(0)
	return lines
}

// Progress returns the newest progress, in words.
func (j *job) Progress() string {
	_, progress, _, _ := j.since(0)
	return progress.Text
}

// Ended reports whether the job has ended.
func (j *job) Ended() bool {
	_, _, ended, _ := j.since(0)
	return ended
}

// Failed reports whether it ended with an error.
func (j *job) Failed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// jobs are those of this start of the console.
type jobs struct {
	ctx  context.Context // of all of them
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu  sync.Mutex
	all []*job // the newest last
}

func newJobs(ctx context.Context) *jobs {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	return &jobs{ctx: ctx, stop: stop}
}

var errRuns = errors.New("it is running already")

// start begins a job. A connection has one of each kind at a time.
func (s *jobs) start(kind, connectionID, title string, work func(ctx context.Context, j *job)) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.all {
		if old.Kind == kind && old.Connection == connectionID && !old.Ended() {
			return old, errRuns
		}
	}
	if s.ctx.Err() != nil {
		return nil, errors.New("the console is being stopped")
	}
	ctx, cancel := context.WithCancel(s.ctx)
	j := &job{
		ID: strings.ToLower(rand.Text()[:12]), Kind: kind, Connection: connectionID, Title: title, Began: time.Now(), cancel: cancel,
		done: make(chan struct{}), news: make(chan struct{}),
	}
	s.all = append(s.all, j)
	if i := slices.IndexFunc(s.all, (*job).Ended); len(s.all) > maxJobs && i >= 0 {
		s.all = slices.Delete(s.all, i, i+1)
	}
	s.wg.Go(func() {
		defer close(j.done)
		defer cancel()
		work(ctx, j)
	})
	return j, nil
}

func (s *jobs) get(id string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.all, func(j *job) bool { return j.ID == id })
	if i < 0 {
		return nil
	}
	return s.all[i]
}

// of returns the newest job of a kind for a connection, nil if there is none.
func (s *jobs) of(kind, connectionID string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range slices.Backward(s.all) {
		if j.Kind == kind && j.Connection == connectionID {
			return j
		}
	}
	return nil
}

// cancel ends what runs for a connection. It does not wait.
func (s *jobs) cancel(connectionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.all {
		if j.Connection == connectionID {
			j.cancel()
		}
	}
}

// close ends all jobs and waits for them.
func (s *jobs) close() {
	s.stop()
	s.wg.Wait()
}

// runTest is the work of a test.
func runTest(ctx context.Context, j *job, c connection.Connection) {
	text := "Everything works."
	_, err := c.Test(ctx, &connection.TestOptions{Progress: func(s connection.Step) {
		if s.Status == connection.StatusWarned {
			text = "It works, with the warnings above."
		}
		l := line{Kind: "step", OK: s.Status != connection.StatusFailed, Step: &step{
			Name: s.Name, Status: string(s.Status), Detail: s.Detail, Hint: s.Hint, Took: s.Elapsed.Round(time.Millisecond).String(),
		}}
		if s.Err != nil {
			l.Step.Error = sentence(s.Err)
		}
		j.say(l)
	}})
	if ctx.Err() != nil {
		err = errors.New("stopped before the end")
	}
	j.end(errors.Join(err, c.Close()), text)
}

// runArchive is the work of a run: what sink stores leaves source, unless it is to be kept.
func runArchive(ctx context.Context, j *job, source connection.Source, sink connection.Sink, keep bool) {
	stats, err := connection.Drain(ctx, source, sink, &connection.DrainOptions{
		Workers: 8, Keep: keep,
		OnError: func(_ connection.Ref, err error) { j.say(line{Kind: "problem", Text: sentence(err)}) },
		Progress: func(s connection.DrainStats) {
			j.say(line{Kind: "progress", OK: true, Text: words(s), Stats: &s})
		},
	})
	if ctx.Err() != nil {
		err = errStopped // but what Close says is told all the same: it may concern what was to be deleted
	}
	err = errors.Join(err, source.Close())
	j.say(line{Kind: "progress", OK: err == nil, Text: words(stats), Stats: &stats})
	j.end(err, "Done: "+words(stats)+".")
}

var errStopped = errors.New("stopped before the end; what is not in the archive is still at the source")

func words(s connection.DrainStats) string {
	text := fmt.Sprintf("%d stored, %.1f MB, %d deleted at the source", s.Stored, float64(s.Bytes)/1e6, s.Deleted)
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d tries failed", s.Failed)
	}
	return text
}

// event writes a line as a server-sent event.
func event(l line) ([]byte, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", l.Kind, data), nil
}
