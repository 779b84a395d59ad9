package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"
)

// A guard lets nobody through but the browser that was given the token, and no page of another site through that browser.
type guard struct {
	token  string
	cookie string   // its name has the port: browsers do not tell the ports of a host apart, and two consoles may run
	form   string   // what each form must send: it is made of the token and says nothing of it
	hosts  []string // by which the console may be asked for: a name that another site makes point here is none of them
	next   http.Handler
	origin *http.CrossOriginProtection
}

func newGuard(token, address string, next func(form string) http.Handler) *guard {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("forms")) // never fails
	g := &guard{token: token, form: hex.EncodeToString(mac.Sum(nil)), hosts: []string{address}, origin: http.NewCrossOriginProtection()}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		g.hosts = append(g.hosts, "localhost:"+port)
	}
	if port == "80" { // which browsers leave out
		g.hosts = append(g.hosts, strings.TrimSuffix(net.JoinHostPort(host, ""), ":"), "localhost")
	}
	g.cookie = "mailconn_console_" + port
	g.next = next(g.form)
	return g
}

// maxForm is how many octets a form may have: settings hold some certificates at most.
const maxForm = 1 << 20

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if !g.knows(r.Host) {
		http.Error(w, "This console answers by the address that it printed.", http.StatusMisdirectedRequest)
		return
	}
	if given := r.URL.Query().Get("token"); r.Method == http.MethodGet && given != "" {
		if !same(given, g.token) {
			http.Error(w, "This token is of another start of the console: open the address that it has printed now.", http.StatusForbidden)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: g.cookie, Value: g.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		http.Redirect(w, r, "/", http.StatusSeeOther) // without the token in the address
		return
	}
	cookie, err := r.Cookie(g.cookie)
	if err != nil || !same(cookie.Value, g.token) {
		http.Error(w, "Open the address that the console has printed: it holds the token that this page needs.", http.StatusForbidden)
		return
	}
	if err := g.origin.Check(r); err != nil {
		http.Error(w, "This request comes from another site.", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		var large *http.MaxBytesError
		if err := r.ParseForm(); errors.As(err, &large) {
			http.Error(w, "This form holds more than the console takes. Nothing was saved.", http.StatusRequestEntityTooLarge)
			return
		}
		if !same(r.PostFormValue("form"), g.form) {
			http.Error(w, "This form is of another start of the console: go back and load the page again.", http.StatusForbidden)
			return
		}
	}
	g.next.ServeHTTP(w, r)
}

func (g *guard) knows(host string) bool {
	for _, known := range g.hosts {
		if strings.EqualFold(host, known) {
			return true
		}
	}
	return false
}
