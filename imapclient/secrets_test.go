package imapclient

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// TestServersThatRepeatThePassword: whatever a server says the password as, it is not printed. converse looks.
func TestServersThatRepeatThePassword(t *testing.T) {
	const hello = "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n"
	for _, tt := range []struct {
		name, script string
		kind         connection.Kind
	}{
		{"as a capability after login", hello + "> $ OK [CAPABILITY IMAP4rev1 UIDPLUS " + testCanary + "] in\nstall", 0},
		{"as a mechanism that is passed over", "> * OK [CAPABILITY IMAP4rev1 AUTH=" + testCanary + "] hi\n< LOGIN \n> $ OK in" + afterLogin, 0},
		{"as the only mechanism", "tls\n> * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=" + testCanary + "] hi\nstall", connection.ErrAuth},
		{"as a code", hello + "> $ NO [" + testCanary + "] no", connection.ErrAuth},
		{"in the middle of a line that is cut", hello + ">> $ NO juser " + testCanary[:len(testCanary)-1], connection.ErrNetwork},
		{"where a line is too long", hello + ">> $ NO " + strings.Repeat("x", 280) + testCanary + strings.Repeat("x", maxCapsLine), connection.ErrProtocol},
		{"where the trace ends a line", hello + "> $ NO [AUTHENTICATIONFAILED] " + strings.Repeat("x", 1024-len("P1 NO [AUTHENTICATIONFAILED] ")-len(testCanary)+1) + testCanary, connection.ErrAuth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := clear(connection.ModeInsecure)
			if strings.HasPrefix(tt.script, "tls") {
				cfg = mode(connection.ModeTLS)
			}
			d := converse(t, t.Context(), cfg, new(tlsMemory), tt.script)
			if !errors.Is(d.err, tt.kind) && (d.err != nil || tt.kind != 0) {
				t.Errorf("got %v, want %v", d.err, tt.kind)
			}
			if d.shows(testCanary[:8]) {
				t.Errorf("the password was printed: %v %+v %s", d.err, d.steps, d.log.String())
			}
		})
	}
}

// shows reports whether anything printed holds text, in any case.
func (d *dialogue) shows(text string) bool {
	printed := strings.ToLower(d.printed())
	return strings.Contains(printed, strings.ToLower(text))
}

// TestPasswordThatIsAWordOfTheProtocol: what is kept from being printed is not kept from being understood.
func TestPasswordThatIsAWordOfTheProtocol(t *testing.T) {
	for _, password := range []string{"plain", "imap4rev1", "uidplus", "ID"} {
		cfg := clear(connection.ModeInsecure)
		cfg.Password = connection.NewSecret(password)
		blob := base64.StdEncoding.EncodeToString([]byte("\x00" + testUser + "\x00" + password))
		d := converse(t, t.Context(), cfg, new(tlsMemory), "> * OK hi\n< CAPABILITY\n> * CAPABILITY IMAP4rev1 AUTH=PLAIN\n> $ OK\n< AUTHENTICATE PLAIN\n> +\n= "+blob+"\n> $ OK in"+afterLogin)
		if d.err != nil || len(d.link.caps) != 2 || d.link.caps[1] != "UIDPLUS" {
			t.Errorf("%s: got %v, want a login and the capabilities", password, d.err)
		}
	}
}
