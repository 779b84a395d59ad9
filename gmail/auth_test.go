package gmail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
	"github.com/mailconn/mailconn/internal/drivertest"
)

const (
	authAnn = "ann@corp.example"
	authBob = "bob@corp.example"

	authReadonly = "https://www.googleapis.com/auth/gmail.readonly"
	authUsers    = "https://www.googleapis.com/auth/admin.directory.user.readonly"
)

// authServer is a domain with Ann and Bob, each with some mail.
func authServer(t testing.TB, o *gmailtest.Options) *gmailtest.Server {
	t.Helper()
	srv := gmailtest.NewServer(t, o)
	for _, address := range []string{authAnn, authBob} {
		srv.AddUser(gmailtest.User{Email: address})
		for n := range 4 {
			srv.Deliver(address, authMail(address, n))
		}
	}
	return srv
}

func authMail(to string, n int) []byte {
	return fmt.Appendf(nil, "To: %s\r\nMessage-ID: <%d@corp.example>\r\nSubject: %[2]d\r\n\r\nHello\r\n", to, n)
}

// authConfig opens the domain with the key of the service account.
func authConfig(srv *gmailtest.Server) gmail.Config {
	return gmail.Config{
		Credentials: connection.NewSecret(string(srv.ServiceAccountJSON())), Admin: "admin@corp.example",
		Endpoint: srv.URL(), CustomEndpoints: true,
	}
}

func authOpen(t testing.TB, cfg gmail.Config, env *connection.Env, opts *gmail.Options) *gmail.Conn {
	t.Helper()
	c, err := gmail.New(cfg, env, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// authRead reads all of a mailbox and fails the test unless everything came.
func authRead(t testing.TB, c *gmail.Conn, mailbox string, want ...string) {
	t.Helper()
	got := drivertest.Bodies(t, drivertest.Collect(t, c, &connection.FetchOptions{Mailbox: mailbox}))
	slices.Sort(got)
	drivertest.WantBodies(t, got, want...)
}

// authAll is the mail of authServer in one mailbox.
func authAll(address string) []string {
	var all []string
	for n := range 4 {
		all = append(all, string(authMail(address, n)))
	}
	return all
}

// authFolders returns the error of listing a mailbox's labels, which is one call.
func authFolders(ctx context.Context, c *gmail.Conn, mailbox string) error {
	for _, err := range c.Folders(ctx, mailbox) {
		if err != nil {
			return err
		}
	}
	return nil
}

// authWant holds an error against a kind, a sentinel (nil = none of them) and what must be in its text.
func authWant(t testing.TB, err error, kind connection.Kind, sentinel error, parts ...string) {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Driver != "gmail" || e.Op == "" {
		t.Fatalf("got %v, want %v", err, kind)
	}
	for _, other := range []error{gmail.ErrDelegation, gmail.ErrClockSkew, gmail.ErrKey, gmail.ErrReauth} {
		if got := errors.Is(err, other); got != (other == sentinel) { //nolint:errorlint // two of the sentinels are compared
			t.Errorf("%v: is %q: %v", err, other, got)
		}
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q in it", err, part)
		}
	}
}

// authTokens returns for which mailboxes and scopes tokens were asked for.
func authTokens(srv *gmailtest.Server) []string {
	var all []string
	for _, r := range srv.Requests() {
		if r.Method == "token" {
			all = append(all, fmt.Sprintf("%s %s %d", r.Subject, strings.Join(r.Scopes, " "), r.Status))
		}
	}
	return all
}

// Every kind of credential reads a mailbox, with a token of the least scope; and nothing of it is printed.
func TestEachCredential(t *testing.T) {
	for _, test := range []struct {
		name   string
		open   func(t *testing.T, srv *gmailtest.Server) (gmail.Config, *connection.Env)
		domain bool
		tokens []string // that are asked for; nil = the host's business
	}{
		{"credentials", func(_ *testing.T, srv *gmailtest.Server) (gmail.Config, *connection.Env) {
			return authConfig(srv), srv.Env()
		}, true, []string{"admin@corp.example " + authUsers + " 200", authAnn + " " + authReadonly + " 200"}},
		{"keyless", func(t *testing.T, srv *gmailtest.Server) (gmail.Config, *connection.Env) {
			file := filepath.Join(t.TempDir(), "adc.json")
			if err := os.WriteFile(file, srv.ServiceAccountJSON(), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
			email, _ := srv.ServiceAccount()
			cfg := authConfig(srv)
			cfg.Credentials = connection.Secret{}
			cfg.Keyless = &gmail.Keyless{TargetPrincipal: email, TokenURI: srv.TokenURL(), Endpoint: srv.URL()}
			return cfg, srv.Env()
		}, true, []string{
			" https://www.googleapis.com/auth/cloud-platform 200", "admin@corp.example " + authUsers + " 200", authAnn + " " + authReadonly + " 200",
		}},
		{"oauth2", func(_ *testing.T, srv *gmailtest.Server) (gmail.Config, *connection.Env) {
			return gmail.Config{OAuth2: authConsent(srv), Endpoint: srv.URL(), CustomEndpoints: true}, srv.Env()
		}, false, []string{authAnn + " " + authReadonly + " 200"}},
		{"a hook for one mailbox", func(_ *testing.T, srv *gmailtest.Server) (gmail.Config, *connection.Env) {
			env := srv.Env()
			env.Token = gmail.TokenHook(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: srv.Token(authAnn)}))
			return gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true}, env
		}, false, nil},
		{"a hook for the domain", func(t *testing.T, srv *gmailtest.Server) (gmail.Config, *connection.Env) {
			env := srv.Env()
			env.Token = func(_ context.Context, req connection.TokenRequest) (connection.Secret, error) {
				if len(req.Scopes) != 1 || req.Mailbox == "" {
					t.Errorf("asked for %+v", req)
				}
				return connection.NewSecret(srv.Token(req.Mailbox, req.Scopes...)), nil
			}
			return gmail.Config{Admin: "admin@corp.example", Endpoint: srv.URL(), CustomEndpoints: true}, env
		}, true, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := authServer(t, nil)
			cfg, env := test.open(t, srv)
			var log authLog
			env.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))
			c := authOpen(t, cfg, env, nil)
			mailbox := ""
			if test.domain {
				mailbox = authAnn
			}
			authRead(t, c, mailbox, authAll(authAnn)...)
			authRead(t, c, mailbox, authAll(authAnn)...)
			if got := authTokens(srv); test.tokens != nil && !slices.Equal(got, test.tokens) {
				t.Errorf("tokens asked for: got %q, want %q", got, test.tokens)
			}
			for _, r := range srv.Requests() {
				secret, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if bearer && (strings.Contains(log.String(), secret) || strings.Contains(r.Query, secret)) {
					t.Errorf("the token of %s is shown", r.Method)
				}
			}
			if text := log.String() + fmt.Sprintf("%+v %#v", c.Info(), cfg); strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "Hello") {
				t.Errorf("shows a secret: %.300s", text)
			}
		})
	}
}

// authLog is what was logged, by whatever goroutine.
type authLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *authLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *authLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// authConsent is the consent of Ann.
func authConsent(srv *gmailtest.Server) *gmail.OAuth2 {
	o := srv.OAuth2(authAnn, authReadonly)
	return &gmail.OAuth2{
		ClientID: o.ClientID, ClientSecret: connection.NewSecret(o.ClientSecret), RefreshToken: connection.NewSecret(o.RefreshToken), TokenURI: o.TokenURI,
	}
}

// Case 16: a token that is refused in mid-run is replaced, once, and nothing is lost.
func TestG16RevokedInMidRun(t *testing.T) {
	srv := authServer(t, nil)
	c := authOpen(t, authConfig(srv), srv.Env(), nil)
	srv.Fail(gmailtest.On("messages.get").User(authAnn).Nth(2).Times(1), gmailtest.Do(func(gmailtest.Request) { srv.RevokeTokens(authAnn) }))
	authRead(t, c, authAnn, authAll(authAnn)...)
	authRead(t, c, authBob, authAll(authBob)...)
	if srv.Calls("token", authAnn) != 2 || srv.Calls("token", authBob) != 1 {
		t.Errorf("tokens: got %q", authTokens(srv))
	}

	srv.ResetLog()
	srv.Fail(gmailtest.On("labels.list").User(authAnn), gmailtest.Refuse(401, "authError", "Invalid Credentials"))
	authWant(t, authFolders(t.Context(), c, authAnn), connection.ErrAuth, nil, "authError")
	if calls, tokens := srv.Calls("labels.list", authAnn), srv.Calls("token", authAnn); calls != 2 || tokens != 1 {
		t.Errorf("a token that is never taken: %d calls with %d new tokens, want 2 and 1", calls, tokens)
	}
}

// A token is replaced 5 minutes before its end, so that in the ordinary course of things none is ever refused.
func TestTokenRenewedEarly(t *testing.T) {
	clock := gmailtest.NewClock(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	srv := authServer(t, &gmailtest.Options{Clock: clock})
	c := authOpen(t, authConfig(srv), srv.Env(), &gmail.Options{Now: clock.Now})
	for _, step := range []struct {
		after  time.Duration
		tokens int // so far
	}{{0, 1}, {54 * time.Minute, 1}, {time.Minute, 2}, {54 * time.Minute, 2}, {time.Hour, 3}} {
		clock.Advance(step.after)
		if err := authFolders(t.Context(), c, authAnn); err != nil || srv.Calls("token", authAnn) != step.tokens {
			t.Errorf("after %s: got %v with %d tokens, want %d", step.after, err, srv.Calls("token", authAnn), step.tokens)
		}
	}
	for _, r := range srv.Requests() {
		if r.Status == 401 {
			t.Errorf("%s was refused its token", r.Method)
		}
	}
}

// Case 17: what is missing is named, also where only one scope is; what concerns all mailboxes is told once.
func TestG17ScopeNotDelegated(t *testing.T) {
	srv := authServer(t, &gmailtest.Options{Delegated: []string{authUsers}})
	srv.AddUser(gmailtest.User{Email: "cleo@corp.example"})
	srv.AddUser(gmailtest.User{Email: "dora@corp.example"})
	env := srv.Env()
	var told atomic.Int32
	env.Observe = func(ev connection.Event) {
		if ev.Kind == connection.EventNotice && errors.Is(ev.Err, gmail.ErrDelegation) {
			told.Add(1)
		}
	}
	c := authOpen(t, authConfig(srv), env, nil)
	_, clientID := srv.ServiceAccount()
	for _, mailbox := range []string{authAnn, authBob, "cleo@corp.example", "dora@corp.example"} {
		authWant(t, authFolders(t.Context(), c, mailbox), connection.ErrAuth, gmail.ErrDelegation, clientID, authReadonly, "unauthorized_client")
	}
	if n := told.Load(); n != 1 {
		t.Errorf("told %d times, want 1", n)
	}
	srv.Delegate(authUsers, authReadonly) // the administrator does what the text says
	authRead(t, c, authAnn, authAll(authAnn)...)

	srv.Delegate(authReadonly)
	c = authOpen(t, authConfig(srv), srv.Env(), nil)
	for _, err := range c.Mailboxes(t.Context(), nil) {
		authWant(t, err, connection.ErrAuth, gmail.ErrDelegation, clientID, authUsers)
	}
}

// Case 18: a user who is suspended, gone or renamed is her own trouble. Under her new address her mailbox goes on.
func TestG18UserTrouble(t *testing.T) {
	srv := authServer(t, nil)
	c := authOpen(t, authConfig(srv), srv.Env(), nil)
	authRead(t, c, authAnn, authAll(authAnn)...)
	id := ""
	for _, u := range srv.Users() {
		if u.Email == authAnn {
			id = u.ID
		}
	}

	srv.RenameUser(authAnn, "ann.b@corp.example")
	srv.RevokeTokens("")
	srv.ResetLog()
	authRead(t, c, id, authAll(authAnn)...)
	if got := authTokens(srv); !slices.Contains(got, "ann.b@corp.example "+authReadonly+" 200") {
		t.Errorf("tokens: got %q", got)
	}

	srv.Suspend(id, true)
	srv.RevokeTokens("")
	authWant(t, authFolders(t.Context(), c, id), connection.ErrNotFound, nil, "suspended")
	authRead(t, c, authBob, authAll(authBob)...)
	srv.Suspend(id, false)
	authRead(t, c, id, authAll(authAnn)...)

	srv.RemoveUser(id)
	srv.RevokeTokens("")
	authWant(t, authFolders(t.Context(), c, id), connection.ErrNotFound, nil)
	authRead(t, c, authBob, authAll(authBob)...)
}

// Case 19: the text says by how much the clock is off.
func TestG19ClockSkew(t *testing.T) {
	for offset, want := range map[time.Duration]string{
		-10 * time.Minute: `the local clock is 10m\S* ahead of the server's`,
		2 * time.Hour:     `the local clock is (2h|1h59m)\S* behind the server's`,
	} {
		srv := authServer(t, &gmailtest.Options{ClockOffset: offset})
		c := authOpen(t, authConfig(srv), srv.Env(), nil)
		err := authFolders(t.Context(), c, authAnn)
		authWant(t, err, connection.ErrAuth, gmail.ErrClockSkew)
		if !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("got %v, want %s", err, want)
		}
		srv.SetClockOffset(0)
		authRead(t, c, authAnn, authAll(authAnn)...)
	}
}

// Case 20: the key was deleted. Tokens that are there go on until their end.
func TestG20KeyDeleted(t *testing.T) {
	srv := authServer(t, nil)
	c := authOpen(t, authConfig(srv), srv.Env(), nil)
	authRead(t, c, authAnn, authAll(authAnn)...)
	srv.DeleteKey()
	authRead(t, c, authAnn, authAll(authAnn)...)
	email, _ := srv.ServiceAccount()
	authWant(t, authFolders(t.Context(), c, authBob), connection.ErrAuth, gmail.ErrKey, email, "credentials: ")
}

// Case 21: a dead refresh token is not sent again, however often a verb is called.
func TestG21ConsentRevoked(t *testing.T) {
	srv := authServer(t, nil)
	c := authOpen(t, gmail.Config{OAuth2: authConsent(srv), Endpoint: srv.URL(), CustomEndpoints: true}, srv.Env(), nil)
	authRead(t, c, "", authAll(authAnn)...)
	srv.RevokeConsent(authAnn)
	srv.ResetLog()
	for range 3 {
		authWant(t, authFolders(t.Context(), c, ""), connection.ErrAuth, gmail.ErrReauth, "consent again", "oauth2: ")
	}
	if n := srv.Calls("token"); n != 1 {
		t.Errorf("%d requests for a token, want 1", n)
	}
}

// Case 43: the token endpoint is where the settings say, whatever its path; one without the grant is named.
func TestG43TokenEndpoint(t *testing.T) {
	srv := authServer(t, &gmailtest.Options{TokenPath: "/some/where/else"})
	authRead(t, authOpen(t, authConfig(srv), srv.Env(), nil), authAnn, authAll(authAnn)...)
	if !strings.HasSuffix(srv.TokenURL(), "/some/where/else") || srv.Calls("token") == 0 {
		t.Errorf("%d tokens of %s", srv.Calls("token"), srv.TokenURL())
	}

	srv = authServer(t, &gmailtest.Options{NoJWTGrant: true})
	c := authOpen(t, authConfig(srv), srv.Env(), nil)
	authWant(t, authFolders(t.Context(), c, authAnn), connection.ErrConfig, nil, "credentials: token_uri: ", srv.TokenURL(), "jwt-bearer")

	cfg := authConfig(srv)
	cfg.Credentials = connection.NewSecret(strings.Replace(cfg.Credentials.Reveal(), srv.TokenURL(), srv.URL()+"/nothing/here", 1))
	authWant(t, authFolders(t.Context(), authOpen(t, cfg, srv.Env(), nil), authAnn), connection.ErrProtocol, nil, "404", "credentials: token_uri: ")
}

// Case 56: a context that ends while a token is asked for ends the verb, and leaves no goroutine: synctest fails if one stays.
func TestG56TokenStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := authServer(t, &gmailtest.Options{Memory: true})
		c := authOpen(t, authConfig(srv), srv.Env(), nil)
		srv.Fail(gmailtest.On("token").User(authAnn), gmailtest.Stall())
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		began := time.Now()
		err := authFolders(ctx, c, authAnn)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 7*time.Second {
			t.Errorf("got %v after %s, want %v after 7s", err, time.Since(began), context.DeadlineExceeded)
		}
		srv.Heal()
		if err := authFolders(t.Context(), c, authAnn); err != nil {
			t.Error(err)
		}
	})
}

// What the token endpoint cannot do for the moment is tried again, for calls of every kind.
func TestTokenEndpointRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := authServer(t, &gmailtest.Options{Memory: true})
		cfg := authConfig(srv)
		cfg.Verbs = []string{"send"}
		c := authOpen(t, cfg, srv.Env(), nil)
		srv.Fail(gmailtest.On("token").User(authAnn).Times(1), gmailtest.Status(503, "later"))
		srv.Fail(gmailtest.On("token").User(authAnn).Nth(2).Times(1), gmailtest.Status(429, ""), gmailtest.Header("Retry-After", "20"))
		srv.Fail(gmailtest.On("token").User(authAnn).Nth(3).Times(1), gmailtest.Cut(10))
		began := time.Now()
		_, err := c.Send(t.Context(), connection.Envelope{From: authAnn, To: []string{authBob}}, bytes.NewReader(authSend()), nil)
		if err != nil || len(srv.Sent()) != 1 {
			t.Errorf("got %v, %d sent", err, len(srv.Sent()))
		}
		if took := time.Since(began); took < 20*time.Second || srv.Calls("token", authAnn) < 4 {
			t.Errorf("after %s and %d requests for a token, want the wait that was asked for", took, srv.Calls("token", authAnn))
		}
	})
}

func authSend() []byte {
	return []byte("From: " + authAnn + "\r\nTo: " + authBob + "\r\nMessage-ID: <s@corp.example>\r\nSubject: s\r\n\r\nHello\r\n")
}

// Close ends a verb that waits for a token with ErrClosed.
func TestCloseWhileTokenStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := authServer(t, &gmailtest.Options{Memory: true})
		c := authOpen(t, authConfig(srv), srv.Env(), nil)
		srv.Fail(gmailtest.On("token").User(authAnn), gmailtest.Stall())
		ended := make(chan error, 1)
		go func() { ended <- authFolders(t.Context(), c, authAnn) }()
		synctest.Wait()
		began := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; connection.KindOf(err) != connection.ErrClosed || time.Since(began) != 0 {
			t.Errorf("got %v after %s, want %v", err, time.Since(began), connection.ErrClosed)
		}
	})
}

// Case 57: hostile credentials are refused when the connection is opened, and nothing is asked anywhere.
func TestG57HostileCredentials(t *testing.T) {
	srv := authServer(t, nil)
	file := srv.ServiceAccountJSON()
	change := func(field, value string) string {
		var fields map[string]any
		if err := json.Unmarshal(file, &fields); err != nil {
			t.Fatal(err)
		}
		fields[field] = value
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	reg := connection.NewRegistry(gmail.Driver())
	for name, test := range map[string]struct {
		settings map[string]any
		want     string
	}{
		"another host":      {map[string]any{"credentials": change("token_uri", "https://evil.example/token")}, "credentials: token_uri: host evil.example not allowed"},
		"this very machine": {map[string]any{"credentials": string(file)}, `credentials: token_uri: scheme "http": want https`},
		"an external account": {
			map[string]any{"credentials": change("type", "external_account")},
			`credentials: not a service-account key (type="external_account")`,
		},
		"a user's": {map[string]any{"credentials": change("type", "authorized_user")}, `credentials: not a service-account key (type="authorized_user")`},
		"a consent for another host": {
			map[string]any{"oauth2": map[string]any{"client_id": "c", "refresh_token": "r", "token_uri": "https://evil.example/token"}, "admin": ""},
			"oauth2: token_uri: host evil.example not allowed",
		},
		"keyless by another host": {
			map[string]any{"keyless": map[string]any{"target_principal": "a@b.iam.gserviceaccount.com", "endpoint": "https://evil.example"}},
			"keyless: endpoint: host evil.example not allowed",
		},
	} {
		if _, ok := test.settings["admin"]; !ok {
			test.settings["admin"] = "admin@corp.example"
		}
		text, err := json.Marshal(test.settings)
		if err != nil {
			t.Fatal(err)
		}
		_, err = reg.Open(connection.Settings{Driver: "gmail", Config: text}, srv.Env())
		if connection.KindOf(err) != connection.ErrConfig || !strings.Contains(err.Error(), "config: "+test.want) || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	if n := len(srv.Requests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

// A program that has its tokens from golang.org/x/oauth2 opens one person's mailbox with them.
func ExampleTokenHook() {
	srv, err := gmailtest.Listen(nil) // stands for Google
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.Deliver("ann@corp.example", []byte("Subject: Hello\r\n\r\nWorld\r\n"))
	var source oauth2.TokenSource = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: srv.Token("ann@corp.example")}) // or that of a Config

	env := srv.Env()
	env.Token = gmail.TokenHook(source)
	c, err := gmail.Open(gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true}, env) // the zero Config asks Google
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := c.Close(); err != nil {
			fmt.Println(err)
		}
	}()
	for m, err := range c.Fetch(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Folder, m.Size)
	}
	// Output: INBOX 25
}
