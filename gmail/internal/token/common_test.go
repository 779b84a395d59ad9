package token_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

const notAuthorised = `{"error":"unauthorized_client","error_description":"Client is unauthorized to retrieve access tokens using this method."}`

// What three mailboxes in a row meet, or the administrator, concerns the connection and is told once.
func TestCommonFailure(t *testing.T) {
	const admin = "admin@corp.example"
	var answer string // "" = a token
	noUser := `{"error":"invalid_grant","error_description":"Invalid email or User ID"}`
	p := &peer{answer: func(n int, _ *http.Request, _ url.Values) (*http.Response, error) {
		switch answer {
		case "":
			return reply(200, fmt.Sprintf(`{"access_token":"ya29.token-%d","expires_in":1}`, n)), nil
		case "later":
			return reply(503, ""), nil
		}
		return reply(400, answer), nil
	}}
	var told []error
	s := delegated(t, p, func(o *token.Options) { o.Admin, o.Common = admin, func(err error) { told = append(told, err) } })
	for i, step := range []struct {
		answer  string
		subject string
		common  bool
		told    int // so far
	}{
		{notAuthorised, "a", false, 0},
		{notAuthorised, "a", false, 0}, // the same mailbox counts once
		{notAuthorised, "b", false, 0},
		{noUser, "c", false, 0}, // its own trouble, whoever comes before and after
		{"later", "c", false, 0},
		{notAuthorised, "d", true, 1},
		{notAuthorised, "e", true, 1},
		{notAuthorised, "a", true, 1},
		{`{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, "a", false, 1},
		{notAuthorised, "b", false, 1},
		{notAuthorised, "c", false, 1},
		{"", "d", false, 1},
		{notAuthorised, "a", false, 1}, // a token was given meanwhile
		{notAuthorised, "b", false, 1},
		{notAuthorised, admin, true, 2},
		{notAuthorised, strings.ToUpper(admin), true, 2},
		{"", "d", false, 2},
		{noUser, admin, true, 3},
	} {
		answer = step.answer
		k := token.Key{Subject: step.subject, Scope: fmt.Sprint("scope", i)} // each asks
		_, err := s.Token(t.Context(), k)
		if (err == nil) != (answer == "") || errors.Is(err, token.ErrCommon) != step.common || len(told) != step.told {
			t.Errorf("step %d: got %v, common %v, told %d, want %v, %d", i, err, errors.Is(err, token.ErrCommon), len(told), step.common, step.told)
		}
		if err != nil && strings.Contains(err.Error(), token.ErrCommon.Error()) {
			t.Errorf("step %d: the text differs: %v", i, err)
		}
	}
	for _, err := range told {
		if !errors.Is(err, token.ErrCommon) || connection.KindOf(err) == connection.ErrUnknown {
			t.Errorf("told %v", err)
		}
	}
	if len(told) > 0 && !errors.Is(told[0], token.ErrDelegation) {
		t.Errorf("told %v, want %v", told[0], token.ErrDelegation)
	}
}

// One mailbox's failure is not another's.
func TestFailuresApart(t *testing.T) {
	p := &peer{answer: func(n int, _ *http.Request, form url.Values) (*http.Response, error) {
		if verify(t, form.Get("assertion")).claims.Sub == bob.Subject {
			return reply(400, `{"error":"invalid_grant","error_description":"Invalid email or User ID"}`), nil
		}
		return reply(200, fmt.Sprintf(`{"access_token":"ya29.token-%d","expires_in":3599}`, n)), nil
	}}
	s := delegated(t, p, nil)
	for n := range 4 {
		fails(t, s, bob, connection.ErrNotFound)
		get(t, s, token.Key{Subject: "ann@corp.example", Scope: fmt.Sprint(n)}, fmt.Sprintf("ya29.token-%d", 2*n+2))
	}
}
