package saslx

import (
	"context"
	"crypto/tls"
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
)

const (
	endpointLimit  = time.Minute // for one request to a token endpoint, whose answers are small
	endpointAnswer = 1 << 20     // octets of its answer
	tokenMargin    = time.Minute // so long before its end a token is not used any more
)

// An endpoint gives tokens of an OAuth 2.0 token endpoint.
type endpoint struct {
	settings OAuth2
	scope    string
	client   *http.Client
	turn     chan struct{} // holds a token while a request is under way; guards what follows

	refresh connection.Secret // the last one, if there is one
	token   connection.Secret // the last one
	until   time.Time         // when it is not to be used any more
}

// endpointClient is the client for a token endpoint. It follows no redirect: secrets would go along.
func endpointClient(env *connection.Env) *http.Client {
	c := &http.Client{Timeout: endpointLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if env != nil && env.HTTPClient != nil && env.HTTPClient.Transport != nil {
		c.Transport = env.HTTPClient.Transport
		return c
	}
	t := &http.Transport{DisableKeepAlives: true, DisableCompression: true} // a request an hour; nothing is left behind
	if env != nil {
		t.DialContext = env.Dial
		if env.TLS != nil {
			t.TLSClientConfig = env.TLS.Clone()
			t.TLSClientConfig.ServerName = "" // that of the mail server
		}
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	c.Transport = t
	return c
}

// give is a TokenSource.
func (e *endpoint) give(ctx context.Context, req connection.TokenRequest) (connection.Secret, error) {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return connection.Secret{}, problem(connection.KindOf(ctx.Err()), "", "waiting for the token endpoint: %w", ctx.Err())
	}
	defer func() { <-e.turn }()
	if !req.Renew && !e.token.IsZero() && time.Now().Before(e.until) {
		return e.token, nil
	}
	if err := e.ask(ctx); err != nil {
		return connection.Secret{}, err
	}
	return e.token, nil
}

// An answer is what a token endpoint says: a token (RFC 6749, 5.1), or why there is none (5.2).
type answer struct {
	AccessToken  string          `json:"access_token"`
	TokenType    string          `json:"token_type"`
	ExpiresIn    json.RawMessage `json:"expires_in"` // seconds: a number, but some send a string
	RefreshToken string          `json:"refresh_token"`

	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// ask gets a new token.
func (e *endpoint) ask(ctx context.Context) error {
	form := url.Values{"client_id": {e.settings.ClientID}}
	if e.refresh.IsZero() {
		form.Set("grant_type", "client_credentials")
	} else {
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", e.refresh.Reveal())
	}
	if !e.settings.ClientSecret.IsZero() {
		form.Set("client_secret", e.settings.ClientSecret.Reveal())
	}
	if e.scope != "" {
		form.Set("scope", e.scope)
	}
	asked := time.Now()
	resp, err := e.post(ctx, form)
	if err != nil {
		return e.unreached(ctx, err)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, endpointAnswer+1))
	_ = resp.Body.Close() // all that counts was read
	switch {
	case err != nil:
		return e.unreached(ctx, err)
	case len(text) > endpointAnswer:
		return problem(connection.ErrConfig, noEndpoint, "the token endpoint answers with over %d octets", endpointAnswer)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		a = answer{} // no JSON: the status has to do
	}
	if resp.StatusCode != http.StatusOK || a.AccessToken == "" {
		return e.refused(resp, &a)
	}
	if a.TokenType != "" && !strings.EqualFold(a.TokenType, "Bearer") {
		return problem(connection.ErrUnsupported, noEndpoint, "the token endpoint gives a token of the type %q, want Bearer", printable(a.TokenType, 40))
	}
	e.token, e.until = connection.NewSecret(a.AccessToken), time.Time{}
	if seconds, err := strconv.ParseFloat(strings.Trim(string(a.ExpiresIn), `"`), 64); err == nil && seconds > 0 && seconds < 1e9 {
		e.until = asked.Add(time.Duration(seconds*float64(time.Second)) - tokenMargin)
	}
	if a.RefreshToken != "" && !e.refresh.IsZero() {
		e.refresh = connection.NewSecret(a.RefreshToken) // RFC 6749, 6: the old one may be void from now on
	}
	return nil
}

func (e *endpoint) post(ctx context.Context, form url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.settings.uri(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	return e.client.Do(req)
}

const noEndpoint = "oauth2: token_uri: is this the URL of a token endpoint?"

// unreached is the error of a request that got no answer.
func (e *endpoint) unreached(ctx context.Context, err error) error {
	if inner := new(url.Error); errors.As(err, &inner) {
		err = inner.Err // without the URL, which may hold what is nobody's business
	}
	switch kind := connection.KindOf(err); {
	case ctx.Err() != nil:
		return problem(connection.KindOf(ctx.Err()), "", "asking the token endpoint: %w", ctx.Err())
	case kind == connection.ErrUnknown:
		return problem(connection.ErrNetwork, "oauth2: token_uri: the token endpoint could not be asked", "asking the token endpoint: %w", err)
	default:
		return problem(kind, "oauth2: token_uri: the token endpoint could not be asked", "asking the token endpoint: %w", err)
	}
}

// refused explains an answer without a token.
func (e *endpoint) refused(resp *http.Response, a *answer) error {
	text := fmt.Sprintf("the token endpoint answers %d", resp.StatusCode)
	code := printable(a.Error, 40)
	if code != "" {
		text += " " + code
	}
	if words := e.shown(a.Description); words != "" {
		text += ": " + words
	}
	told := problem(connection.ErrConfig, noEndpoint, "%s", text)
	told.Code = code
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, a.Error == "slow_down":
		told.Kind, told.Hint, told.RetryAfter = connection.ErrThrottled, "", retryAfter(resp.Header.Get("Retry-After"))
	case resp.StatusCode >= 500, a.Error == "temporarily_unavailable":
		told.Kind, told.Hint, told.RetryAfter = connection.ErrUnavailable, "", retryAfter(resp.Header.Get("Retry-After"))
	case code != "":
		told.Kind, told.Hint = connection.ErrAuth, oauthHint(code)
	}
	return told
}

// shown returns what the endpoint says for people, without what it was told in confidence.
func (e *endpoint) shown(text string) string {
	for _, secret := range []connection.Secret{e.settings.ClientSecret, e.refresh, e.token} {
		if !secret.IsZero() {
			text = strings.ReplaceAll(text, secret.Reveal(), connection.Redacted)
		}
	}
	return printable(strings.Join(strings.Fields(text), " "), 300)
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3), 0 if it says nothing. An hour is the most that is believed.
func retryAfter(header string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(header, 10, 16); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), time.Hour)
}
