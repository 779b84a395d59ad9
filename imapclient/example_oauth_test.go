package imapclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// The driver gets its tokens by itself: here as an application that may open the mailbox, since there is no refresh token.
// For Microsoft 365, Tenant takes the place of TokenURI.
func ExampleOAuth2() {
	srv, err := imaptest.Listen(&imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"XOAUTH2"}, NoLogin: true, Token: "token-1"}})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("asked for", r.FormValue("grant_type"))
		if _, err := fmt.Fprint(w, `{"access_token": "token-1", "token_type": "Bearer", "expires_in": 3599}`); err != nil {
			log.Print(err)
		}
	}))
	defer endpoint.Close()

	cfg := imapclient.Config{
		Username: imaptest.DefaultUsername,
		OAuth2: &imapclient.OAuth2{
			TokenURI:     endpoint.URL, // "https://oauth2.googleapis.com/token"
			ClientID:     "client-1",
			ClientSecret: connection.NewSecret("secret of the application"),
		},
	}
	cfg.Server = srv.Addr()
	c, err := imapclient.Open(cfg, srv.Env())
	if err != nil {
		log.Fatal(err)
	}
	report, err := c.Test(context.Background(), nil)
	if err != nil {
		log.Print(err)
	}
	for _, step := range report.Steps {
		if step.Name == "auth" {
			fmt.Println(step.Detail)
		}
	}
	if err := c.Close(); err != nil {
		log.Print(err)
	}
	// Output:
	// asked for client_credentials
	// XOAUTH2 over TLS 1.3
}

// A token and the source that renews it are what other libraries have, golang.org/x/oauth2 above all: there the type is
// oauth2.Token, and Refresh is conf.TokenSource(ctx, old).Token().
type (
	accessToken struct {
		AccessToken, RefreshToken string
		Expiry                    time.Time
	}
	refresher interface {
		Refresh(ctx context.Context, old accessToken) (accessToken, error)
	}
)

// A tokenKeeper makes a refresher an Env.Token.
type tokenKeeper struct {
	source refresher
	save   func(accessToken) error // stores a refresh token that was replaced

	mu  sync.Mutex
	now accessToken
}

// Token gives the token it has, unless that is about to end or the server has refused it.
func (k *tokenKeeper) Token(ctx context.Context, req connection.TokenRequest) (connection.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if req.Renew || time.Until(k.now.Expiry) < time.Minute {
		next, err := k.source.Refresh(ctx, k.now)
		if err != nil {
			return connection.Secret{}, err // "invalid_grant" in its text becomes ErrAuth, anything else may pass
		}
		if next.RefreshToken != k.now.RefreshToken {
			if err := k.save(next); err != nil {
				return connection.Secret{}, err
			}
		}
		k.now = next
	}
	return connection.NewSecret(k.now.AccessToken), nil
}

// counting gives the tokens token-1, token-2 and so on.
type counting struct{ n int }

func (c *counting) Refresh(_ context.Context, old accessToken) (accessToken, error) {
	if old.RefreshToken == "" {
		return accessToken{}, errors.New("invalid_grant")
	}
	c.n++
	return accessToken{
		AccessToken: fmt.Sprintf("token-%d", c.n), RefreshToken: fmt.Sprintf("refresh-%d", c.n), Expiry: time.Now().Add(time.Hour),
	}, nil
}

// The host gives the tokens. One that the server refuses is asked for again, with Renew, and tried over a new connection.
func ExampleOpen_token() {
	srv, err := imaptest.Listen(&imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"OAUTHBEARER"}, NoLogin: true, Token: "token-2"}})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.Deliver([]byte("Subject: one\r\n\r\n"))

	keeper := &tokenKeeper{source: &counting{}, now: accessToken{RefreshToken: "refresh-0"}, save: func(t accessToken) error {
		fmt.Println("stored", t.RefreshToken)
		return nil
	}}
	env := srv.Env()
	env.Token = keeper.Token
	cfg := imapclient.Config{Username: imaptest.DefaultUsername}
	cfg.Server = srv.Addr()
	c, err := imapclient.Open(cfg, env)
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range c.Fetch(context.Background(), nil) {
		if err != nil {
			log.Print(err)
			continue
		}
		fmt.Println("read", m.Folder)
	}
	if err := c.Close(); err != nil {
		log.Print(err)
	}
	// Output:
	// stored refresh-1
	// stored refresh-2
	// read INBOX
}
