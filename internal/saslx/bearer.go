package saslx

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// bearer is OAUTHBEARER (RFC 7628), or with old set XOAUTH2, which Google and Microsoft describe.
type bearer struct {
	user  string
	token connection.Secret
	host  string
	port  int
	old   bool

	refused bool // the server sent its error challenge
	detail  refusal
}

// refusal is the error challenge of both mechanisms (RFC 7628, 3.2.2).
type refusal struct {
	Status string // "invalid_token", "401"
	Scope  string
}

func (m *bearer) Start() (string, []byte, error) {
	name := OAuthBearer
	if m.old {
		name = XOAuth2
	}
	if strings.ContainsFunc(m.user, control) {
		return name, nil, problem(connection.ErrConfig, "username: it holds a control character", "the user name cannot be sent")
	}
	auth := "auth=Bearer " + m.token.Reveal() + "\x01\x01"
	if m.old {
		return name, []byte("user=" + m.user + "\x01" + auth), nil
	}
	text := "n,"
	if m.user != "" {
		text += "a=" + saslName(m.user)
	}
	text += ",\x01"
	if m.host != "" {
		text += "host=" + m.host + "\x01"
	}
	if m.port != 0 {
		text += "port=" + strconv.Itoa(m.port) + "\x01"
	}
	return name, []byte(text + auth), nil
}

// saslName escapes a name for a GS2 header (RFC 5801, 4).
func saslName(name string) string {
	return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name)
}

// Next takes the error challenge. What answers it lets the server end the exchange.
func (m *bearer) Next(challenge []byte) ([]byte, error) {
	if m.refused {
		return nil, errors.New("a second challenge")
	}
	m.refused = true
	m.detail = parseRefusal(challenge, m.token.Reveal())
	if m.old {
		return []byte{}, nil
	}
	return []byte{0x01}, nil // RFC 7628, 3.2.3
}

// parseRefusal reads what it can: a server that refuses is believed even if it says so badly.
func parseRefusal(challenge []byte, token string) refusal {
	var fields struct {
		Status json.RawMessage `json:"status"` // a string, but some send a number
		Scope  json.RawMessage `json:"scope"`
	}
	if json.Unmarshal(challenge, &fields) != nil {
		return refusal{}
	}
	return refusal{Status: shown(fields.Status, token), Scope: shown(fields.Scope, token)}
}

// maxDetail bounds what is shown of a server's JSON. It is too short for most tokens.
const maxDetail = 100

// shown returns a JSON string or number as printable text without the token.
func shown(raw json.RawMessage, token string) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var number json.Number
		if json.Unmarshal(raw, &number) != nil {
			return ""
		}
		text = number.String()
	}
	if token != "" {
		text = strings.ReplaceAll(text, token, connection.Redacted)
	}
	words := strings.Fields(text)
	for i, word := range words {
		// A token of another login is no status and no scope: those are words and URLs.
		if len(word) > 40 && !strings.Contains(word, "://") {
			words[i] = connection.Redacted
		}
	}
	return printable(strings.Join(words, " "), maxDetail)
}

func (m *bearer) complete() error {
	if m.refused {
		return errors.New("the server reported an error and then success")
	}
	return nil
}

func (m *bearer) explain(refused *connection.Error) {
	refused.Hint = "oauth2: the server refuses the token; is it for this user, with the scopes that the server wants?"
	d := m.detail
	if d.Status == "" {
		return
	}
	refused.Code = d.Status
	text := "the token was refused with status " + d.Status
	if d.Scope != "" {
		text += ", scope " + d.Scope
	}
	if refused.Err == nil {
		refused.Err = errors.New(text)
	} else {
		refused.Err = fmt.Errorf("%s: %w", text, refused.Err)
	}
	switch {
	case d.Status == "429":
		refused.Kind, refused.Hint = connection.ErrThrottled, ""
	case len(d.Status) == 3 && d.Status[0] == '5':
		refused.Kind, refused.Hint = connection.ErrUnavailable, ""
	}
}
