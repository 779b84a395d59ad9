package ews_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
)

// with returns the JSON of settings that are good but for what more says.
func with(more string) string {
	return `{"server":"exchange.example.org","username":"svc@example.org","password":"p",` + more + `}`
}

func TestConfigErrors(t *testing.T) {
	reg := connection.NewRegistry(ews.Driver())
	for _, test := range []struct{ json, want string }{
		{`{}`, "server: missing"},
		{`{"username":"svc","password":"p"}`, "server: missing"},
		{`{"username":"svc@local","password":"p"}`, "server: missing"},
		{`{"username":"svc@example.org","password":"p","disable_autodiscover":true}`, "server: missing"},
		{`{"username":"svc@example.org","password":"p","mode":"insecure"}`, "server: missing"},
		{`{"server":"192.0.2.1","username":"u","password":"p"}`, "server: is an IP address; Exchange's certificate and autodiscover need the server's real DNS name (set allow_any_host to use it anyway)"},
		{`{"server":"[2001:db8::1]:443","username":"u","password":"p"}`, "server: is an IP address"},
		{`{"server":"https://192.0.2.1/EWS/Exchange.asmx","username":"u","password":"p"}`, "server: is an IP address"},
		{`{"server":"exch","username":"u","password":"p"}`, `server: "exch" is a single label, give the fully qualified name`},
		{`{"server":"exch.:443","username":"u","password":"p"}`, `server: "exch." is a single label`},
		{`{"server":"https://u:pw@exchange.example.org/EWS/Exchange.asmx","username":"u","password":"p"}`, "server: a URL with user information"},
		{`{"server":"https://exchange.example.org/EWS/Exchange.asmx?a=b","username":"u","password":"p"}`, "server: a URL with a query"},
		{`{"server":"https://exchange.example.org/EWS/Exchange.asmx#x","username":"u","password":"p"}`, "server: a URL with a fragment"},
		{`{"server":"https://exchange.example.org/#","username":"u","password":"p"}`, "server: a URL with a fragment"},
		{`{"server":"http://exchange.example.org/","username":"u","password":"p"}`, `server: scheme "http": with mode tls want https`},
		{`{"server":"https://exchange.example.org/","mode":"insecure","username":"u","password":"p"}`, `server: scheme "https": with mode insecure want http`},
		{`{"server":"ftp://exchange.example.org/","username":"u","password":"p"}`, `server: scheme "ftp"`},
		{`{"server":"https:///EWS","username":"u","password":"p"}`, "server: want a host name"},
		{`{"server":"https://exchange.example.org:0/","username":"u","password":"p"}`, `server: port "0"`},
		{`{"server":"exchange.example.org:99999","username":"u","password":"p"}`, "the port must be a number from 1 to 65535"},
		{`{"server":"u@exchange.example.org","username":"u","password":"p"}`, "server: want host or host:port"},
		{`{"server":"exchange example.org","username":"u","password":"p"}`, "server: \"exchange example.org\": spaces or control characters"},
		{`{"server":"exchange.example.org"}`, "username: missing"},
		{`{"server":"exchange.example.org","password":"p"}`, "username: missing"},
		{`{"server":"exchange.example.org","username":"u"}`, "password: missing"},
		{`{"server":"exchange.example.org","username":"u","auth":"basic"}`, "password: missing"},
		{`{"server":"exchange.example.org","username":"u","auth":"ntlm"}`, "password: missing"},
		{`{"server":"exchange.example.org","username":"u","auth":"oauth"}`, "auth: oauth needs oauth2, or the host's token source"},
		{`{"server":"exchange.example.org","username":"u\r\nx","password":"p"}`, "username: control character"},
		{`{"server":"exchange.example.org","username":"a\\b\\c\\d","password":"p"}`, "username: "},
		{`{"server":"exchange.example.org","username":"u","password":"p\u0000"}`, "password: it must not hold CR, LF or NUL"},
		{`{"server":"exchange.example.org","username":"u","password":"[redacted]"}`, "put the secret back"},
		{with(`"auth":"kerberos"`), `auth: "kerberos": want auto, basic, ntlm or oauth`},
		{with(`"auth":"oauth"`), "password: not with auth oauth"},
		{`{"server":"exchange.example.org","username":"a:b","password":"p","auth":"basic"}`, "username: a colon cannot be sent with auth basic"},
		{with(`"oauth2":{"tenant":"t.example.org","client_id":"c","client_secret":"s"}`), "password, oauth2: give only one"},
		{`{"server":"exchange.example.org","oauth2":{}}`, "oauth2: client_id: missing"},
		{`{"server":"exchange.example.org","username":"u","auth":"ntlm","oauth2":{"tenant":"t.example.org","client_id":"c","client_secret":"s"}}`, "oauth2: not with auth ntlm"},
		{with(`"mode":"starttls"`), "mode: "},
		{with(`"mode":"ssl"`), `mode: "ssl": want tls, tls-when-available or insecure`},
		{with(`"connect_timeout":-1`), "connect_timeout: negative"},
		{with(`"no_data_timeout":"-1s"`), "no_data_timeout: negative"},
		{with(`"min_tls":"1.4"`), "min_tls"},
		{with(`"ca_pem":"x"`), "ca_pem: no certificate in it"},
		{with(`"version":"2003"`), "version: EWS needs Exchange 2007 SP1 or later"},
		{with(`"version":"2007"`), "version: EWS needs Exchange 2007 SP1 or later"},
		{with(`"version":"2012"`), `version: "2012": want auto, 2007_SP1`},
		{`{"server":"outlook.office365.com","username":"u@example.org","password":"p","disable_autodiscover":true}`, "disable_autodiscover: Exchange Online needs autodiscover"},
		{`{"server":"eur01.outlook.com","username":"u@example.org","password":"p","disable_autodiscover":true}`, "use the driver msgraph"},
		{with(`"autodiscover_urls":["http://a.example.org/autodiscover.xml"]`), "want https, since credentials are sent there"},
		{with(`"autodiscover_urls":["autodiscover"]`), `autodiscover_urls: "autodiscover": want a URL`},
		{with(`"autodiscover_urls":["https://u:p@a.example.org/"]`), "autodiscover_urls: a URL with user information"},
		{with(`"autodiscover_urls":["https://a.example.org/"],"disable_autodiscover":true`), "autodiscover_urls: not with disable_autodiscover"},
		{`{"username":"svc@example.org","password":"p","fallback_to_server":true}`, "fallback_to_server: needs server"},
		{with(`"redirect_allow":["*"]`), `redirect_allow: "*": want a host name, or *. and a domain`},
		{with(`"redirect_allow":["a.*.example.org"]`), `redirect_allow: "a.*.example.org"`},
		{with(`"redirect_allow":["https://a.example.org"]`), `redirect_allow: "https://a.example.org"`},
		{with(`"redirect_allow":["*."]`), `redirect_allow: "*."`},
		{with(`"access":"root"`), `access: "root": want impersonation, delegate or own`},
		{with(`"access":"own","mailboxes":["a@example.org"]`), "mailboxes: not with access own"},
		{with(`"access":"own","groups":["a@example.org"]`), "groups: not with access own"},
		{with(`"access":"own","test_mailbox":"a@example.org"`), "test_mailbox: not with access own"},
		{with(`"impersonate_by":"name"`), `impersonate_by: "name": want smtp, smtp-any, upn or sid`},
		{with(`"mailboxes":["joe"]`), `mailboxes: "joe": want an address with one @`},
		{with(`"mailboxes":["a@b@c"]`), `mailboxes: "a@b@c": want an address with one @`},
		{with(`"mailboxes":["@example.org"]`), "want an address with one @"},
		{with(`"mailboxes":["joe\u0000@example.org"]`), "without spaces, angle brackets or control characters"},
		{with(`"mailboxes":["Joe <joe@example.org>"]`), "want a bare address"},
		{with(`"mailboxes":["joe@example.org","JOE@example.org"]`), `mailboxes: "JOE@example.org": given twice`},
		{with(`"mailboxes":["S-1-5-21-1"]`), `mailboxes: "S-1-5-21-1": want an address with one @`},
		{with(`"test_mailbox":"joe"`), `test_mailbox: "joe": want an address with one @`},
		{with(`"groups":["all"]`), `groups: "all": want an address with one @`},
		{with(`"folder_classes":["IPF.Note\n"]`), "folder_classes: "},
		{with(`"delete_mode":"burn"`), `delete_mode: "burn": want none, hard, soft or trash`},
		{with(`"batch_items":0`), "batch_items: 0: want 1 to 100"},
		{with(`"batch_items":101`), "batch_items: 101: want 1 to 100"},
		{with(`"batch_bytes":1000`), "batch_bytes: 1000: want at least 1048576"},
		{with(`"batch_bytes":1048576,"big_item_bytes":1048577`), "big_item_bytes: 1048577: want at most batch_bytes, which is 1048576"},
		{with(`"max_connections":0`), "max_connections: 0: want 1 to 27"},
		{with(`"max_connections":28`), "max_connections: 28: want 1 to 27"},
		{with(`"poll_interval":-1`), "poll_interval: negative"},
		{with(`"notifications":"push"`), `notifications: "push": want poll, streaming or pull`},
		{with(`"notifications":"streaming","version":"2010"`), "notifications: streaming needs Exchange 2010 SP1"},
		{with(`"fallbacks":["hope"]`), `fallbacks: "hope": want retry, mime-utf8 or rebuild`},
		{with(`"fallbacks":["retry","retry"]`), `fallbacks: "retry": given twice`},
		{with(`"channel_binding":"on","mode":"insecure"`), "channel_binding: on needs TLS"},
		{with(`"channel_binding":"yes"`), `channel_binding: "yes": want off or on`},
		{with(`"user_agent":"a\r\nX: y"`), "user_agent: CR, LF or another control character"},
		{with(`"autodiscover_urls":["https:svc:pw@host/x"]`), "autodiscover_urls: \"…@host/x\": want a URL"},
		{with(`"autodiscover_urls":["https://svc:pw@%zz/x"]`), "autodiscover_urls: \"…@%zz/x\": want a URL"},
		{with(`"redirect_allow":["https://svc:pw@host"]`), "redirect_allow: \"…@host\": want a host name"},
		{`{"server":"https://svc:pw@host.example.org/a b","username":"u","password":"p"}`, "server: \"…@host.example.org/a b\": spaces or control characters"},
		{with(`"mailbox":"x"`), `"mailbox": unknown field; did you mean "mailboxes"?`},
	} {
		_, err := reg.Open(connection.Settings{Driver: "ews", Config: json.RawMessage(test.json)}, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", test.json, err, test.want)
			continue
		}
		if !errors.Is(err, connection.ErrConfig) || strings.Contains(err.Error(), "pw@") || strings.Contains(err.Error(), ":p@") {
			t.Errorf("%s: got %v, want %v without a password", test.json, err, connection.ErrConfig)
		}
	}
}

// What cannot be written in JSON, or is refused there before Validate sees it.
func TestConfigValidate(t *testing.T) {
	good := ews.Config{Server: "exchange.example.org", Username: "u", Password: connection.NewSecret("p")}
	for want, change := range map[string]func(*ews.Config){
		"": func(*ews.Config) {},
		"mode: starttls is not possible with ews": func(c *ews.Config) { c.Mode = connection.ModeSTARTTLS },
		`mode: "ssl": want tls`:                   func(c *ews.Config) { c.Mode = "ssl" },
		"batch_items: -1":                         func(c *ews.Config) { c.BatchItems = -1 },
		"batch_bytes: 5":                          func(c *ews.Config) { c.BatchBytes = 5 },
		"max_connections: 99":                     func(c *ews.Config) { c.MaxConnections = 99 },
		"version: EWS needs":                      func(c *ews.Config) { c.Version = "2003" },
		`version: "1999": want auto`:              func(c *ews.Config) { c.Version = "1999" },
		`delete_mode: "x"`:                        func(c *ews.Config) { c.DeleteMode = "x" },
	} {
		c := good
		change(&c)
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestConfigGood(t *testing.T) {
	reg := connection.NewRegistry(ews.Driver())
	for settings, endpoint := range map[string]string{
		`{"server":"exchange.example.org","username":"u","password":"p"}`:                                               "exchange.example.org:443",
		`{"server":"exchange.example.org:8443","username":"u","password":"p"}`:                                          "exchange.example.org:8443",
		`{"server":"https://exchange.example.org/x/y.asmx","username":"u","password":"p"}`:                              "exchange.example.org:443",
		`{"server":"HTTPS://exchange.example.org:444","username":"u","password":"p"}`:                                   "exchange.example.org:444",
		`{"server":"exchange.example.org","mode":"insecure","allow_plaintext_auth":true,"username":"u","password":"p"}`: "exchange.example.org:80",
		`{"server":"192.0.2.1","allow_any_host":true,"username":"u","password":"p"}`:                                    "192.0.2.1:443",
		`{"server":"2001:db8::1","allow_any_host":true,"username":"u","password":"p"}`:                                  "[2001:db8::1]:443",
		`{"server":"[2001:db8::1]:444","allow_any_host":true,"username":"u","password":"p"}`:                            "[2001:db8::1]:444",
		`{"server":"exch","allow_any_host":true,"username":"u","password":"p"}`:                                         "exch:443",
		`{"username":"svc@example.org","password":"p"}`:                                                                 "example.org",
		`{"server":"exchange.example.org","oauth2":{"tenant":"t.example.org","client_id":"c","client_secret":"s"}}`:     "exchange.example.org:443",
		with(`"impersonate_by":"sid","mailboxes":["S-1-5-21-1-2-3","joe@example.org"]`):                                 "exchange.example.org:443",
		with(`"mailboxes":["joe@example.org","joe@example.org#archive"]`):                                               "exchange.example.org:443",
		with(`"batch_bytes":1048576`): "exchange.example.org:443",
		with(`"fallbacks":[],"folder_classes":["IPF.Note",""],"redirect_allow":["*.example.com","a.example.net"]`): "exchange.example.org:443",
	} {
		c, err := reg.Open(connection.Settings{ID: "7", Name: "Exchange", Driver: "ews", Config: json.RawMessage(settings)}, nil)
		if err != nil {
			t.Errorf("%s: %v", settings, err)
			continue
		}
		if got, want := c.Info(), (connection.Info{ID: "7", Name: "Exchange", Driver: "ews", Endpoint: endpoint}); got != want {
			t.Errorf("%s: got %+v, want %+v", settings, got, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, f := range ews.Driver().Fields() {
		if f.Label == f.Name && !strings.Contains(f.Name, ".") {
			t.Errorf("%s: no label for a form", f.Name)
		}
	}
}

// What is permitted and unwise is said when the connection is opened.
func TestConfigWarnings(t *testing.T) {
	for settings, want := range map[string]string{
		with(`"allow_plaintext_auth":true`):                                            "allow_plaintext_auth: has no effect with mode tls",
		with(`"poll_interval":"50ms"`):                                                 "poll_interval: 50ms is raised to 1s",
		`{"server":"outlook.office365.com","username":"u@example.org","password":"p"}`: "use the driver msgraph",
		`{"username":"u@contoso.outlook.com","password":"p"}`:                          "EWSAllowedAppIDs",
		with(`"accept_any_certificate":true`):                                          "pin_sha256 is the safe way",
		with(`"mode":"tls"`):                                                           "",
	} {
		var out bytes.Buffer
		env := &connection.Env{Logger: slog.New(slog.NewTextHandler(&out, nil))}
		c, err := connection.NewRegistry(ews.Driver()).Open(connection.Settings{Driver: "ews", Config: json.RawMessage(settings)}, env)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: got %q, want %q in it", settings, got, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestJournalSettings(t *testing.T) {
	c := ews.Journal("exchange.example.org", "journal@example.org", connection.NewSecret("p"))
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.DeleteMode != ews.DeleteHard || !c.Journal || c.Access != ews.AccessOwn {
		t.Errorf("got %+v", c)
	}
}
