package gmail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// A conformance is one kind of credential, by which the promises are checked.
type conformance struct {
	name     string
	protocol gmailtest.Protocol
	trash    bool // delete_mode trash; else delete
	// set puts the credentials into cfg and env, and returns what of them must never be printed.
	set func(t testing.TB, srv *gmailtest.Server, cfg *gmail.Config, env *connection.Env) (secret string)
	// all is set for the kind that also checks the rules that move much or break lines, to which the credentials make no
	// difference.
	all bool
}

var everyCredential = []conformance{
	{name: "service account", set: byServiceAccount},
	{name: "service account, trash, HTTP/2", trash: true, protocol: gmailtest.HTTP2, set: byServiceAccount},
	{name: "keyless", set: func(t testing.TB, srv *gmailtest.Server, cfg *gmail.Config, _ *connection.Env) string {
		account, _ := srv.ServiceAccount()
		// The library finds by the environment what this process is: the servers' own service account.
		if err := os.WriteFile(os.Getenv(applicationDefault), srv.ServiceAccountJSON(), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Admin = adminAddress
		cfg.Keyless = &gmail.Keyless{TargetPrincipal: account, TokenURI: srv.TokenURL(), Endpoint: srv.URL()}
		return privateKey(t, srv)
	}},
	{name: "refresh token", protocol: gmailtest.TLS, set: func(t testing.TB, srv *gmailtest.Server, cfg *gmail.Config, _ *connection.Env) string {
		o := srv.OAuth2(ann)
		cfg.OAuth2 = &gmail.OAuth2{
			ClientID: o.ClientID, ClientSecret: connection.NewSecret(o.ClientSecret), RefreshToken: connection.NewSecret(o.RefreshToken), TokenURI: o.TokenURI,
		}
		return o.RefreshToken
	}},
	{name: "token", all: true, set: func(t testing.TB, srv *gmailtest.Server, _ *gmail.Config, env *connection.Env) string {
		token := srv.Token(ann)
		env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(token), nil
		}
		return token
	}},
	{name: "token of each mailbox", set: func(t testing.TB, srv *gmailtest.Server, cfg *gmail.Config, env *connection.Env) string {
		cfg.Admin = adminAddress
		env.Token = func(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(srv.Token(r.Mailbox, r.Scopes...)), nil
		}
		return ""
	}},
}

func byServiceAccount(t testing.TB, srv *gmailtest.Server, cfg *gmail.Config, _ *connection.Env) string {
	cfg.Credentials, cfg.Admin = connection.NewSecret(string(srv.ServiceAccountJSON())), adminAddress
	return privateKey(t, srv)
}

// privateKey returns a line of the service account's key.
func privateKey(t testing.TB, srv *gmailtest.Server) string {
	var key struct {
		PrivateKey string `json:"private_key"`
	}
	if err := json.Unmarshal(srv.ServiceAccountJSON(), &key); err != nil {
		t.Fatal(err)
	}
	return strings.Split(key.PrivateKey, "\n")[3]
}

// A conformanceRig is a new server, used by one kind of credential.
type conformanceRig struct {
	*gmailtest.Server
	conformance
	cfg    gmail.Config
	env    *connection.Env
	secret string
}

func (c conformance) rig(t testing.TB) *conformanceRig {
	t.Helper()
	r := &conformanceRig{Server: gmailtest.NewServer(t, &gmailtest.Options{
		Protocol: c.protocol, AllowBadRequests: true, // of lines that are cut
		Rendering: gmailtest.Rendering{NoGzip: true}, // which would be most of the time of large messages
	}), conformance: c}
	r.AddUser(gmailtest.User{Email: ann})
	r.env = r.Env()
	r.cfg = gmail.Config{
		Endpoint: r.URL(), CustomEndpoints: true, Verbs: []string{gmail.VerbDelete}, DeleteMode: gmail.DeleteHard,
		// The rules move more than a new project may in so short a time, and look at what a broken line leads to, not at how
		// long it takes to try again.
		QuotaProfile: gmail.QuotaLegacy, Retries: 1, PollInterval: connection.Duration(time.Second),
	}
	if c.trash {
		r.cfg.DeleteMode = gmail.DeleteTrash
	}
	r.cfg.CAPEM = r.CA()
	r.secret = c.set(t, r.Server, &r.cfg, r.env)
	return r
}

// open opens a connection as rules want it, with changed settings.
func (r *conformanceRig) open(t testing.TB, env *connection.Env, change func(*gmail.Config)) *gmail.Conn {
	t.Helper()
	own, cfg := *env, r.cfg
	own.Token = r.env.Token
	if change != nil {
		change(&cfg)
	}
	c, err := gmail.Open(cfg, &own)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mailbox returns what ann's mailbox holds, but for its trash.
func (r *conformanceRig) mailbox() []gmailtest.Message {
	return slices.DeleteFunc(r.Messages(ann), func(m gmailtest.Message) bool { return slices.Contains(m.Labels, "TRASH") })
}

// The promises of reading and deleting, by each kind of credential.
func TestConformance(t *testing.T) {
	for _, c := range everyCredential {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "keyless" {
				t.Setenv(applicationDefault, filepath.Join(t.TempDir(), "default.json"))
			} else {
				t.Parallel()
			}
			c.run(t)
		})
	}
}

// applicationDefault names the file with the credentials of this process.
const applicationDefault = "GOOGLE_APPLICATION_CREDENTIALS"

func (c conformance) run(t *testing.T) {
	var r *conformanceRig
	h := connectiontest.Harness{
		Reset: func(t testing.TB) { r = c.rig(t) },
		Open: func(t testing.TB, env *connection.Env) connection.Connection {
			return reading(r.open(t, env, nil), r.cfg.Admin != "")
		},
		Fill: func(_ testing.TB, raw ...[]byte) { r.Deliver(ann, raw...) },
		Left: func(testing.TB) [][]byte {
			var all [][]byte
			for _, m := range r.mailbox() {
				all = append(all, m.Raw)
			}
			return all
		},
		Spoil: func(_ testing.TB, raw []byte) {
			for _, m := range r.mailbox() {
				if bytes.Equal(m.Raw, raw) {
					r.Trouble(ann, m.ID, gmailtest.Trouble{Spoiled: true})
				}
			}
		},
		Normalize: func(s connectiontest.Sample) ([]byte, string) {
			if len(s.Raw) == 0 {
				return nil, "an answer without octets is an error: Gmail has no message of zero octets"
			}
			return nil, ""
		},
		Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
			"closed port": func(t testing.TB, env *connection.Env) connection.Connection {
				return reading(r.open(t, env, func(c *gmail.Config) { c.Endpoint = "http://127.0.0.1:1" }), r.cfg.Admin != "")
			},
		},
		Secret: c.rig(t).secret,
		Soon:   5 * time.Second, // several run at once
		Skip:   map[string]string{},
	}
	if c.protocol != gmailtest.Plain {
		h.Broken["untrusted"] = func(t testing.TB, env *connection.Env) connection.Connection {
			return reading(r.open(t, env, func(c *gmail.Config) { c.CAPEM = "" }), r.cfg.Admin != "")
		}
	}
	if !c.all {
		for _, rule := range []string{
			connectiontest.FetchBytes, connectiontest.FetchBodyEnds, connectiontest.FetchUnreadBody, connectiontest.FetchBreak, connectiontest.FetchCancel,
			connectiontest.SyncBytes, connectiontest.SyncCheckpoint, connectiontest.SyncBodyEnds, connectiontest.CutFetch, connectiontest.CutDelete,
			connectiontest.CutDrain, connectiontest.StallEnds,
		} {
			h.Skip[rule] = "checked with a token: the credentials make no difference to what becomes of bodies and of broken lines"
		}
	}
	if c.trash {
		h.Skip[connectiontest.SyncResumes] = "what is in the trash is still in the mailbox: it is Updated, not Removed"
		h.Skip[connectiontest.OpenAgain] = "what is in the trash can still be opened"
	}
	connectiontest.Run(t, h)
}

// reading returns what these rules are about; those of Append and Send have fixtures of their own.
func reading(c *gmail.Conn, domain bool) connection.Connection {
	type verbs struct {
		connection.Connection
		connection.FetchDeleter
		connection.Syncer
		connection.FolderLister
		connection.Opener
	}
	o := ofAnn{c}
	v := verbs{c, o, o, o, c}
	if !domain {
		return v // where Mailboxes may know the one there is, and answer on a line that is silent
	}
	return struct {
		verbs
		connection.MailboxLister
	}{v, c}
}

// ofAnn is a connection to a domain whose callers mean ann where they name no mailbox. In single-mailbox use she is the
// only one.
type ofAnn struct{ *gmail.Conn }

func (c ofAnn) named(mailbox string) string {
	if mailbox == "" {
		return ann
	}
	return mailbox
}

func (c ofAnn) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	var o connection.FetchOptions
	if opts != nil {
		o = *opts
	}
	o.Mailbox = c.named(o.Mailbox)
	return c.Conn.Fetch(ctx, &o)
}

func (c ofAnn) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	var o connection.SyncOptions
	if opts != nil {
		o = *opts
	}
	o.Mailbox = c.named(o.Mailbox)
	return c.Conn.Sync(ctx, since, &o)
}

func (c ofAnn) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	return c.Conn.Folders(ctx, c.named(mailbox))
}

// Nobody empties a domain by accident.
func TestFetchNamesAMailbox(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		for _, err := range r.conn.Fetch(t.Context(), nil) {
			if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), "mailbox: missing") {
				t.Errorf("got %v, want %v", err, connection.ErrConfig)
			}
		}
		if n := len(r.Requests()); n > 0 {
			t.Errorf("%d requests were made", n)
		}
	})
}
