package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
)

//go:embed assets
var assets embed.FS

// An app is the console behind its guard.
type app struct {
	registry *connection.Registry
	state    *state
	vault    *vault
	jobs     *jobs
	demo     demo
	pages    *template.Template
	form     string         // the token of forms
	zone     *time.Location // of the days to search by, and of the times that pages show
}

// newApp opens the state in dir, which it makes if it is new.
func newApp(ctx context.Context, dir string) (_ *app, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("-state: %w", err)
	}
	a := &app{registry: alldrivers.New(), zone: time.Local}
	if a.state, err = loadState(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "archive"), 0o700); err != nil {
		return nil, fmt.Errorf("-state: %w", err)
	}
	if a.vault, err = openVault(filepath.Join(dir, "archive"), nil); err != nil {
		return nil, err
	}
	if a.pages, err = template.New("").Funcs(a.functions()).ParseFS(assets, "assets/*.html"); err != nil {
		return nil, errors.Join(err, a.vault.store.Close())
	}
	if err := a.demo.resume(a.state); err != nil {
		return nil, errors.Join(err, a.vault.store.Close())
	}
	a.jobs = newJobs(ctx)
	return a, nil
}

// stop ends what runs.
func (a *app) stop() { a.jobs.close() }

func (a *app) close() error {
	a.jobs.close()
	a.demo.close()
	return a.vault.store.Close()
}

func (a *app) functions() template.FuncMap {
	return template.FuncMap{
		"when": func(t time.Time) string {
			if t.IsZero() {
				return "unknown"
			}
			return t.In(a.zone).Format("2006-01-02 15:04")
		},
		"date": func(e mailarchive.Entry) time.Time { return date(&e) },
		"sum":  func(e mailarchive.Entry) string { return sumOf(e.Key) },
		"octets": func(n int64) string {
			switch {
			case n < 1e3:
				return fmt.Sprintf("%d B", n)
			case n < 1e6:
				return fmt.Sprintf("%.1f kB", float64(n)/1e3)
			}
			return fmt.Sprintf("%.1f MB", float64(n)/1e6)
		},
	}
}

// routes returns the pages. form is what each form sends along.
func (a *app) routes() func(form string) http.Handler {
	return func(form string) http.Handler {
		a.form = form
		mux := http.NewServeMux()
		mux.HandleFunc("GET /{$}", a.home)
		mux.HandleFunc("POST /demo", a.startDemo)
		mux.HandleFunc("GET /new", a.choose)
		mux.HandleFunc("GET /new/{driver}", a.create)
		mux.HandleFunc("POST /new/{driver}", a.save)
		mux.HandleFunc("GET /connections/{id}", a.edit)
		mux.HandleFunc("POST /connections/{id}", a.save)
		mux.HandleFunc("POST /connections/{id}/switch", a.toggle)
		mux.HandleFunc("POST /connections/{id}/delete", a.remove)
		mux.HandleFunc("POST /connections/{id}/test", a.test)
		mux.HandleFunc("POST /connections/{id}/run", a.archive)
		mux.HandleFunc("GET /jobs/{job}", a.job)
		mux.HandleFunc("GET /jobs/{job}/events", a.events)
		mux.HandleFunc("POST /jobs/{job}/stop", a.stopJob)
		mux.HandleFunc("GET /archive", a.browse)
		mux.HandleFunc("GET /archive/{sum}", a.message)
		mux.HandleFunc("GET /archive/{sum}/raw", a.download)
		mux.HandleFunc("POST /archive/{sum}/replay", a.replay)
		mux.Handle("GET /assets/", http.FileServerFS(files{}))
		return mux
	}
}

// files are the style and the script.
type files struct{}

// Open implements fs.FS: templates and listings are nobody's business.
func (files) Open(name string) (f fs.File, err error) {
	if name != "assets/console.css" && name != "assets/console.js" {
		return nil, os.ErrNotExist
	}
	return assets.Open(name)
}

// can reports what the driver of a connection lets it do here.
type can struct{ Archive, Send bool }

func (a *app) can(e entry) (c can) {
	conn, err := a.registry.Open(e.Settings, nil)
	if err != nil {
		return c
	}
	_, source := connection.As[connection.Source](conn)
	_, sender := connection.As[connection.Sender](conn)
	c = can{Archive: source == nil, Send: sender == nil}
	if _, store := connection.As[connection.ObjectStore](conn); store == nil {
		c.Archive = false
	}
	_ = conn.Close() // it was never used
	return c
}

// senders returns the connections that send.
func (a *app) senders() (all []entry) {
	return slices.DeleteFunc(a.state.all(), func(e entry) bool { return e.Disabled || !a.can(e).Send })
}

// open opens a connection for work.
func open[T any](a *app, e entry) (T, error) {
	var none T
	if e.Disabled {
		return none, fmt.Errorf("%s is switched off", e.Name)
	}
	c, err := a.registry.Open(e.Settings, nil)
	if err != nil {
		return none, err
	}
	t, err := connection.As[T](c)
	if err != nil {
		return none, errors.Join(err, c.Close())
	}
	return t, nil
}

// driver returns a driver by name.
func (a *app) driver(name string) (connection.Driver, bool) {
	drivers := a.registry.Drivers()
	i := slices.IndexFunc(drivers, func(d connection.Driver) bool { return d.Name() == name })
	if i < 0 {
		return connection.Driver{}, false
	}
	return drivers[i], true
}

// titles are what people call the drivers.
var titles = map[string]string{
	"imap": "IMAP mailbox", "pop3": "POP3 mailbox", "ews": "Exchange (EWS)", "gmail": "Google Workspace", "maildir": "Maildir", "smtp": "Outgoing mail (SMTP)",
	"file": "Folder of this machine", "s3": "Amazon S3 and compatible", "minio": "MinIO", "azureblob": "Azure Blob Storage", "b2": "Backblaze B2",
	"swift": "OpenStack Swift", "rackspace-cloudfiles": "Rackspace Cloud Files", "atmos": "Dell EMC Atmos",
}

func title(driver string) string {
	if t, ok := titles[driver]; ok {
		return t
	}
	return driver
}
