package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

const (
	patience  = time.Minute // for one request, whose answer is small
	maxAnswer = 64 << 10    // octets of an answer
	maxToken  = 16 << 10    // octets of a token; Google's have some hundred
)

// An exchange is a token endpoint, and who asks there.
type exchange struct {
	uri      *url.URL
	name     string // the setting
	uriField string // the setting that names uri

	email, clientID, project string
}

func (x *exchange) account() (email, clientID, project string) { return x.email, x.clientID, x.project }
func (x *exchange) tokenURL() *url.URL                         { u := *x.uri; return &u }

// An answer is a token that an endpoint gave, and a new refresh token if it replaced that.
type answer struct {
	token, refresh connection.Secret
	life           time.Duration
}

// post asks for a token. What is shown of the reply is without the secrets of the form.
func (x *exchange) post(ctx context.Context, s *Source, k Key, form url.Values, secrets ...connection.Secret) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, x.uri.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, s.fault(connection.ErrConfig, x.uriField+": check it", "asking for a token: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, h, body, err := s.roundTrip(ctx, req, x.uriField)
	if err != nil {
		return answer{}, err
	}
	r := parseReply(body)
	if status != http.StatusOK || r.token == "" {
		return answer{}, s.refused(x, k, status, h, r, wirelog.NewScrubber("", secrets...))
	}
	if r.kind != "" && !strings.EqualFold(r.kind, "Bearer") {
		return answer{}, s.fault(connection.ErrProtocol, x.noEndpoint(), "the token is of the type %q, want Bearer", printable(r.kind, maxCode))
	}
	if !sendable(r.token) {
		return answer{}, s.fault(connection.ErrProtocol, x.noEndpoint(), "a token of %d octets that cannot be sent in a header", len(r.token))
	}
	return answer{token: connection.NewSecret(r.token), refresh: connection.NewSecret(r.refresh), life: r.life}, nil
}

// roundTrip makes a request and reads its whole reply. It repeats nothing; a request for a token may always be repeated, so that
// an answer that did not come is a matter of the network and never ErrUncertain.
func (s *Source) roundTrip(ctx context.Context, req *http.Request, field string) (status int, h http.Header, body []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
	defer cancel()
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req.WithContext(ctx))
	if err != nil {
		return 0, nil, nil, s.unreached(ctx, err, field)
	}
	defer func() { _ = resp.Body.Close() }() // all that counts was read
	s.clock(resp.Header)
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, nil, s.unreached(ctx, err, field)
	}
	return resp.StatusCode, resp.Header, body, nil
}

func (s *Source) clock(h http.Header) {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		d := date.Sub(s.now())
		s.skew.Store(&d)
	}
}

// unreached is the error of a request without an answer.
func (s *Source) unreached(ctx context.Context, err error, field string) error {
	hint := field + ": the server could not be asked; check the network and any proxy"
	var own *connection.Error
	if errors.As(err, &own) {
		e := *own
		if e.Kind == connection.ErrUncertain || e.Kind == connection.ErrUnknown {
			e.Kind = connection.ErrNetwork
		}
		if e.Op, e.Driver = "token", driver; e.Hint == "" {
			e.Hint = hint
		}
		return &e
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the URL
	}
	kind := connection.KindOf(err)
	switch {
	case ctx.Err() != nil:
		err, kind = context.Cause(ctx), connection.KindOf(ctx.Err())
	case kind == connection.ErrUnknown:
		kind = connection.ErrNetwork
	}
	return s.fault(kind, hint, "asking for a token: %w", err)
}

const driver = "gmail"

// fault makes an error of this package.
func (s *Source) fault(kind connection.Kind, hint, format string, args ...any) *connection.Error {
	e := &connection.Error{Op: "token", Driver: driver, Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
	if u := s.grant.tokenURL(); u != nil {
		e.Endpoint = u.Host
	}
	return e
}

// A reply is what a token endpoint said: a token (RFC 6749, 5.1), or why there is none (5.2). The zero reply says nothing.
type reply struct {
	token, kind, refresh string
	life                 time.Duration

	code, text, subtype string // of an error; Google adds error_subtype
	raw                 string // the whole, if it is no JSON object
}

// parseReply reads what it can. A field of a type that it should not have is as if it were missing.
func parseReply(body []byte) reply {
	var fields struct {
		Token     json.RawMessage `json:"access_token"`
		Type      json.RawMessage `json:"token_type"`
		ExpiresIn json.RawMessage `json:"expires_in"`
		Refresh   json.RawMessage `json:"refresh_token"`
		Error     json.RawMessage `json:"error"`
		Text      json.RawMessage `json:"error_description"`
		Subtype   json.RawMessage `json:"error_subtype"`
	}
	if len(body) > maxAnswer || json.Unmarshal(body, &fields) != nil {
		return reply{raw: string(body)}
	}
	r := reply{
		token: str(fields.Token), kind: str(fields.Type), refresh: str(fields.Refresh),
		code: str(fields.Error), text: str(fields.Text), subtype: str(fields.Subtype),
	}
	if seconds, err := strconv.ParseFloat(strings.Trim(string(fields.ExpiresIn), `"`), 64); err == nil && seconds > 0 && seconds < 1e9 {
		r.life = time.Duration(seconds * float64(time.Second)) // a number, but some send a string
	}
	if r.code != "" || len(fields.Error) == 0 {
		if r.code == "" && r.token == "" {
			r.raw = string(body)
		}
		return r
	}
	// Google's other services, and gateways, have an object here.
	var object struct{ Code, Message, Status json.RawMessage }
	if json.Unmarshal(fields.Error, &object) == nil {
		r.code, r.text = str(object.Status), str(object.Message)
	}
	if r.code == "" {
		r.raw = string(body)
	}
	return r
}

// str returns a JSON string, "" for anything else.
func str(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

// sendable reports whether token can stand in an Authorization header (RFC 6750, 2.1, and the characters that some add).
func sendable(token string) bool {
	return token != "" && len(token) <= maxToken && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
