package autodiscover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A verdict is what a candidate's answer means for the search.
type verdict uint8

const (
	failed          verdict = iota // of no use: the next candidate
	settingsFound                  // the settings are here
	redirectAddress                // ask for another address, from the start
	redirectURL                    // ask another URL
	noMailbox                      // SOAP: the domain's own server knows no such mailbox
	noDomain                       // the server is not responsible for the domain
	noAccount                      // POX: as either of the two; other candidates may know better
	busy                           // ask again later
	refused                        // 401
)

// An answer is what a candidate said.
type answer struct {
	verdict  verdict
	settings settings
	target   string // of redirects
	code     string // the server's
	text     string // the server's
	kind     connection.Kind
	after    time.Duration // of busy, 0 if the server does not say
	err      error         // of failed, if it is no answer of autodiscover at all
}

// settings are what autodiscover knows of a mailbox, as the server spells it.
type settings struct {
	external, internal string
	address            string
	group              string
	publicFolders      string
	schemas            []string
	alternates         []Alternate
	endpoint           endpoint
}

// An endpoint is a URL at which autodiscover answers, in one of its two languages.
type endpoint struct {
	url  *url.URL
	soap bool
}

// endpointAt tells the language by the path, as Exchange names its files; ok is false for a path of neither.
func endpointAt(u *url.URL) (e endpoint, ok bool) {
	path := strings.ToLower(u.Path)
	switch {
	case strings.HasSuffix(path, "/autodiscover.svc"):
		return endpoint{url: u, soap: true}, true
	case strings.HasSuffix(path, "/autodiscover.xml"):
		return endpoint{url: u}, true
	}
	return endpoint{url: u}, false
}

// standard returns the URL at which a host's autodiscover is.
func standard(scheme, host, file string) *url.URL {
	return &url.URL{Scheme: scheme, Host: joinHost(host, ""), Path: "/autodiscover/autodiscover." + file}
}

// post asks e for the mailbox and says what the answer means. A redirect by HTTP is a redirectURL too.
func (f *Finder) post(ctx context.Context, e endpoint, mailbox string) answer {
	body := poxRequest(mailbox)
	if e.soap {
		body = soapRequest(e.url, mailbox)
	}
	data, a := f.exchange(ctx, e, body, mailbox)
	if data == nil {
		return a
	}
	return f.read(e, data)
}

// exchange posts body and returns what a 200 brought, or what another answer means.
func (f *Finder) exchange(ctx context.Context, e endpoint, body []byte, mailbox string) ([]byte, answer) {
	ctx, cancel := context.WithTimeout(ctx, f.o.StepTimeout)
	defer cancel()
	reply, err := f.o.Do(ctx, &Request{
		Method: http.MethodPost, URL: e.url, ContentType: "text/xml; charset=utf-8", Body: body, Address: mailbox,
	})
	if err != nil {
		return nil, f.unanswered(err)
	}
	data, err := reply.read()
	if err != nil && reply.Status == http.StatusOK {
		return nil, f.unanswered(err)
	}
	switch status := reply.Status; {
	case status == http.StatusOK:
		return append([]byte{}, data...), answer{}
	case status == http.StatusUnauthorized:
		return nil, answer{verdict: refused, kind: connection.ErrAuth, code: "401"}
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return nil, answer{
			verdict: busy, kind: connection.ErrUnavailable, code: strconv.Itoa(status), after: reply.retryAfter(f.o.Now()),
		}
	case isRedirect(status):
		return nil, f.moved(e, reply)
	default:
		a := answer{kind: connection.ErrProtocol, code: strconv.Itoa(status)}
		if status >= 500 {
			a.kind = connection.ErrUnavailable
		}
		a.err = fmt.Errorf("http status %d", status)
		if root, err := parse(data); err == nil {
			if fault := root.kid("Body", "Fault"); fault != nil {
				a.err = fmt.Errorf("http status %d: soap fault: %s", status, clean(fault.value("faultstring")))
			}
		}
		return nil, a
	}
}

// read says what the body of a 200 means.
func (f *Finder) read(e endpoint, data []byte) answer {
	var a answer
	var err error
	if e.soap {
		var all []answer
		if all, err = parseSOAP(data, 1); err == nil {
			a = all[0]
		}
	} else {
		a, err = parsePOX(data)
	}
	if err != nil {
		return answer{kind: connection.ErrProtocol, err: err}
	}
	a.settings.endpoint = e
	return a
}

// unanswered is the answer of a candidate that gave none.
func (f *Finder) unanswered(err error) answer {
	a := answer{kind: connection.KindOf(err), err: err}
	var e *connection.Error
	if errors.As(err, &e) {
		a.code, a.after = e.Code, e.RetryAfter
	}
	switch a.kind {
	case connection.ErrAuth:
		a.verdict = refused
	case connection.ErrThrottled, connection.ErrUnavailable:
		a.verdict = busy
	}
	return a
}

// moved reads a redirect by HTTP. One that leads to anything but autodiscover is a login page or a proxy, not an answer.
func (f *Finder) moved(e endpoint, reply *Reply) answer {
	a := answer{kind: connection.ErrProtocol, code: strconv.Itoa(reply.Status)}
	to, err := e.url.Parse(reply.Header.Get("Location"))
	switch {
	case err != nil || reply.Header.Get("Location") == "":
		a.err = fmt.Errorf("http status %d without a Location that can be read", reply.Status)
		return a
	case strings.HasSuffix(strings.ToLower(to.Path), "/genericerrorpage.htm"):
		a.verdict, a.kind = busy, connection.ErrThrottled // how Exchange says that the account is over its budget
		return a
	}
	if _, ok := endpointAt(to); !ok {
		a.err = fmt.Errorf("http status %d to %s, which is no autodiscover", reply.Status, clean(to.Redacted()))
		return a
	}
	a.verdict, a.target = redirectURL, to.String()
	return a
}

// location asks, without credentials and in the clear, where a host's autodiscover is. Nothing but the Location is used.
func (f *Finder) location(ctx context.Context, from *url.URL, mailbox string) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.StepTimeout)
	defer cancel()
	reply, err := f.o.Do(ctx, &Request{Method: http.MethodGet, URL: from, Anonymous: true, Address: mailbox})
	if err != nil {
		return nil, err
	}
	if reply.Body != nil {
		_ = reply.Body.Close() // nothing in it is of use
	}
	location := reply.Header.Get("Location")
	if !isRedirect(reply.Status) || location == "" {
		return nil, &connection.Error{
			Op: "autodiscover", Driver: f.o.Driver, Kind: connection.ErrProtocol, Code: strconv.Itoa(reply.Status),
			Err: fmt.Errorf("http status %d, want a redirect", reply.Status),
		}
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil, &connection.Error{Op: "autodiscover", Driver: f.o.Driver, Kind: connection.ErrProtocol, Err: errors.New("a redirect to what is no URL")}
	}
	return to, nil
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// read returns the body and closes it.
func (r *Reply) read() ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxReply+1))
	if closing := r.Body.Close(); err == nil {
		err = closing
	}
	if len(data) > maxReply {
		return nil, &connection.Error{Op: "autodiscover", Kind: connection.ErrProtocol, Err: errLarge}
	}
	return data, err
}

// retryAfter returns what the server asks for (RFC 9110, 10.2.3), 0 if it asks nothing.
func (r *Reply) retryAfter(now time.Time) time.Duration {
	text := strings.TrimSpace(r.Header.Get("Retry-After"))
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), 3600)) * time.Second
	}
	if when, err := http.ParseTime(text); err == nil {
		return min(max(when.Sub(now), 0), time.Hour)
	}
	return 0
}
