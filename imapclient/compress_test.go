package imapclient_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/peertest"
)

func TestCompress(t *testing.T) {
	want := letters(200)
	for _, test := range []struct {
		name     string
		opts     imaptest.Options
		cfg      func(*imapclient.Config)
		commands int
	}{
		{"over TLS", imaptest.Options{}, nil, 1},
		{"in the clear", imaptest.Options{Mode: connection.ModeInsecure}, nil, 1},
		{"in small pieces", imaptest.Options{MaxWrite: 100}, nil, 1},
		{"off", imaptest.Options{}, func(c *imapclient.Config) { c.Compress = imapclient.CompressOff }, 0},
		{"disabled", imaptest.Options{}, func(c *imapclient.Config) { c.DisableExtensions = []string{"compress=deflate"} }, 0},
		{"not offered", imaptest.Options{Without: []string{"COMPRESS=DEFLATE"}}, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &test.opts)
			srv.Deliver(want...)
			cfg := emptying(srv.Config())
			if test.cfg != nil {
				test.cfg(&cfg)
			}
			c := open(t, cfg, srv.Env())
			all := collect(t, c, nil)
			if got := bodies(t, all); !slices.Equal(got, texts(want)) {
				t.Errorf("got %d messages that are not those delivered", len(got))
			}
			if err := c.Delete(t.Context(), refsOf(all)...); err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if left := len(srv.Messages()); left != 0 {
				t.Errorf("%d messages are left", left)
			}
			sessions := len(srv.Transcript("LOGOUT"))
			if got := len(srv.Transcript("COMPRESS")); got != test.commands*sessions || sessions == 0 {
				t.Errorf("got COMPRESS %d times in %d sessions", got, sessions)
			}
		})
	}
}

func refsOf(all []fetched) []connection.Ref {
	refs := make([]connection.Ref, len(all))
	for i, f := range all {
		refs[i] = f.Ref
	}
	return refs
}

// 46: a server that offers COMPRESS and refuses it is read without.
func TestCompressRefused(t *testing.T) {
	for _, reply := range []string{"NO no resources", "BAD what?"} {
		srv := imaptest.NewServer(t, nil)
		srv.Deliver(letters(3)...)
		srv.Fail("COMPRESS", reply)
		var quirks []string
		env := srv.Env()
		env.Observe = func(e connection.Event) {
			if e.Kind == connection.EventQuirk {
				quirks = append(quirks, e.Detail)
			}
		}
		c := open(t, srv.Config(), env)
		if got := bodies(t, collect(t, c, nil)); len(got) != 3 {
			t.Errorf("%s: got %d messages, want 3", reply, len(got))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if !slices.Contains(quirks, "compress-refused") {
			t.Errorf("%s: the host was told %q", reply, quirks)
		}
	}
}

// 46: what a deflate bomb blows up to meets the limits.
func TestDeflateBomb(t *testing.T) {
	const size = 64 << 20
	for name, bomb := range map[string]string{
		"an endless line": "* OK " + strings.Repeat("a", size),
		"a deep list":     "* 1 FETCH (BODYSTRUCTURE " + strings.Repeat("(", size),
		"an endless name": `* LIST () "/" "` + strings.Repeat("a", size),
	} {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Repeat: true, Lenient: true}, imaptest.Script{
				imaptest.Welcome("IMAP4rev1 COMPRESS=DEFLATE"), imaptest.Compress(),
				imaptest.Expect("EXAMINE"), imaptest.SendRaw(bomb), imaptest.Stall(),
			})
			_, err := open(t, srv.Config(), srv.Env()).Test(t.Context(), nil)
			if !errors.Is(err, connection.ErrProtocol) {
				t.Errorf("got %v, want ErrProtocol", err)
			}
		})
	}
}

func TestCompressedRubbish(t *testing.T) {
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Lenient: true}, imaptest.Script{
		imaptest.Welcome("IMAP4rev1 COMPRESS=DEFLATE"), imaptest.Expect("COMPRESS"),
		imaptest.Send("$TAG OK but not really"), imaptest.Read(1), imaptest.Send("* OK this is no DEFLATE, and never was"), imaptest.Stall(),
	})
	_, err := open(t, srv.Config(), srv.Env()).Test(t.Context(), nil)
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrProtocol || !strings.HasPrefix(e.Hint, "compress: ") {
		t.Errorf("got %v, want ErrProtocol with a hint at the setting", err)
	}
}

func TestCompressReport(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	report, err := open(t, srv.Config(), srv.Env()).Test(t.Context(), nil)
	if err != nil || !strings.Contains(report.String(), "DEFLATE in both directions") {
		t.Errorf("got %v\n%s", err, report)
	}
}

func TestCompressDovecot(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Compress: true})
	for _, mode := range []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeInsecure} {
		t.Run(string(mode), func(t *testing.T) {
			cfg := dovecotConfig(srv, mode)
			cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 0
			want := letters(120)
			srv.Deliver(srv.User, want...)
			c := open(t, cfg, nil)
			report, err := c.Test(t.Context(), nil)
			if err != nil || !strings.Contains(report.String(), "DEFLATE in both directions") {
				t.Fatalf("not compressed: %v\n%s", err, report)
			}
			all := collect(t, c, nil)
			if got := bodies(t, all); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(texts(want)))) {
				t.Errorf("got %d messages that are not those delivered", len(got))
			}
			if err := errors.Join(c.Delete(t.Context(), refsOf(all)...), c.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCompressSettings(t *testing.T) {
	for _, test := range []struct{ compress, id, want string }{
		{"", "", ""},
		{"auto", "before-login", ""},
		{"off", "off", ""},
		{"yes", "", `compress: "yes": want auto or off`},
		{"", "always", `send_id: "always": want auto, before-login or off`},
	} {
		cfg := imapclient.Config{Username: "u", Password: connection.NewSecret("p"), Compress: test.compress, SendID: test.id}
		cfg.Server = "mail.example.org"
		err := cfg.Validate()
		if got := errorText(err); got != test.want {
			t.Errorf("%q, %q: got %q, want %q", test.compress, test.id, got, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestSendID: who wants to know what the client is, is told before the login, and nothing of the user.
func TestSendID(t *testing.T) {
	for _, test := range []struct {
		setting string
		without []string
		reply   string
		want    int
	}{
		{"", nil, "", 0},
		{imapclient.IDOff, nil, "", 0},
		{imapclient.IDBeforeLogin, nil, "", 1},
		{imapclient.IDBeforeLogin, []string{"ID"}, "", 1}, // answered BAD, which means nothing
		{imapclient.IDBeforeLogin, nil, "NO no", 1},
		{imapclient.IDBeforeLogin, nil, "* ID (\"name\" NIL)\nOK done", 1},
	} {
		srv := imaptest.NewServer(t, &imaptest.Options{Without: test.without, Mode: connection.ModeSTARTTLS})
		srv.Deliver(letters(1)...)
		if test.reply != "" {
			srv.Fail("ID", test.reply)
		}
		cfg := srv.Config()
		cfg.SendID, cfg.NoDataTimeout = test.setting, connection.Duration(20*time.Second)
		if got := bodies(t, collect(t, open(t, cfg, srv.Env()), nil)); len(got) != 1 {
			t.Errorf("%+v: got %d messages, want 1", test, len(got))
		}
		sent := srv.Transcript("ID")
		if len(sent) != test.want {
			t.Errorf("%+v: got ID %d times", test, len(sent))
		}
		for _, c := range sent {
			if strings.Contains(c.Args, cfg.Username) || !strings.Contains(c.Args, `"name" "mailconn"`) {
				t.Errorf("%+v: got ID %s", test, c.Args)
			}
		}
		all := srv.Transcript("ID", "AUTHENTICATE")
		if len(all) != test.want+1 || all[len(all)-1].Name != "AUTHENTICATE" {
			t.Errorf("%+v: got %v, want ID before the login", test, all)
		}
	}
}

// A message of 2 MiB comes and goes through compression as it is.
func TestCompressLarge(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	raw := []byte(text(2 << 20))
	c := open(t, srv.Config(), nil)
	if _, err := c.Append(t.Context(), "INBOX", bytes.NewReader(raw), nil); err != nil {
		t.Fatal(err)
	}
	if all := srv.Messages(); len(all) != 1 || !bytes.Equal(all[0].Raw, raw) {
		t.Errorf("the server has %d messages, or another one", len(all))
	}
	wantBodies(t, bodies(t, collect(t, c, nil)), string(raw))
	if n := len(srv.Transcript("COMPRESS")); n == 0 {
		t.Error("nothing was compressed")
	}
}
