package imapclient_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/peertest"
)

const canary = "canary7d41Xq93"

// A conformance is one way in which the promises are checked.
type conformance struct {
	mode       connection.Mode
	uncompress bool // COMPRESS is disabled
	chunked    bool // with partial_fetch
	cuts       bool // with the rules that cut the line
	stalls     bool // with the rule that silences it
}

func (c conformance) String() string {
	name := string(c.mode)
	if c.uncompress {
		name += ", uncompressed"
	}
	if c.chunked {
		name += ", in chunks"
	}
	return name
}

// config makes a server's Config that of c.
func (c conformance) config(cfg imapclient.Config) imapclient.Config {
	cfg = emptying(cfg)
	cfg.PollingIdleMax = connection.Duration(100 * time.Millisecond)
	if c.uncompress {
		cfg.DisableExtensions = []string{"COMPRESS=DEFLATE"}
	}
	if c.chunked {
		cfg = chunked(cfg)
	}
	return cfg
}

// run checks the promises. h has what is the server's own; config makes a Config for its mode.
func (c conformance) run(t *testing.T, h connectiontest.Harness, config func() imapclient.Config) {
	h.Open = func(t testing.TB, env *connection.Env) connection.Connection {
		return open(t, c.config(config()), env)
	}
	normalize := h.Normalize
	h.Normalize = func(s connectiontest.Sample) ([]byte, string) {
		switch {
		case s.Name == "big" && !c.uncompress:
			return nil, "under the race detector compression takes seconds for it; TestCompressLarge has it"
		case normalize != nil:
			return normalize(s)
		}
		return nil, ""
	}
	h.Secret, h.Broken = canary, c.broken(config)
	h.Skip = map[string]string{}
	if !c.cuts {
		for _, rule := range []string{connectiontest.CutFetch, connectiontest.CutDelete, connectiontest.CutDrain} {
			h.Skip[rule] = "checked in other modes, with and without compression"
		}
	}
	if !c.stalls {
		h.Skip[connectiontest.StallEnds] = "checked in other modes, with and without compression"
		h.Skip[connectiontest.SecretsNeverPrint] = "checked in other modes; all other rules look for the secret too"
	}
	connectiontest.Run(t, h)
}

// broken returns connections that cannot work, made from a Config that does.
func (c conformance) broken(config func() imapclient.Config) map[string]func(testing.TB, *connection.Env) connection.Connection {
	with := func(change func(*imapclient.Config)) func(testing.TB, *connection.Env) connection.Connection {
		return func(t testing.TB, env *connection.Env) connection.Connection {
			cfg := c.config(config())
			change(&cfg)
			return open(t, cfg, env)
		}
	}
	all := map[string]func(testing.TB, *connection.Env) connection.Connection{
		"wrong password": with(func(c *imapclient.Config) { c.Password = connection.NewSecret(canary + "wrong") }),
		"closed port":    with(func(c *imapclient.Config) { c.Server = "127.0.0.1:1" }),
		"no such folder": with(func(c *imapclient.Config) { c.Folders = []string{"No such folder"} }),
	}
	if c.mode != connection.ModeInsecure {
		all["untrusted"] = with(func(c *imapclient.Config) { c.CAPEM = "" })
	}
	if c.mode == connection.ModeTLS {
		all["clear text on a TLS port"] = with(func(c *imapclient.Config) {
			c.Mode, c.ConnectTimeout = connection.ModeInsecure, connection.Duration(300*time.Millisecond)
		})
	}
	return all
}

// everyMode are all modes, with and without compression. Lines are cut and silenced where that differs: under TLS, and
// without, where a cut looks like an orderly end.
var everyMode = []conformance{
	{mode: connection.ModeTLS, cuts: true, stalls: true},
	{mode: connection.ModeTLS, uncompress: true},
	{mode: connection.ModeSTARTTLS},
	{mode: connection.ModeSTARTTLS, uncompress: true, cuts: true},
	{mode: connection.ModeTLSWhenAvailable},
	{mode: connection.ModeTLSWhenAvailable, uncompress: true},
	{mode: connection.ModeInsecure, cuts: true},
	{mode: connection.ModeInsecure, uncompress: true, cuts: true, stalls: true},
}

// together runs a subtest for each of cases, some at once: they wait more than they compute.
func together[T any](t *testing.T, cases []T, run func(*testing.T, int, T)) {
	var running sync.WaitGroup
	defer running.Wait()
	room := make(chan struct{}, 2) // rules have limits of time, and under the race detector some need a processor for seconds
	for i, c := range cases {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			t.Run(fmt.Sprint(c), func(t *testing.T) { run(t, i, c) })
		})
	}
}

// The promises in each mode, against imaptest.
func TestConformance(t *testing.T) {
	cases := append(slices.Clone(everyMode), conformance{mode: connection.ModeTLS, uncompress: true, chunked: true, cuts: true})
	together(t, cases, func(t *testing.T, _ int, c conformance) {
		var srv *imaptest.Server
		c.run(t, connectiontest.Harness{
			Reset: func(t testing.TB) { srv = imaptest.NewServer(t, &imaptest.Options{Mode: c.mode, Password: canary}) },
			Fill:  func(_ testing.TB, raw ...[]byte) { srv.Deliver(raw...) },
			Left:  func(testing.TB) [][]byte { return octets(srv.Messages()) },
		}, func() imapclient.Config { return srv.Config() })
	})
}

// The promises in each mode, against Dovecot, where each has a user of its own.
func TestDovecotConformance(t *testing.T) {
	var users []string
	for i := range everyMode {
		users = append(users, fmt.Sprintf("user%d", i))
	}
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Password: canary, Users: users, Compress: true, Settings: manyLogins(t)})
	together(t, everyMode, func(t *testing.T, i int, c conformance) {
		config := func() imapclient.Config {
			cfg := dovecotConfig(srv, c.mode)
			cfg.Username, cfg.AuthMechanisms = users[i], []string{"plain"} // SCRAM takes most of the time of many logins
			return cfg
		}
		c.run(t, connectiontest.Harness{
			Reset: func(t testing.TB) { emptyDovecot(t, emptying(config())) },
			Fill:  func(_ testing.TB, raw ...[]byte) { srv.Deliver(users[i], raw...) },
			Left: func(testing.TB) [][]byte {
				all := srv.Messages(users[i])
				for i := range all {
					all[i] = asDovecotGives(all[i])
				}
				return all
			},
			Normalize: func(s connectiontest.Sample) ([]byte, string) {
				if len(s.Raw) == 0 {
					return nil, "Dovecot refuses to APPEND a message of zero octets"
				}
				want := asDovecotGives(s.Raw)
				if bytes.Equal(want, s.Raw) {
					return nil, ""
				}
				return want, "Dovecot gives LF as CRLF and NUL as 0x80"
			},
		}, config)
	})
}

// manyLogins returns settings with which a Dovecot 2.3 keeps its processes from one login to the next: five sixths of the
// time of the tests above would go into starting them.
func manyLogins(t *testing.T) string {
	t.Helper()
	if plain := peertest.Dovecot(t, nil); !strings.HasPrefix(plain.Version, "2.3.") {
		return ""
	}
	return "service imap-login {\n service_count = 0\n}\nservice imap {\n service_count = 1000\n process_min_avail = 4\n}"
}

// emptyDovecot removes all mail.
func emptyDovecot(t testing.TB, cfg imapclient.Config) {
	t.Helper()
	c := open(t, cfg, nil)
	var refs []connection.Ref
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, m.Ref)
	}
	if err := c.Delete(t.Context(), refs...); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// asDovecotGives returns what Dovecot gives out of what it holds as a file: with CRLF, and NUL as 0x80.
func asDovecotGives(raw []byte) []byte {
	raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	return bytes.ReplaceAll(raw, []byte{0}, []byte{0x80})
}

// Mail that arrives while Follow runs is deleted like any other: the session that deletes had selected the folder before
// it came, and Dovecot ignores the UIDs that it has not told of.
func TestDovecotFollowDeletes(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	cfg := emptying(dovecotConfig(srv, connection.ModeTLS))
	cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
	c := open(t, cfg, nil)
	srv.Deliver(srv.User, letters(1)...)
	n := 0
	for m, err := range c.Fetch(t.Context(), &connection.FetchOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil {
			t.Fatal(err)
		}
		if left := srv.Count(srv.User, "INBOX"); left != 0 {
			t.Fatalf("message %d: %d are left", n, left)
		}
		if n++; n == 5 {
			break
		}
		srv.Deliver(srv.User, letters(1)...)
	}
}

// The main job over each mode, and where Dovecot allows one connection only: all stored bit by bit, nothing left.
func TestDovecotDrain(t *testing.T) {
	for _, most := range []int{0, 1} {
		srv := peertest.Dovecot(t, &peertest.DovecotOptions{MaxPerUser: most})
		for _, mode := range []connection.Mode{connection.ModeInsecure, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable, connection.ModeTLS} {
			t.Run(fmt.Sprintf("%s, connections %d", mode, most), func(t *testing.T) {
				srv.DeliverTo(srv.User, "INBOX", small(300))
				srv.Deliver(srv.User, bytes.Repeat([]byte("0123456789abcdef0123456789abcdef\r\n"), 20_000))
				want := map[string]int{}
				for _, raw := range srv.Messages(srv.User) {
					want[string(raw)]++
				}
				cfg := emptying(dovecotConfig(srv, mode))
				cfg.ExpungeEvery = 120
				c := open(t, cfg, nil)
				sink := func(_ context.Context, m *connection.Message) error {
					raw, err := io.ReadAll(m.Body)
					want[string(raw)]--
					return err
				}
				stats, err := connection.Drain(t.Context(), c, sink, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				for raw, n := range want {
					if n != 0 {
						t.Errorf("%.40q: %d are missing", raw, n)
					}
				}
				if left := srv.Count(srv.User, "INBOX"); left != 0 || stats.Stored != 301 || stats.Failed != 0 {
					t.Errorf("%d are left; %+v", left, stats)
				}
			})
		}
	}
}
