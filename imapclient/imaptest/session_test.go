package imaptest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func TestCapabilities(t *testing.T) {
	const all = "LITERAL+ SASL-IR ID ENABLE IDLE"
	const in = " NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN SPECIAL-USE LIST-EXTENDED LIST-STATUS CONDSTORE COMPRESS=DEFLATE"
	for _, c := range []struct {
		name          string
		opts          imaptest.Options
		before, after string
	}{
		{"tls", imaptest.Options{}, all + " AUTH=PLAIN", all + in},
		{"starttls", imaptest.Options{Mode: connection.ModeSTARTTLS}, all + " STARTTLS AUTH=PLAIN", all + in},
		{"insecure", imaptest.Options{Mode: connection.ModeInsecure}, all + " AUTH=PLAIN", all + in},
		{"without", imaptest.Options{Without: []string{"IDLE", "uidplus", "LITERAL+", "condstore", "COMPRESS=DEFLATE", "LIST-STATUS", "LIST-EXTENDED"}, Advertise: []string{"X-ODD"}}, "SASL-IR ID ENABLE AUTH=PLAIN X-ODD", "SASL-IR ID ENABLE NAMESPACE MOVE UNSELECT CHILDREN SPECIAL-USE X-ODD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &c.opts)
			p := dial(t, srv.Config())
			if got, want := p.line(), "* OK [CAPABILITY IMAP4rev1 "+c.before+"] imaptest ready"; got != want {
				t.Errorf("got greeting %q, want %q", got, want)
			}
			p.want("CAPABILITY", "* CAPABILITY IMAP4rev1 "+c.before+"\r\n", "OK")
			p.want(fmt.Sprintf("LOGIN %s %q", imaptest.DefaultUsername, imaptest.DefaultPassword), "", "OK [CAPABILITY IMAP4rev1 "+c.after+"] ")
			p.want("capability", "* CAPABILITY IMAP4rev1 "+c.after+"\r\n", "OK")
		})
	}
	if _, err := imaptest.Listen(&imaptest.Options{Without: []string{"UIDPLSU"}}); err == nil || !strings.Contains(err.Error(), "UIDPLUS") {
		t.Errorf("a capability that is none: got %v, want an error that lists them", err)
	}
}

// TestWithout has, for each capability, a command that it brings and that must be gone without it.
func TestWithout(t *testing.T) {
	commands := map[string]string{
		"IDLE": "IDLE", "ID": "ID NIL", "ENABLE": "ENABLE X", "NAMESPACE": "NAMESPACE", "MOVE": "UID MOVE 1 INBOX",
		"COMPRESS=DEFLATE": "COMPRESS DEFLATE", "CONDSTORE": "SELECT INBOX (CONDSTORE)", "LIST-STATUS": `LIST "" * RETURN (STATUS (MESSAGES))`,
		"LIST-EXTENDED": `LIST (SUBSCRIBED) "" *`, "UNSELECT": "UNSELECT", "UIDPLUS": "UID EXPUNGE 1", "SASL-IR": "AUTHENTICATE PLAIN " + plainBlob("", imaptest.DefaultUsername, imaptest.DefaultPassword),
	}
	for name, command := range commands {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure, Without: []string{name}})
			p := dial(t, srv.Config())
			p.line()
			if name != "SASL-IR" {
				p = login(t, srv)
				p.ok("SELECT INBOX")
			}
			p.want(command, "", "BAD")
		})
	}
	t.Run("LITERAL+", func(t *testing.T) {
		p := login(t, imaptest.NewServer(t, &imaptest.Options{Without: []string{"LITERAL+"}}))
		p.send("a SELECT {5+}\r\nINBOX\r\n")
		if got := p.line(); !strings.HasPrefix(got, "* BYE") {
			t.Errorf("got %q, want BYE", got)
		}
		p.gone()
	})
	t.Run("codes", func(t *testing.T) {
		_, p := inBox(t, &imaptest.Options{Without: []string{"UIDPLUS"}}, small)
		p.want("COPY 1 INBOX", "* 2 EXISTS\r\n* 0 RECENT\r\n", "OK copied")
	})
	t.Run("attributes", func(t *testing.T) {
		_, p := inBox(t, &imaptest.Options{Without: []string{"SPECIAL-USE", "CHILDREN"}, Folders: []imaptest.Folder{{Name: "Bin", Attributes: []string{`\Trash`}}}})
		p.want(`LIST "" Bin`, `* LIST () "/" "Bin"`+"\r\n", "OK")
	})
}

func plainBlob(authorize, username, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(authorize + "\x00" + username + "\x00" + password))
}

func TestLogin(t *testing.T) {
	opts := imaptest.Options{Mode: connection.ModeInsecure, Username: `a "b" \c`, Password: "pä{3}ss wörd"}
	good := plainBlob("", opts.Username, opts.Password)
	for _, c := range []struct{ name, send, want string }{
		{"non-synchronizing literals", fmt.Sprintf("a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n", len(opts.Username), opts.Username, len(opts.Password), opts.Password), "a OK"},
		{"quoted", `a LOGIN "a \"b\" \\c" "pä{3}ss wörd"` + "\r\n", "a OK"},
		{"wrong password", `a LOGIN "a \"b\" \\c" wrong` + "\r\n", "a NO [AUTHENTICATIONFAILED]"},
		{"wrong user", "a LOGIN b \"pä{3}ss wörd\"\r\n", "a NO [AUTHENTICATIONFAILED]"},
		{"no password", "a LOGIN b\r\n", "a BAD"},
		{"too much", "a LOGIN b c d\r\n", "a BAD"},
		{"bad escape", `a LOGIN "\x" c` + "\r\n", "a BAD"},
		{"open quote", `a LOGIN "b c` + "\r\n", "a BAD"},
		{"plain", "a AUTHENTICATE plain " + good + "\r\n", "a OK"},
		{"plain in two steps", "a AUTHENTICATE PLAIN\r\n" + good + "\r\n", "+ "},
		{"plain for oneself", "a AUTHENTICATE PLAIN " + plainBlob(opts.Username, opts.Username, opts.Password) + "\r\n", "a OK"},
		{"plain for another", "a AUTHENTICATE PLAIN " + plainBlob("x", opts.Username, opts.Password) + "\r\n", "a NO [AUTHORIZATIONFAILED]"},
		{"plain, wrong", "a AUTHENTICATE PLAIN " + plainBlob("", opts.Username, "wrong") + "\r\n", "a NO [AUTHENTICATIONFAILED]"},
		{"two parts", "a AUTHENTICATE PLAIN AGFh\r\n", "a BAD"},
		{"no base64", "a AUTHENTICATE PLAIN !!\r\n", "a BAD"},
		{"cancelled", "a AUTHENTICATE PLAIN *\r\n", "a BAD"},
		{"unknown mechanism", "a AUTHENTICATE FOO\r\n", "a NO"},
		{"before login", "a SELECT INBOX\r\n", "a BAD"},
		{"unknown", "a FOO\r\n", "a BAD"},
		{"UID of what has none", "a UID NOOP\r\n", "a BAD"},
		{"no command", "a\r\n", "a BAD"},
		{"empty line", "\r\n", "* BAD"},
		{"bare LF", "a NOOP\n", "a OK"},
		{"STARTTLS without TLS", "a STARTTLS\r\n", "a BAD"},
		{"NUL", "a NO\x00OP\r\n", "* BYE"},
		{"long line", "a " + strings.Repeat("x", 9000) + "\r\n", "* BYE"},
		{"large literal", "a LOGIN {2000}\r\n", "a BAD"},
		{"large non-synchronizing literal", "a LOGIN {2000+}\r\n", "* BYE"},
		{"huge number", "a LOGIN {99999999999999999999}\r\n", "a BAD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &opts)
			p := dial(t, srv.Config())
			p.line()
			p.send(c.send)
			got := p.line()
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.want == "+ " {
				if got := p.line(); !strings.HasPrefix(got, "a OK") {
					t.Errorf("after the response: got %q", got)
				}
			}
			for _, command := range srv.Transcript() {
				if s := command.String(); strings.Contains(s, opts.Password) || strings.Contains(s, good) {
					t.Errorf("the transcript shows the password: %s", s)
				}
			}
		})
	}
}

func TestLoginDisabled(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeSTARTTLS, LoginDisabled: true})
	p := dial(t, srv.Config())
	if got := p.line(); !strings.Contains(got, "LOGINDISABLED") || strings.Contains(got, "AUTH=PLAIN") {
		t.Errorf("got greeting %q", got)
	}
	good := fmt.Sprintf("LOGIN %s %q", imaptest.DefaultUsername, imaptest.DefaultPassword)
	p.want(good, "", "NO [PRIVACYREQUIRED]")
	p.want("AUTHENTICATE PLAIN", "", "NO [PRIVACYREQUIRED]")
	p.ok("STARTTLS")
	p.secure(srv.Config())
	if got := p.ok("CAPABILITY"); strings.Contains(got, "LOGINDISABLED") || strings.Contains(got, "STARTTLS") || !strings.Contains(got, "AUTH=PLAIN") {
		t.Errorf("after STARTTLS: got %q", got)
	}
	p.want("STARTTLS", "", "BAD")
	p.ok(good)
}

// TestStartTLSInjection pipelines a command behind STARTTLS: it must not be obeyed under TLS.
func TestStartTLSInjection(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeSTARTTLS})
	p := dial(t, srv.Config())
	p.line()
	p.send("a STARTTLS\r\nb NOOP\r\n")
	if _, got := p.until("a"); !strings.HasPrefix(got, "BAD") {
		t.Errorf("got %q, want BAD", got)
	}
}

func TestMaxSessions(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure, MaxSessions: 1})
	first := login(t, srv)
	second := dial(t, srv.Config())
	second.line()
	good := fmt.Sprintf("LOGIN %s %q", imaptest.DefaultUsername, imaptest.DefaultPassword)
	second.want(good, "", "NO [LIMIT]")
	first.want("LOGOUT", "* BYE see you\r\n", "OK")
	first.gone()
	poll(t, "the free place", func() bool {
		_, reply := second.do(good)
		return strings.HasPrefix(reply, "OK")
	})
}

func TestTooManyBad(t *testing.T) {
	_, p := inBox(t, nil)
	for range 19 {
		p.want("FOO", "", "BAD")
	}
	p.ok("NOOP") // begins the count anew
	for range 19 {
		p.want("FOO", "", "BAD")
	}
	p.send("z FOO\r\n")
	if got := p.line(); !strings.HasPrefix(got, "z BAD") {
		t.Errorf("got %q", got)
	}
	if got := p.line(); !strings.HasPrefix(got, "* BYE too many") {
		t.Errorf("got %q", got)
	}
	p.gone()
}

func TestSmallCommands(t *testing.T) {
	_, p := inBox(t, nil)
	for _, c := range []struct{ command, untagged, reply string }{
		{"NOOP", "", "OK"},
		{"CHECK", "", "OK"},
		{"NOOP x", "", "BAD"},
		{`ID ("name" "test" "version" NIL)`, "* ID (\"name\" \"imaptest\")\r\n", "OK"},
		{"ID NIL", "* ID (\"name\" \"imaptest\")\r\n", "OK"},
		{"ID 5", "", "BAD"},
		{"ENABLE X", "* ENABLED\r\n", "OK"},
		{"ENABLE CONDSTORE X", "* ENABLED CONDSTORE\r\n* OK [HIGHESTMODSEQ 1] the highest\r\n", "OK"},
		{"ENABLE", "", "BAD"},
		{"NAMESPACE", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n", "OK"},
		{"LOGIN a b", "", "BAD"},
		{"UNSELECT", "", "OK"},
		{"FETCH 1 UID", "", "BAD"},
		{"EXPUNGE", "", "BAD"},
	} {
		p.want(c.command, c.untagged, c.reply)
	}
}

func TestConfig(t *testing.T) {
	for _, mode := range []connection.Mode{"", connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable, connection.ModeInsecure} {
		srv := imaptest.NewServer(t, &imaptest.Options{Mode: mode})
		cfg := srv.Config()
		if err := cfg.Validate(); err != nil {
			t.Errorf("%q: %v", mode, err)
		}
		if cfg.Server != srv.Addr() || cfg.Mode != mode.Or() || cfg.Password.Reveal() != imaptest.DefaultPassword {
			t.Errorf("%q: got %+v", mode, cfg)
		}
		if want := mode != connection.ModeInsecure; (cfg.CAPEM != "") != want || (srv.Env().TLS != nil) != want {
			t.Errorf("%q: got a certificate %t, in Env %t", mode, cfg.CAPEM != "", srv.Env().TLS != nil)
		}
		s := srv.Settings()
		var fields map[string]any
		if err := json.Unmarshal(s.Config, &fields); err != nil {
			t.Fatal(err)
		}
		if s.Driver != "imap" || fields["server"] != srv.Addr() || fields["password"] != imaptest.DefaultPassword || fields["mode"] != string(mode.Or()) {
			t.Errorf("%q: got settings %s of driver %q", mode, s.Config, s.Driver)
		}
	}
}

func TestExpiredCertificate(t *testing.T) {
	cert, err := imaptest.NewCertificate(time.Now().Add(-time.Hour), "mail.example.org", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cert.Leaf.DNSNames, []string{"mail.example.org"}) || len(cert.Leaf.IPAddresses) != 1 || time.Since(cert.Leaf.NotAfter) < time.Hour {
		t.Errorf("got %v, %v, until %v", cert.Leaf.DNSNames, cert.Leaf.IPAddresses, cert.Leaf.NotAfter)
	}
}
