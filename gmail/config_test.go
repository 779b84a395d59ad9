package gmail_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
)

// keyPEM is a service account's private key.
var keyPEM = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

// serviceAccount is the text of a service account's key, with changes.
func serviceAccount(t *testing.T, changes map[string]string) string {
	t.Helper()
	fields := map[string]string{
		"type": "service_account", "project_id": "archive-1", "private_key_id": "k1", "private_key": keyPEM(),
		"client_email": "archiver@archive-1.iam.gserviceaccount.com", "client_id": "1234567890", "token_uri": "https://oauth2.googleapis.com/token",
	}
	for name, value := range changes {
		fields[name] = value
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// open opens settings as a host does. env may be nil.
func open(config string, env *connection.Env) error {
	c, err := connection.NewRegistry(gmail.Driver()).Open(connection.Settings{Driver: "gmail", Config: json.RawMessage(config)}, env)
	if err != nil {
		return err
	}
	return c.Close()
}

// withToken is an Env that gives tokens.
func withToken() *connection.Env {
	return &connection.Env{Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.NewSecret("t"), nil
	}}
}

// Each setting that is wrong is refused by its name.
func TestConfigErrors(t *testing.T) {
	account, err := json.Marshal(serviceAccount(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	key := func(changes map[string]string) string {
		text, err := json.Marshal(serviceAccount(t, changes))
		if err != nil {
			t.Fatal(err)
		}
		return `{"admin":"admin@corp.example","credentials":` + string(text) + `}`
	}
	domain := func(rest string) string {
		return `{"admin":"admin@corp.example","credentials":` + string(account) + `,` + rest + `}`
	}
	hook := withToken()
	for _, test := range []struct {
		config string
		env    *connection.Env
		want   string // "" = it opens
	}{
		{domain(`"retrieval":"synchronize"`), nil, ""},
		{`{}`, hook, ""},
		{`{"admin":"admin@corp.example"}`, hook, ""},
		{`{"oauth2":{"client_id":"c","client_secret":"s","refresh_token":"r"}}`, nil, ""},
		{`{"oauth2":{"client_id":"c","refresh_token":"r"}}`, hook, ""}, // settings win over the hook
		{`{"keyless":{"target_principal":"a@p.iam.gserviceaccount.com"},"admin":"admin@corp.example"}`, nil, ""},

		{`{}`, nil, "credentials, keyless, oauth2: give exactly one (or a Token hook)"},
		{`{"oauth2":{"client_id":"c","refresh_token":"r"},"keyless":{"target_principal":"a@b.example"}}`, hook, "credentials, keyless, oauth2: give exactly one (or a Token hook)"},
		{`{"credentials":` + string(account) + `}`, nil, "admin: missing (needed with credentials or keyless)"},
		{`{"keyless":{"target_principal":"a@b.example"}}`, nil, "admin: missing (needed with credentials or keyless)"},
		{`{"keyless":{},"admin":"admin@corp.example"}`, nil, "keyless: target_principal: missing"},
		{`{"oauth2":{"client_id":"c"}}`, nil, "oauth2: refresh_token: missing"},
		{`{"oauth2":{"refresh_token":"r"}}`, nil, "oauth2: client_id: missing"},
		{key(map[string]string{"type": "authorized_user"}), nil, `credentials: not a service-account key (type="authorized_user")`},
		{key(map[string]string{"private_key": "no key"}), nil, "credentials: private_key: not "},
		{key(map[string]string{"token_uri": "https://evil.example/token"}), nil, "credentials: token_uri: host evil.example not allowed"},
		{`{"admin":"admin@corp.example","credentials":"[redacted]"}`, nil, "credentials: this is the text"},
		{domain(`"oauth2":{"client_id":"c","refresh_token":"r"}`), nil, "credentials, keyless, oauth2: give exactly one"},
		{`{"admin":"admin"}`, hook, `admin: "admin": not an address`},
		{`{"admin":"a@corp.example","oauth2":{"client_id":"c","refresh_token":"r"}}`, nil, "admin: not with oauth2"},
		{`{"retrieval":"monitors","monitors":{"destination":"journal"}}`, hook, "retrieval: monitors needs credentials or keyless"},
		{`{"retrieval":"monitors","monitors":{"destination":"journal"},"oauth2":{"client_id":"c","refresh_token":"r"}}`, nil, "retrieval: monitors needs credentials or keyless"},
		{`{"include":["ann@corp.example"]}`, hook, "include: needs credentials or keyless"},
		{`{"exclude":["ann@corp.example"]}`, hook, "exclude: needs credentials or keyless"},
		{`{"org_units":["/Sales"]}`, hook, "org_units: needs"},
		{`{"exclude_org_units":["/Sales"]}`, hook, "exclude_org_units: needs"},
		{`{"groups":["all@corp.example"]}`, hook, "groups: needs"},
		{`{"exclude_groups":["all@corp.example"]}`, hook, "exclude_groups: needs"},
		{`{"include_suspended":true}`, hook, "include_suspended: needs"},
		{`{"domain":"corp.example"}`, hook, "domain: needs"},

		{domain(`"retrieval":"x"`), nil, `retrieval: "x": want synchronize or monitors`},
		{domain(`"mode":"tls"`), nil, `"mode": unknown field`},
		{domain(`"include_spam":true`), nil, `"include_spam": unknown field; did you mean`},
		{domain(`"customer":"C01","domain":"corp.example"`), nil, "customer, domain: give only one"},
		{domain(`"domain":"a b"`), nil, `domain: "a b": not a domain name`},
		{domain(`"customer":"a b"`), nil, `customer: "a b": not a customer id`},
		{domain(`"include":["[a"]`), nil, `include: "[a": want an address or a pattern`},
		{domain(`"include":["ann"]`), nil, `include: "ann": want an address or a pattern`},
		{domain(`"exclude":[""]`), nil, `exclude: "": want an address or a pattern`},
		{domain(`"org_units":["Sales"]`), nil, `org_units: "Sales": want a path such as /Sales`},
		{domain(`"exclude_org_units":["Sales"]`), nil, `exclude_org_units: "Sales": want a path`},
		{domain(`"groups":["all"]`), nil, `groups: "all": not an address`},
		{domain(`"exclude_groups":["a\nb@corp.example"]`), nil, `exclude_groups: "a\nb@corp.example": not an address`},
		{domain(`"folder_delimiter":"ab"`), nil, `folder_delimiter: "ab": want one punctuation character`},
		{domain(`"folder_delimiter":"%"`), nil, `folder_delimiter: "%": want`},
		{domain(`"folder_delimiter":"a"`), nil, `folder_delimiter: "a": want`},
		{domain(`"page_size":501`), nil, "page_size: 501: want 1 to 500"},
		{domain(`"page_size":0`), nil, "page_size: 0: want 1 to 500"},
		{domain(`"max_message":-1`), nil, "max_message: -1: want at least 0"},
		{domain(`"spool_memory":10`), nil, "spool_memory: 10: want at least 1024"},
		{domain(`"verbs":["purge"]`), nil, `verbs: "purge": want delete, append or send`},
		{domain(`"delete_mode":"x"`), nil, `delete_mode: "x": want trash or delete`},
		{domain(`"append_method":"x"`), nil, `append_method: "x": want import or insert`},
		{domain(`"never_mark_spam":"yes"`), nil, `never_mark_spam: got a string`},
		{domain(`"internal_date":"x"`), nil, `internal_date: "x": want dateHeader or receivedTime`},
		{domain(`"upload":"x"`), nil, `upload: "x": want auto, json or media`},
		{domain(`"quota_profile":"2025"`), nil, `quota_profile: "2025": want 2026 or legacy`},
		{domain(`"daily_budget":0`), nil, "daily_budget: 0: want at least 1"},
		{domain(`"parallel":11`), nil, "parallel: 11: want 1 to 10"},
		{domain(`"retries":21`), nil, "retries: 21: want 1 to 20"},
		{domain(`"poll_interval":"-1s"`), nil, "poll_interval: -1s: want at least 1s"},
		{domain(`"poll_interval":"10m","poll_interval_max":"5m"`), nil, "poll_interval_max: 5m0s: want at least poll_interval, which is 10m0s"},

		{domain(`"retrieval":"monitors"`), nil, "monitors.destination: missing"},
		{domain(`"retrieval":"monitors","monitors":{"destination":"other@corp.test"}`), nil, "monitors.destination: other@corp.test: not in domain corp.example"},
		{domain(`"retrieval":"monitors","monitors":{"destination":"a b"}`), nil, `monitors.destination: "a b": want an address, or the part before its @`},
		{domain(`"retrieval":"monitors","monitors":{"destination":"journal@corp.example"}`), nil, ""},
		{domain(`"retrieval":"monitors","verbs":["send"],"monitors":{"destination":"journal"}`), nil, `verbs: "send": not with retrieval monitors`},
		{domain(`"monitors":{"incoming":"x"}`), nil, `monitors.incoming: "x": want full or headers`},
		{domain(`"monitors":{"outgoing":"none"}`), nil, `monitors.outgoing: "none": want full or headers`},
		{domain(`"monitors":{"drafts":"x"}`), nil, `monitors.drafts: "x": want none, headers or full`},
		{domain(`"monitors":{"chat":"x"}`), nil, `monitors.chat: "x": want none, headers or full`},
		{domain(`"monitors":{"lifetime":"720h"}`), nil, "monitors.lifetime: 720h0m0s: must be longer than renew_before"},
		{domain(`"monitors":{"daily_writes":1200}`), nil, "monitors.daily_writes: 1200: want 1 to 1000"},
		{domain(`"monitors":{"destinations":"x"}`), nil, `monitors."destinations": unknown field; did you mean "destination"?`},

		{domain(`"connect_timeout":-1`), nil, "connect_timeout: negative"},
		{domain(`"no_data_timeout":-1`), nil, "no_data_timeout: negative"},
		{domain(`"response_header_timeout":-1`), nil, "response_header_timeout: negative"},
		{domain(`"endpoint":"https://gmail.googleapis.com/v1"`), nil, "endpoint: path not allowed"},
		{domain(`"endpoint":"https://gmail.googleapis.com/"`), nil, ""},
		{domain(`"endpoint":"http://127.0.0.1:1"`), nil, "endpoint: http only with custom_endpoints"},
		{domain(`"endpoint":"http://127.0.0.1:1","custom_endpoints":true`), nil, ""},
		{domain(`"endpoint":"http://mail.example.org","custom_endpoints":true`), nil, "endpoint: http only on this machine"},
		{domain(`"endpoint":"https://evil.example"`), nil, "endpoint: host evil.example not allowed"},
		{domain(`"endpoint":"https://evilgoogleapis.com"`), nil, "endpoint: host evilgoogleapis.com not allowed"},
		{domain(`"directory_endpoint":"https://u:p@admin.googleapis.com"`), nil, "directory_endpoint: user information not allowed"},
		{domain(`"audit_endpoint":"https://apps-apis.google.com?x=1"`), nil, "audit_endpoint: query and fragment not allowed"},
		{domain(`"audit_endpoint":"gopher://apps-apis.google.com"`), nil, `audit_endpoint: scheme "gopher": want https`},
		{domain(`"endpoint":"gmail.googleapis.com"`), nil, "endpoint: want a URL such as"},
		{domain(`"endpoint":"https://gmail.googleapis.com:99999"`), nil, `endpoint: port "99999": want a number from 1 to 65535`},
		{domain(`"user_agent":"a\nb gzip"`), nil, "user_agent: control character"},
		{domain(`"user_agent":"archiver/1"`), nil, `user_agent: "archiver/1": must contain gzip`},
		{domain(`"min_tls":"1.4"`), nil, `min_tls: "1.4": want`},
		{domain(`"ca_pem":"x"`), nil, "ca_pem: no certificate in it"},
	} {
		err := open(test.config, test.env)
		shown, _, _ := strings.Cut(test.config, "-----BEGIN")
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", shown, err)
			}
			continue
		}
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrConfig || e.Driver != "gmail" || !strings.HasPrefix(e.Err.Error(), "config: "+test.want) {
			t.Errorf("%s\ngot  %v\nwant %s", shown, err, test.want)
		} else if strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

// What is checked of settings from JSON is checked of a Config made in Go too.
func TestConfigInGo(t *testing.T) {
	for want, cfg := range map[string]gmail.Config{
		`retrieval: "x"`:            {Retrieval: "x"},
		"page_size: 501":            {PageSize: 501},
		"page_size: -1":             {PageSize: -1},
		"max_message: -1":           {MaxMessage: -1},
		"spool_memory: 1":           {SpoolMemory: 1},
		"daily_budget: -1":          {DailyBudget: -1},
		"parallel: 11":              {Parallel: 11},
		"retries: -1":               {Retries: -1},
		"poll_interval: 1ms":        {PollInterval: connection.Duration(time.Millisecond)},
		"poll_interval_max: 10ms":   {PollIntervalMax: connection.Duration(10 * time.Millisecond)},
		"monitors.daily_writes: -1": {Monitors: gmail.MonitorSettings{DailyWrites: -1}},
		"monitors.lifetime":         {Monitors: gmail.MonitorSettings{Lifetime: -1}},
		"monitors.renew_before":     {Monitors: gmail.MonitorSettings{RenewBefore: -1}},
		"monitors.check_interval":   {Monitors: gmail.MonitorSettings{CheckInterval: -1}},
		"connect_timeout: negative": {ConnectTimeout: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if _, err := gmail.Open(cfg, withToken()); !errors.Is(err, connection.ErrConfig) {
			t.Errorf("%s: Open gives %v", want, err)
		}
	}
}

// Every field is described for a form, and the defaults in it are those that a zero field means.
func TestFields(t *testing.T) {
	fields := gmail.Driver().Fields()
	if len(fields) < 60 {
		t.Errorf("got %d fields", len(fields))
	}
	for _, f := range fields {
		if f.Label == "" || f.Label == f.Name {
			t.Errorf("%s has no label", f.Name)
		}
	}
}
