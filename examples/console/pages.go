package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A page is what every template gets.
type page struct {
	Title string
	Form  string // the token that forms send
	Note  string // what was done
	Error string // what went wrong
	Data  any
}

// show writes a page: whole, or an error in its place.
func (a *app) show(w http.ResponseWriter, status int, name string, p page) {
	p.Form = a.form
	var out bytes.Buffer
	if err := a.pages.ExecuteTemplate(&out, name, p); err != nil {
		http.Error(w, "This page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the browser has left
}

func (a *app) problem(w http.ResponseWriter, status int, text string) {
	a.show(w, status, "problem.html", page{Title: "That did not work", Error: text})
}

// A row is one connection in the list.
type row struct {
	entry
	Kind     string
	Endpoint string
	Error    string // why it cannot be opened
	Can      can
	Test     *job
	Run      *job
}

// endpoint returns where a connection goes, as far as that can be told.
func (a *app) endpoint(e entry) string {
	conn, err := a.registry.Open(e.Settings, nil)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }() // it was never used
	return conn.Info().Endpoint
}

func (a *app) row(e entry) row {
	r := row{entry: e, Kind: title(e.Driver), Test: a.jobs.of("test", e.ID), Run: a.jobs.of("run", e.ID)}
	conn, err := a.registry.Open(e.Settings, nil)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Endpoint = conn.Info().Endpoint
	_ = conn.Close() // it was never used
	r.Can = a.can(e)
	return r
}

func (a *app) home(w http.ResponseWriter, _ *http.Request) {
	var data struct {
		Rows    []row
		Demo    bool
		Archive bool // something can be archived
	}
	for _, e := range a.state.all() {
		data.Rows = append(data.Rows, a.row(e))
		data.Demo = data.Demo || e.Demo != ""
		data.Archive = data.Archive || data.Rows[len(data.Rows)-1].Can.Archive
	}
	a.show(w, http.StatusOK, "home.html", page{Title: "Connections", Data: data})
}

func (a *app) startDemo(w http.ResponseWriter, r *http.Request) {
	if err := a.demo.start(a.state); err != nil {
		a.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) choose(w http.ResponseWriter, _ *http.Request) {
	type choice struct{ Name, Title string }
	var all []choice
	for _, d := range a.registry.Drivers() {
		if name, ok := titles[d.Name()]; ok { // else it is another name of one of these
			all = append(all, choice{d.Name(), name})
		}
	}
	a.show(w, http.StatusOK, "choose.html", page{Title: "New connection", Data: all})
}

// An editor is the page of one connection's settings.
type editor struct {
	entry
	Kind string
	*form
	New bool
	Row row
}

func (a *app) create(w http.ResponseWriter, r *http.Request) {
	d, ok := a.driver(r.PathValue("driver"))
	if !ok {
		a.problem(w, http.StatusNotFound, "There is no such kind of connection.")
		return
	}
	f, err := newForm(d, nil)
	if err != nil {
		a.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	kind := title(d.Name())
	a.show(w, http.StatusOK, "edit.html", page{Title: "New connection: " + kind, Data: editor{entry: entry{Settings: connection.Settings{Driver: d.Name()}}, Kind: kind, form: f, New: true}})
}

// entry returns the connection that a request is about, or says that there is none.
func (a *app) entry(w http.ResponseWriter, r *http.Request) (entry, bool) {
	e, ok := a.state.get(r.PathValue("id"))
	if !ok {
		a.problem(w, http.StatusNotFound, "There is no such connection any more.")
	}
	return e, ok
}

func (a *app) edit(w http.ResponseWriter, r *http.Request) {
	e, ok := a.entry(w, r)
	if !ok {
		return
	}
	d, ok := a.driver(e.Driver)
	if !ok {
		a.problem(w, http.StatusNotFound, "This program has no driver "+e.Driver+".")
		return
	}
	f, err := newForm(d, e.Config)
	if err != nil {
		a.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	p := page{Title: e.Name, Data: editor{entry: e, Kind: title(e.Driver), form: f, Row: a.row(e)}}
	if r.URL.Query().Get("saved") != "" {
		p.Note = "The settings are saved."
		if j := a.jobs.of("run", e.ID); j != nil && !j.Ended() {
			p.Note += " The run that is going on keeps to those it began with."
		}
	}
	a.show(w, http.StatusOK, "edit.html", p)
}

// save takes the form of a new connection, or of one that is there.
func (a *app) save(w http.ResponseWriter, r *http.Request) {
	e := entry{Settings: connection.Settings{Driver: r.PathValue("driver")}}
	isNew := r.PathValue("id") == ""
	if !isNew {
		var ok bool
		if e, ok = a.entry(w, r); !ok {
			return
		}
	}
	d, ok := a.driver(e.Driver)
	if !ok {
		a.problem(w, http.StatusNotFound, "There is no such kind of connection.")
		return
	}
	f, err := newForm(d, json.RawMessage("{}"))
	if err != nil {
		a.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	config, err := f.read(r.PostForm, e.Config)
	if err != nil {
		a.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	endpoint := a.endpoint(e)
	e.Config, e.Name = config, strings.TrimSpace(r.PostFormValue("name"))
	if e.Name == "" {
		e.Name = title(e.Driver)
	}
	conn, err := a.registry.Open(e.Settings, nil)
	if err != nil {
		kind := title(e.Driver)
		f.forget(r.PostForm)
		data := editor{entry: e, Kind: kind, form: f, New: isNew}
		if !isNew {
			data.Row = a.row(e)
		}
		a.show(w, http.StatusUnprocessableEntity, "edit.html", page{Title: e.Name, Error: f.blame(err), Data: data})
		return
	}
	_ = conn.Close() // it was never used
	if isNew {
		e.ID, err = a.state.put(e)
	} else {
		err = a.state.change(e.ID, func(now *entry) {
			now.Name, now.Config = e.Name, e.Config
			if endpoint != a.endpoint(e) {
				now.Demo = "" // it is somebody's own server now, which the demonstration must not replace
			}
		})
	}
	if err != nil {
		a.problem(w, statusOf(err), err.Error())
		return
	}
	http.Redirect(w, r, "/connections/"+e.ID+"?saved=1", http.StatusSeeOther)
}

// toggle switches a connection on or off: to what the form says, since another tab may have been quicker.
func (a *app) toggle(w http.ResponseWriter, r *http.Request) {
	e, ok := a.entry(w, r)
	if !ok {
		return
	}
	to := r.PostFormValue("to")
	if to != "on" && to != "off" {
		a.problem(w, http.StatusBadRequest, "Say whether to switch the connection on or off.")
		return
	}
	if err := a.state.change(e.ID, func(e *entry) { e.Disabled = to == "off" }); err != nil {
		a.problem(w, statusOf(err), err.Error())
		return
	}
	if to == "off" {
		a.jobs.cancel(e.ID)
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) remove(w http.ResponseWriter, r *http.Request) {
	e, ok := a.entry(w, r)
	if !ok {
		return
	}
	if j := a.jobs.of("run", e.ID); j != nil && !j.Ended() {
		a.problem(w, http.StatusConflict, "An archive run reads from this connection: stop it first.")
		return
	}
	if err := a.state.remove(e.ID); err != nil {
		a.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	a.jobs.cancel(e.ID) // one that began in this moment
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) browse(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	data := struct {
		From, Subject, After, Before string
		Found                        found
	}{From: form.Get("from"), Subject: form.Get("subject"), After: form.Get("after"), Before: form.Get("before")}
	p := page{Title: "Archive"}
	q, err := a.newQuery(data.From, data.Subject, data.After, data.Before)
	if err == nil {
		data.Found, err = a.vault.search(r.Context(), q)
	}
	if err != nil {
		p.Error = err.Error()
	}
	p.Data = data
	a.show(w, http.StatusOK, "archive.html", p)
}

// statusOf is what a browser is told about err.
func statusOf(err error) int {
	switch {
	case errors.Is(err, connection.ErrNotFound), errors.Is(err, errGone):
		return http.StatusNotFound
	case errors.Is(err, connection.ErrInvalid):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}
