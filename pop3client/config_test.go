package pop3client_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
)

func settings(config string) connection.Settings {
	return connection.Settings{Driver: "pop3", Config: json.RawMessage(config)}
}

func TestConfigErrors(t *testing.T) {
	registry := connection.NewRegistry(pop3client.Driver())
	const good = `"server":"h","username":"u","password":"p"`
	for config, want := range map[string]string{
		`{"username":"u","password":"p"}`:                                                                                       "server: missing",
		`{"server":"h","password":"p"}`:                                                                                         "username: missing",
		`{"server":"h","username":"u"}`:                                                                                         "password: missing",
		`{"server":"h","username":"u\r\nDELE 1","password":"p"}`:                                                                "username: control character",
		`{"server":"h","username":"u","password":"p\r\nDELE 1"}`:                                                                "password: it must not hold CR, LF or NUL",
		`{"server":"h","username":"u","password":"p\u0000"}`:                                                                    "password: it must not hold CR, LF or NUL",
		`{` + good + `,"oauth2":{"tenant":"t","client_id":"c","client_secret":"s"}}`:                                            "password, oauth2: give only one",
		`{"server":"h","username":"u","oauth2":{}}`:                                                                             "oauth2: client_id: missing",
		`{"server":"h","username":"u","oauth2":{"client_id":"c","client_secret":"s"}}`:                                          "oauth2: token_uri: missing; or set tenant",
		`{"server":"h","username":"u","auth_mechanisms":["plain"],"oauth2":{"tenant":"t","client_id":"c","client_secret":"s"}}`: "password: missing",
		`{"server":"h","username":"u","password":"p","auth_mechanisms":["xoauth2"]}`:                                            `auth_mechanisms: "xoauth2": needs oauth2 or a token hook`,
		`{` + good + `,"messages_per_cycle":0}`:                                                                                 "messages_per_cycle: 0: want 1 to 1000",
		`{` + good + `,"delete_mode":"flag"}`:                                                                                   "delete_mode: flag: not supported by POP3, want none or delete",
		`{` + good + `,"delete_mode":"expunge"}`:                                                                                "delete_mode: expunge: not supported by POP3, want none or delete",
		`{` + good + `,"expunge_every":-1}`:                                                                                     "expunge_every",
		`{` + good + `,"idle":true}`:                                                                                            "idle: not supported by POP3",
		`{` + good + `,"unread_only":true}`:                                                                                     "unread_only: not supported by POP3",
		`{` + good + `,"partial_fetch":65536}`:                                                                                  "partial_fetch: not supported by POP3",
		`{` + good + `,"folders":["INBOX"]}`:                                                                                    "folders: not supported by POP3",
		`{` + good + `,"move_to":"Done"}`:                                                                                       "move_to: not supported by POP3",
		`{` + good + `,"pipelining":"on"}`:                                                                                      `pipelining: "on": want auto or off`,
		`{` + good + `,"lang":"de\r\nQUIT"}`:                                                                                    "lang",
		`{` + good + `,"auth_mechanisms":["kerberos"]}`:                                                                         `auth_mechanisms: "kerberos": unknown`,
		`{` + good + `,"auth_mechanisms":["apop"]}`:                                                                             `auth_mechanisms: "apop": unknown`,
		`{` + good + `,"polling_interval":"1m","polling_idle_max":"1s"}`:                                                        "polling_idle_max: below polling_interval",
		`{` + good + `,"max_mesage":1}`:                                                                                         `did you mean "max_message"?`,
	} {
		_, err := registry.Open(settings(config), nil)
		if e := theError(t, err, connection.ErrConfig); !strings.Contains(e.Error(), want) {
			t.Errorf("%s: got %v, want %q", config, err, want)
		}
	}
	// Asking for nothing that POP3 does not have is fine, so that one page of settings serves two protocols.
	c, err := registry.Open(settings(`{`+good+`,"idle":false,"unread_only":false,"partial_fetch":0,"folders":[ ],"move_to":""}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	_, err = pop3client.Open(pop3client.Config{NetworkSettings: connection.NetworkSettings{Server: "h"}, Username: "u", Password: connection.NewSecret("p"), Idle: true}, nil)
	if e := theError(t, err, connection.ErrConfig); !strings.Contains(e.Error(), "idle: not supported by POP3") {
		t.Errorf("got %v", err)
	}
}

func TestDefaults(t *testing.T) {
	j := pop3client.Journal("mail.example.org", "u", connection.NewSecret("p"))
	if j.DeleteMode != pop3client.DeleteDelete || j.ExpungeEvery != 500 || j.MessagesPerCycle != 50 || j.PollingInterval.D() != 50*time.Millisecond ||
		j.Mode != connection.ModeTLSWhenAvailable || j.NoDataTimeout == 0 || j.ConnectTimeout == 0 || j.Validate() != nil {
		t.Errorf("got %+v, %v", j, j.Validate())
	}
	for mode, want := range map[connection.Mode]string{"": "h:995", connection.ModeTLS: "h:995", connection.ModeSTARTTLS: "h:110", connection.ModeInsecure: "h:110"} {
		cfg := pop3client.Config{Username: "u", Password: connection.NewSecret("p")}
		cfg.Server, cfg.Mode = "h", mode
		if got := open(t, cfg, nil).Info().Endpoint; got != want {
			t.Errorf("mode %q: endpoint %s, want %s", mode, got, want)
		}
	}
}

func ExampleJournal() {
	src, err := pop3client.Open(pop3client.Journal("mail.example.org", "journal", connection.NewSecret(os.Getenv("PASSWORD")+"?")), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(src.Info().Driver, src.Info().Endpoint)
	if err := src.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: pop3 mail.example.org:110
}
