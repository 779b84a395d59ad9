package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// A Client asks the monitor feed of one domain. It may be used by several goroutines. Each method makes one attempt, but for
// List, which asks for each page; an error is a *connection.Error, or the transport's own. A refusal of the feed has a
// *Refusal in its chain.
type Client struct {
	HTTP      *http.Client // puts the token on requests, and follows no redirect
	Base      *url.URL     // "https://apps-apis.google.com/"
	Domain    string
	UserAgent string
}

// A Refusal is what the feed said instead of doing what was asked.
type Refusal struct {
	Status int
	Code   int    // of AppsForYourDomainErrors; 0 if there was none
	Reason string // "EntityDoesNotExist"
	Input  string // the argument that the server did not like
	Text   string // of another body: short, printable
	// Gone means that the answer looks like one of an API that is no more. It may also be the answer of a proxy, or
	// about this user alone: ask for the administrator's own feed before it is believed.
	Gone bool
}

// Error says what the feed said, in a few words.
func (r *Refusal) Error() string {
	text := httpx.Clean(r.Text)
	if r.Code != 0 || r.Reason != "" {
		text = httpx.Clean(r.Reason)
		if r.Input != "" {
			text += " (" + httpx.Clean(r.Input) + ")"
		}
	}
	if text == "" {
		text = http.StatusText(r.Status)
	}
	return fmt.Sprintf("HTTP %d: %s", r.Status, text)
}

// The codes of AppsForYourDomainErrors that mean something here.
const (
	codeUnknown        = 1000
	codeUnauthorized   = 1002
	codeUserSuspended  = 1101
	codeDomainSuspend  = 1202
	codeUnavailable    = 1203
	codeExists         = 1300
	codeDoesNotExist   = 1301
	codeInvalidName    = 1303
	codeInvalidDomain  = 1317
	codeNotForUser     = 1410
	codeInvalidRequest = 1801
)

// List returns the monitors that copy the mail of user. A user of whom the feed knows nothing has none.
func (c *Client) List(ctx context.Context, user string) ([]Monitor, error) {
	if err := checkUser(user); err != nil {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: err}
	}
	var all []Monitor
	asked := make(map[string]bool)
	for at := c.path(user); ; {
		asked[at.String()] = true
		a, err := c.ask(ctx, http.MethodGet, at, nil)
		if IsUnknown(err) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		for _, m := range a.monitors {
			m.Source = user
			all = append(all, m)
		}
		if a.next == "" {
			return all, nil
		}
		if at, err = c.follow(at, a.next); err != nil {
			return nil, err
		}
		if asked[at.String()] || len(asked) == maxPages {
			return nil, protocol("the list of monitors does not end")
		}
	}
}

// Set makes m, or changes the monitor that there is between the two, and returns what the server made of it: m itself if it
// does not say.
func (c *Client) Set(ctx context.Context, m Monitor) (Monitor, error) {
	if err := m.check(); err != nil {
		return Monitor{}, &connection.Error{Kind: connection.ErrInvalid, Err: err}
	}
	a, err := c.ask(ctx, http.MethodPost, c.path(m.Source), m.entry())
	if err != nil {
		return Monitor{}, err
	}
	for _, made := range a.monitors {
		if strings.EqualFold(made.Destination, m.Destination) {
			made.Source = m.Source
			return made, nil
		}
	}
	return m, nil // accepted, and not shown
}

// Remove ends the monitor from one user to another. One that is not there is no error.
func (c *Client) Remove(ctx context.Context, source, destination string) error {
	for _, user := range []string{source, destination} {
		if err := checkUser(user); err != nil {
			return &connection.Error{Kind: connection.ErrInvalid, Err: err}
		}
	}
	if _, err := c.ask(ctx, http.MethodDelete, c.path(source, destination), nil); err != nil && !IsUnknown(err) {
		return err
	}
	return nil
}

// IsUnknown reports whether the feed said that it knows no such user or monitor.
func IsUnknown(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Code == codeDoesNotExist
}

// IsSuspended reports whether the feed said that the user is suspended.
func IsSuspended(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Code == codeUserSuspended
}

// IsGone reports whether err is one of [Refusal.Gone].
func IsGone(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Gone
}

func (c *Client) path(users ...string) *url.URL {
	parts := append([]string{"a/feeds/compliance/audit/mail/monitor", url.PathEscape(c.Domain)}, users...)
	for i := 2; i < len(parts); i++ {
		parts[i] = url.PathEscape(parts[i])
	}
	base := *c.Base
	base.RawPath, base.RawQuery, base.Fragment = "", "", ""
	return base.JoinPath(parts...)
}

// follow returns where a list goes on. It stays on the feed's own host: the token goes nowhere else.
func (c *Client) follow(at *url.URL, next string) (*url.URL, error) {
	u, err := at.Parse(next)
	if err != nil {
		return nil, protocol("the list of monitors goes on nowhere: its link is no URL")
	}
	if u.Scheme == "http" && c.Base.Scheme == "https" {
		u.Scheme = c.Base.Scheme // links in GData feeds were seen to be older than TLS
	}
	if u.Scheme != c.Base.Scheme || !strings.EqualFold(u.Host, c.Base.Host) {
		return nil, protocol("the list of monitors goes on at another host")
	}
	u.Fragment, u.User = "", nil
	return u, nil
}

// ask sends one request and reads the answer.
func (c *Client) ask(ctx context.Context, method string, at *url.URL, entry []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(entry))
	if err != nil {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: err}
	}
	req.Header.Set("Content-Type", "application/atom+xml")
	if c.UserAgent != "" {
		req.Header.Set("User-Agent", c.UserAgent)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("an answer of more than %d octets", maxBody)}
	}
	return read(method, resp.StatusCode, resp.Header, body)
}

// read makes an answer or an error of what came.
func read(method string, status int, h http.Header, body []byte) (*answer, error) {
	a, err := parse(body)
	// The documentation lets a list come with 201, and says of the answer to DELETE only that it is none.
	good := status == http.StatusOK || status == http.StatusCreated || status == http.StatusNoContent && method == http.MethodDelete
	empty := len(bytes.TrimSpace(body)) == 0
	switch {
	case good && a.code != 0:
	case good && method == http.MethodDelete && (empty || a.gdata):
		return a, nil
	case good && a.gdata && err == nil:
		return a, nil
	case good && a.gdata:
		return nil, protocol("the answer is not understood: %w", err)
	}
	return nil, refusal(status, h, a, body)
}

// refusal returns the error of an answer that is not what was asked for.
func refusal(status int, h http.Header, a *answer, body []byte) error {
	r := &Refusal{Status: status, Code: a.code, Reason: a.reason, Input: a.input}
	if !a.gdata {
		r.Text = string(body[:min(len(body), 256)])
	}
	r.Gone = gone(status, a, body)
	e := httpx.StatusError(status, h, "", "")
	e.Err = r
	if a.code != 0 {
		e.Code = fmt.Sprint(a.code)
	}
	switch a.code {
	case codeUnknown:
		e.Kind = connection.ErrUnavailable
	case codeUnauthorized, codeUserSuspended, codeDomainSuspend:
		e.Kind = connection.ErrPermission
	case codeUnavailable, codeNotForUser:
		e.Kind = connection.ErrUnsupported
	case codeExists:
		e.Kind = connection.ErrExists
	case codeDoesNotExist:
		e.Kind = connection.ErrNotFound
	case codeInvalidName, codeInvalidDomain, codeInvalidRequest:
		e.Kind = connection.ErrInvalid
	}
	if status/100 == 2 && a.code == 0 {
		e.Kind = connection.ErrProtocol
	}
	return e
}

// gone reports whether an answer looks like that of an API that is no more. 1301 is about one user alone.
func gone(status int, a *answer, body []byte) bool {
	switch {
	case a.code == codeUnavailable, a.code == codeNotForUser:
		return true
	case a.code != 0:
		return false
	case bytes.Contains(bytes.ToLower(body), []byte("deprecated")):
		return true
	case status == http.StatusUnauthorized, status == http.StatusTooManyRequests, status >= 500 && status != http.StatusNotImplemented:
		return false // these say nothing of the API, whatever page comes with them
	case status == http.StatusNotFound, status == http.StatusGone, status == http.StatusNotImplemented:
		return !a.gdata
	}
	return !a.gdata && isHTML(body)
}

func isHTML(body []byte) bool {
	start := bytes.ToLower(body[:min(len(body), 1024)])
	return bytes.Contains(start, []byte("<html")) || bytes.Contains(start, []byte("<!doctype html"))
}

func protocol(format string, args ...any) error {
	return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf(format, args...)}
}
