package imapclient_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// 37, 39: whatever a server, or somebody on the path, does to a connection: in each mode no credential goes out in the
// clear, nothing that was injected is believed, nothing is deleted, and it ends soon, in an error of a kind.
func TestHostileServers(t *testing.T) {
	const (
		hello    = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] hello"
		stripped = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello"
		secured  = "mailconn"
	)
	silent := imaptest.Stall()
	starttls := imaptest.Expect("STARTTLS")
	modes := []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable, connection.ModeInsecure}
	clear := modes[1:]
	upgrading := modes[1:3]
	for _, test := range []struct {
		name   string
		modes  []connection.Mode
		script imaptest.Script
		kinds  []connection.Kind // any of them
	}{
		{"no greeting", modes, imaptest.Script{silent}, []connection.Kind{connection.ErrTimeout}},
		{"cut before the greeting", modes, imaptest.Script{imaptest.Cut()}, []connection.Kind{connection.ErrNetwork}},
		{"half a greeting", modes, imaptest.Script{imaptest.SendRaw("* OK [CAPAB"), silent}, []connection.Kind{connection.ErrTimeout}},
		{"an endless greeting", modes, imaptest.Script{imaptest.SendRaw(strings.Repeat("* OK hello ", 10_000)), silent}, []connection.Kind{connection.ErrProtocol}},
		{"another protocol", modes, imaptest.Script{imaptest.Send("220 mail ESMTP"), silent}, []connection.Kind{connection.ErrProtocol}},
		{"BYE", modes, imaptest.Script{imaptest.Send("* BYE go away"), silent}, []connection.Kind{connection.ErrUnavailable}},
		{"two greetings", clear, imaptest.Script{imaptest.Send(stripped, stripped), silent}, []connection.Kind{connection.ErrTLS, connection.ErrTimeout}},
		{"a tagged greeting", modes, imaptest.Script{imaptest.Send("P1 OK hello"), silent}, []connection.Kind{connection.ErrProtocol}},
		{"PREAUTH", upgrading, imaptest.Script{imaptest.Send("* PREAUTH [CAPABILITY IMAP4rev1] come in"), silent}, []connection.Kind{connection.ErrTLS}},
		{"STARTTLS stripped", clear, imaptest.Script{imaptest.Send(stripped), silent}, []connection.Kind{connection.ErrTLS}},
		{"STARTTLS in another word", clear, imaptest.Script{imaptest.Send("* OK [CAPABILITY IMAP4rev1 STARTTLSX AUTH=PLAIN] hello"), silent}, []connection.Kind{connection.ErrTLS}},
		{"STARTTLS refused", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("$TAG NO not now"), silent}, []connection.Kind{connection.ErrTLS}},
		{"STARTTLS unknown", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("$TAG BAD what?"), silent}, []connection.Kind{connection.ErrTLS}},
		{"STARTTLS and silence", upgrading, imaptest.Script{imaptest.Send(hello), starttls, silent}, []connection.Kind{connection.ErrTimeout}},
		{"STARTTLS, OK and silence", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("$TAG OK go"), silent}, []connection.Kind{connection.ErrTimeout}},
		{"STARTTLS, OK and a cut", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("$TAG OK go"), imaptest.Cut()}, []connection.Kind{connection.ErrNetwork, connection.ErrTLS}},
		{"STARTTLS, OK and no TLS", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("$TAG OK go"), imaptest.Read(8), imaptest.Send("* OK what is this?"), silent}, []connection.Kind{connection.ErrTLS}},
		{"STARTTLS answered with a wrong tag", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("X9 OK go"), silent}, []connection.Kind{connection.ErrProtocol}},
		{"STARTTLS answered with a continuation", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("+ go"), silent}, []connection.Kind{connection.ErrProtocol}},
		{"STARTTLS answered with PREAUTH", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("$TAG PREAUTH go"), silent}, []connection.Kind{connection.ErrProtocol}},
		{"injected with the OK", upgrading, imaptest.Script{imaptest.Send(hello), imaptest.StartTLS("* PREAUTH [CAPABILITY IMAP4rev1] " + secured), silent}, []connection.Kind{connection.ErrTLS}},
		{"injected login with the OK", upgrading, imaptest.Script{imaptest.Send(hello), imaptest.StartTLS("P2 OK [CAPABILITY IMAP4rev1 AUTH=EVIL] logged in"), silent}, []connection.Kind{connection.ErrTLS}},
		{"injected before the OK", upgrading, imaptest.Script{
			imaptest.Send(hello), starttls, imaptest.Send("* CAPABILITY IMAP4rev1 AUTH=EVIL", "P2 OK you are in", "$TAG OK go"), silent,
		}, []connection.Kind{connection.ErrProtocol}},
		{"an endless answer", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.SendRaw(strings.Repeat("* OK wait\r\n", 1000)), silent}, []connection.Kind{connection.ErrProtocol}},
		{"BYE instead of TLS", upgrading, imaptest.Script{imaptest.Send(hello), starttls, imaptest.Send("* BYE later"), imaptest.Cut()}, []connection.Kind{connection.ErrUnavailable}},
		{"another server to go to", clear, imaptest.Script{imaptest.Send("* BYE [REFERRAL imap://evil.example.org/] go there"), silent}, []connection.Kind{connection.ErrUnavailable}},
	} {
		for _, mode := range test.modes {
			t.Run(test.name+", "+string(mode), func(t *testing.T) {
				srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: mode, Lenient: true, Repeat: true}, test.script)
				cfg := emptying(srv.Config())
				cfg.AllowPlaintextAuth = false
				cfg.NoDataTimeout = connection.Duration(time.Second)
				cfg.ConnectTimeout = connection.Duration(10 * time.Second)
				began := time.Now()
				c := open(t, cfg, srv.Env())
				_, err := c.Test(t.Context(), nil)
				var kind connection.Kind
				if kind = connection.KindOf(err); !slices.Contains(test.kinds, kind) {
					t.Errorf("got %v, want %v", err, test.kinds)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
				if sent := srv.Transcript("LOGIN", "AUTHENTICATE"); len(sent) != 0 {
					t.Errorf("sent %v", sent)
				}
				for _, c := range srv.Transcript() {
					if strings.Contains(c.Args, cfg.Username) {
						t.Errorf("the user name went out: %v", c)
					}
				}
			})
		}
	}
	noGoroutines(t)
}
