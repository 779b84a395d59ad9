package imapclient_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
)

func TestConfigErrors(t *testing.T) {
	reg := connection.NewRegistry(imapclient.Driver())
	for _, test := range []struct{ json, want string }{
		{`{}`, "server: missing"},
		{`{"server":"h"}`, "username: missing"},
		{`{"server":"h","username":"u"}`, "password: missing"},
		{`{"server":"h","username":"u\r\nx","password":"p"}`, "username: control character"},
		{`{"server":"h","username":"u","password":"p\u0000"}`, "password: it must not hold CR"},
		{`{"server":"h","username":"u","password":"p","mode":"ssl"}`, `mode: "ssl": want tls, starttls`},
		{`{"server":"h","username":"u","password":"p","messages_per_cycle":0}`, "messages_per_cycle: 0: want 1 to 100"},
		{`{"server":"h","username":"u","password":"p","messages_per_cycle":101}`, "messages_per_cycle: 101: want 1 to 100"},
		{`{"server":"h","username":"u","password":"p","delete_mode":"burn"}`, `delete_mode: "burn": want none, flag, seen, expunge, move or trash`},
		{`{"server":"h","username":"u","password":"p","delete_mode":"move"}`, `delete_mode: move: needs move_to`},
		{`{"server":"h","username":"u","password":"p","delete_mode":"expunge","move_to":"x"}`, `move_to: not with delete_mode expunge`},
		{`{"server":"h","username":"u","password":"p","delete_mode":"move","move_to":"inbox"}`, `move_to: "inbox" is one of folders`},
		{`{"server":"h","username":"u","password":"p","idle_renew":"31m"}`, `idle_renew: 31m: want 10s to 29m`},
		{`{"server":"h","username":"u","password":"p","idle_renew":"9s"}`, `idle_renew: 9s: want 10s to 29m`},
		{`{"server":"h","username":"u","password":"p","idle_safety_poll":-1}`, `idle_safety_poll`},
		{`{"server":"h","username":"u","password":"p","idle_limit":"-1s"}`, `idle_limit`},
		{`{"server":"h","username":"u","password":"p","chunk_size":10}`, `chunk_size: 10: want 4096 to 67108864`},
		{`{"server":"h","username":"u","password":"p","max_sessions":-1}`, `max_sessions: -1`},
		{`{"server":"h","username":"u","password":"p","max_attempts":21}`, `max_attempts: 21: want 1 to 20`},
		{`{"server":"h","username":"u","password":"p","expunge_every":-1}`, "expunge_every: -1"},
		{`{"server":"h","username":"u","password":"p","polling_interval":"1m"}`, "polling_idle_max: below polling_interval"},
		{`{"server":"h","username":"u","password":"p","folders":[""]}`, `folders: "": empty name`},
		{`{"server":"h","username":"u","password":"p","folders":["a","a"]}`, `folders: "a": given twice`},
		{`{"server":"h","username":"u","password":"p","disable_extensions":["MOVES"]}`, `disable_extensions: "MOVES": unknown`},
		{`{"server":"h","username":"u","password":"p","max_message":-1}`, "max_message"},
		{`{"server":"h","username":"u","password":"p","idel":true}`, `"idel": unknown field`},
		{`{"server":"h","username":"u","oauth2":{"tenant":"t","client_id":"c","client_secret":"s"},"password":"p"}`, "password, oauth2: give only one"},
		{`{"server":"h","username":"u","oauth2":{"client_id":"c","client_secret":"s"}}`, "oauth2: token_uri: missing; or set tenant"},
		{`{"server":"h","username":"u","oauth2":{}}`, "oauth2: client_id: missing"},
		{`{"server":"h","username":"u","oauth2":{"client":"c"}}`, `oauth2."client": unknown field`},
		{`{"server":"h","username":"u","oauth2":{"tenant":"t","client_id":"c","client_secret":"[redacted]"}}`, "put the secret back"},
		{`{"server":"h","username":"u","auth_mechanisms":["xoauth2"],"password":"p"}`, `auth_mechanisms: "xoauth2": needs oauth2 or a token hook`},
		{`{"server":"h","username":"u","auth_mechanisms":["plain"],"oauth2":{"tenant":"t","client_id":"c","client_secret":"s"}}`, "password: missing (mechanisms PLAIN need it)"},
		{`{"server":"h","username":"u","password":"[redacted]"}`, "put the secret back"},
	} {
		_, err := reg.Open(connection.Settings{Driver: "imap", Config: json.RawMessage(test.json)}, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", test.json, err, test.want)
			continue
		}
		wantKind(t, err, connection.ErrConfig)
	}
}

func TestConfigDefaults(t *testing.T) {
	reg := connection.NewRegistry(imapclient.Driver())
	c, err := reg.Open(connection.Settings{ID: "7", Name: "Journal", Driver: "imap", Config: json.RawMessage(`{"server":"mail.example.org","username":"u","password":"p"}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Info(), (connection.Info{ID: "7", Name: "Journal", Driver: "imap", Endpoint: "mail.example.org:993"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for mode, want := range map[connection.Mode]string{
		"": "h:993", connection.ModeTLS: "h:993", connection.ModeSTARTTLS: "h:143", connection.ModeTLSWhenAvailable: "h:143", connection.ModeInsecure: "h:143",
	} {
		cfg := imapclient.Config{NetworkSettings: connection.NetworkSettings{Server: "h", Mode: mode}, Username: "u", Password: connection.NewSecret("p")}
		if got := open(t, cfg, nil).Info().Endpoint; got != want {
			t.Errorf("%q: got %s, want %s", mode, got, want)
		}
	}
	for _, f := range imapclient.Driver().Fields() {
		if f.Label == f.Name && !strings.Contains(f.Name, ".") {
			t.Errorf("%s: no label for a form", f.Name)
		}
	}
}
