package smtpclient_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// Edge cases 1 and 2: what EHLO may look like.
func TestEHLOInManyForms(t *testing.T) {
	for name, quirks := range map[string]smtptest.Quirks{
		"lower case":       {LowerCase: true},
		"AUTH=":            {OldAuth: true},
		"empty last line":  {EmptyLine: true},
		"SIZE without one": {NoSizeValue: true},
		"all of it":        {LowerCase: true, OldAuth: true, EmptyLine: true, NoSizeValue: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeTLSWhenAvailable, Quirks: quirks, Advertise: []string{"XUNKNOWN a=b", "PIPELINING"}})
			cfg := srv.Config()
			cfg.Mode = connection.ModeTLSWhenAvailable
			c := open(t, cfg, nil)
			mustSend(t, c, toBob, letter)
			if got := srv.Commands("STARTTLS", "AUTH"); names(got) != "STARTTLS AUTH" {
				t.Errorf("got commands %v, want STARTTLS and AUTH", got)
			}
			if m := srv.Messages()[0]; m.Path != "BDAT" || m.Params["SIZE"] != strconv.Itoa(len(letter)) {
				t.Errorf("got path %s and parameters %v, want BDAT and the size", m.Path, m.Params)
			}
		})
	}
}

func TestAUTHWithoutMechanisms(t *testing.T) {
	srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Advertise = []string{"AUTH", "AUTH="} })
	mustSend(t, open(t, cfg, nil), toBob, letter)
	wantArrived(t, srv, letter)
}

// Dovecot tells its limit only after the login.
func TestSizeAfterLogin(t *testing.T) {
	srv := smtptest.NewServer(t, &smtptest.Options{MaxSize: 50, Quirks: smtptest.Quirks{NoSizeValue: true}})
	_, err := send(t, open(t, srv.Config(), nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrTooLarge)
	if got := srv.Commands("MAIL"); len(got) > 0 {
		t.Errorf("got %v, want no MAIL", got)
	}
}

func TestHELOWhereEHLOIsUnknown(t *testing.T) {
	srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = []string{"EHLO"} })
	mustSend(t, open(t, cfg, nil), toBob, letter)
	wantArrived(t, srv, letter)

	srv = smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeSTARTTLS, Without: []string{"EHLO"}})
	_, err := send(t, open(t, srv.Config(), nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrTLS)
}

// Edge case 3 and the family of imap.md 37.
func TestSTARTTLSTampering(t *testing.T) {
	hello := []smtptest.Step{smtptest.Send("220 hello"), smtptest.Expect("EHLO"), smtptest.Send("250-hi", "250 STARTTLS"), smtptest.Expect("STARTTLS")}
	for name, tt := range map[string]struct {
		mode  connection.Mode
		steps []smtptest.Step
		kind  connection.Kind
		text  string
	}{
		"injected with the consent": {connection.ModeSTARTTLS, append(hello[:4:4], smtptest.SendRaw("220 go\r\n250 injected\r\n"), smtptest.Stall()), connection.ErrTLS, "injected"},
		"refused":                   {connection.ModeTLSWhenAvailable, append(hello[:4:4], smtptest.Send("454 4.7.0 not now")), connection.ErrTLS, "refused"},
		"refused for good":          {connection.ModeSTARTTLS, append(hello[:4:4], smtptest.Send("502 5.5.1 no")), connection.ErrTLS, "refused"},
		"no TLS behind the consent": {connection.ModeTLSWhenAvailable, append(hello[:4:4], smtptest.Send("220 go"), smtptest.Stall()), connection.ErrTimeout, ""},
		"stripped":                  {connection.ModeSTARTTLS, []smtptest.Step{smtptest.Send("220 hello"), smtptest.Expect("EHLO"), smtptest.Send("250-hi", "250 SIZE")}, connection.ErrTLS, "offers no STARTTLS"},
		"closed behind the consent": {connection.ModeSTARTTLS, append(hello[:4:4], smtptest.Send("220 go"), smtptest.Cut()), connection.ErrNetwork, ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: tt.mode}, tt.steps)
			cfg := srv.Config()
			cfg.NoDataTimeout = connection.Duration(time.Second)
			cfg.Username, cfg.Password, cfg.AllowPlaintextAuth = "ann", connection.NewSecret("hidden password"), true
			_, err := send(t, open(t, cfg, nil), toBob, letter)
			_ = wantKind(t, err, tt.kind, tt.text)
			if got := srv.Commands("AUTH", "MAIL"); len(got) > 0 {
				t.Errorf("got %v without TLS", got)
			}
		})
	}
}

// What was offered before TLS is forgotten.
func TestCapabilitiesChangeWithTLS(t *testing.T) {
	srv := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeSTARTTLS}, smtptest.Script{
		smtptest.Send("220 hello"), smtptest.Expect("EHLO"), smtptest.Send("250-hi", "250-CHUNKING", "250-PIPELINING", "250 STARTTLS"),
		smtptest.Expect("STARTTLS"), smtptest.Send("220 go"), smtptest.StartTLS(),
		smtptest.Expect("EHLO"), smtptest.Send("250 hi"),
		smtptest.Expect("MAIL FROM:<ann@example.org>"), smtptest.Send("250 ok"),
		smtptest.Expect("RCPT"), smtptest.Send("250 ok"),
		smtptest.Expect("DATA"), smtptest.Send("354 go"), smtptest.Take(nil), smtptest.Send("250 ok"),
	})
	mustSend(t, open(t, srv.Config(), nil), toBob, letter)
}

// Once seen, STARTTLS must be offered for good.
func TestSTARTTLSMissingLater(t *testing.T) {
	secure := smtptest.Script{
		smtptest.Send("220 hello"), smtptest.Expect("EHLO"), smtptest.Send("250-hi", "250 STARTTLS"),
		smtptest.Expect("STARTTLS"), smtptest.Send("220 go"), smtptest.StartTLS(),
		smtptest.Expect("EHLO"), smtptest.Send("250 hi"), smtptest.Expect("MAIL"), smtptest.Send("421 4.3.2 later"),
	}
	stripped := smtptest.Script{smtptest.Send("220 hello"), smtptest.Expect("EHLO"), smtptest.Send("250 hi")}
	srv := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeSTARTTLS}, secure, stripped)
	cfg := srv.Config()
	cfg.Mode = connection.ModeTLSWhenAvailable
	c := open(t, cfg, nil)
	_, err := send(t, c, toBob, letter)
	_ = wantKind(t, err, connection.ErrThrottled)
	_, err = send(t, c, toBob, letter)
	_ = wantKind(t, err, connection.ErrTLS, "used to offer STARTTLS")
}

// Edge cases 22 and 23: replies and greetings that are none.
func TestRepliesThatAreNone(t *testing.T) {
	long := strings.Repeat("250-x\r\n", 10_000)
	for name, tt := range map[string]struct {
		steps []smtptest.Step
		kind  connection.Kind
		text  string
	}{
		"greeting 554":          {[]smtptest.Step{smtptest.Send("554 5.7.1 go away")}, connection.ErrPermission, "go away"},
		"greeting 421":          {[]smtptest.Step{smtptest.Send("421 4.7.0 too many connections, try again in 30 seconds")}, connection.ErrThrottled, "too many"},
		"greeting of IMAP":      {[]smtptest.Step{smtptest.Send("* OK IMAP4rev1")}, connection.ErrProtocol, "IMAP server"},
		"greeting of POP3":      {[]smtptest.Step{smtptest.Send("+OK POP3")}, connection.ErrProtocol, "POP3 server"},
		"greeting of HTTP":      {[]smtptest.Step{smtptest.Send("HTTP/1.1 400 Bad Request")}, connection.ErrProtocol, "web server"},
		"greeting of SSH":       {[]smtptest.Step{smtptest.Send("SSH-2.0-OpenSSH_9.2")}, connection.ErrProtocol, "SSH server"},
		"greeting absent":       {[]smtptest.Step{smtptest.Stall()}, connection.ErrTimeout, "mode: "},
		"greeting cut":          {[]smtptest.Step{smtptest.SendRaw("220 hel"), smtptest.Cut()}, connection.ErrNetwork, "220 hel"},
		"greeting changes":      {[]smtptest.Step{smtptest.Send("220-hello", "250 there")}, connection.ErrProtocol, "changes its code"},
		"EHLO of 10,000 lines":  {[]smtptest.Step{smtptest.Send("220 hi"), smtptest.Expect("EHLO"), smtptest.SendRaw(long), smtptest.Stall()}, connection.ErrProtocol, "over 128 lines"},
		"EHLO of a MiB":         {[]smtptest.Step{smtptest.Send("220 hi"), smtptest.Expect("EHLO"), smtptest.SendRaw("250 " + strings.Repeat("x", 1<<20)), smtptest.Stall()}, connection.ErrProtocol, "over 4096 octets"},
		"EHLO without a number": {[]smtptest.Step{smtptest.Send("220 hi"), smtptest.Expect("EHLO"), smtptest.Send("hello yourself"), smtptest.Stall()}, connection.ErrProtocol, "hello yourself"},
		"EHLO refused":          {[]smtptest.Step{smtptest.Send("220 hi"), smtptest.Expect("EHLO"), smtptest.Send("550 5.7.1 bad name")}, connection.ErrPermission, "ehlo_name"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeInsecure}, tt.steps)
			cfg := srv.Config()
			cfg.NoDataTimeout = connection.Duration(time.Second)
			c := open(t, cfg, nil)
			report, err := c.Test(t.Context(), nil)
			_ = wantKind(t, err, tt.kind, tt.text)
			if report.OK() {
				t.Errorf("the report says that all is well:\n%s", report)
			}
		})
	}
}

func TestGreetingOfSeveralLinesAndDrops(t *testing.T) {
	_, cfg := plainServer(t, func(o *smtptest.Options) { o.MaxWrite = 1 })
	mustSend(t, open(t, cfg, nil), toBob, letter)
	script := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeInsecure}, smtptest.Script{
		smtptest.Send("220-hello", "220-there", "220 you"), smtptest.Expect("EHLO"), smtptest.Send("250"),
		smtptest.Expect("MAIL"), smtptest.Send("250-2.1.0 fine", "250 2.1.0 indeed"), smtptest.Expect("RCPT"), smtptest.Send("251 will forward"),
		smtptest.Expect("DATA"), smtptest.Send("354"), smtptest.Take(nil), smtptest.Send("250-2.0.0 well", "250 2.0.0 done"),
	})
	if r := mustSend(t, open(t, script.Config(), nil), toBob, letter); r.Reply != "250 2.0.0 well done" {
		t.Errorf("got reply %q", r.Reply)
	}
}

// Open does no I/O, and Test names what is wrong with the settings.
func TestReportOfAServerThatWorks(t *testing.T) {
	srv := smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeSTARTTLS, MaxSize: 1 << 20})
	cfg := srv.Config()
	cfg.FromAddress = "archive@other.example"
	report, err := open(t, cfg, nil).Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	want := map[string]connection.Status{
		"resolve": "ok", "connect": "ok", "greeting": "ok", "tls": "ok", "capabilities": "warned", "auth": "ok", "open": "warned", "write": "skipped", "remove": "skipped",
	}
	for _, s := range report.Steps {
		if s.Status != want[s.Name] {
			t.Errorf("step %s: got %s, want %s", s.Name, s.Status, want[s.Name])
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing steps: %v", want)
	}
	if len(srv.Messages()) > 0 || names(srv.Commands("MAIL", "RSET", "RCPT")) != "MAIL RSET" {
		t.Errorf("got commands %v", srv.Commands())
	}
}

func TestContextEndsTheDial(t *testing.T) {
	srv := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeInsecure}, smtptest.Script{smtptest.Stall()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := open(t, srv.Config(), nil).Send(ctx, toBob, strings.NewReader(letter), nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := smtpclient.Config{FromAddress: ann, NetworkSettings: connection.NetworkSettings{Server: "mail.example.org"}}
	for want, change := range map[string]func(*smtpclient.Config){
		"server: missing":                     func(c *smtpclient.Config) { c.Server = "" },
		"from_address: missing":               func(c *smtpclient.Config) { c.FromAddress = "" },
		"from_address: not an address":        func(c *smtpclient.Config) { c.FromAddress = "ann" },
		"username: missing (password is set)": func(c *smtpclient.Config) { c.Password = connection.NewSecret("x") },
		"password, oauth2: give only one": func(c *smtpclient.Config) {
			c.Username, c.Password, c.OAuth2 = "ann", connection.NewSecret("x"), &smtpclient.OAuth2{Tenant: "t", ClientID: "c", ClientSecret: connection.NewSecret("s")}
		},
		"username: missing (oauth2 is set)": func(c *smtpclient.Config) {
			c.OAuth2 = &smtpclient.OAuth2{Tenant: "t", ClientID: "c", ClientSecret: connection.NewSecret("s")}
		},
		"oauth2: client_id: missing":            func(c *smtpclient.Config) { c.Username, c.OAuth2 = "ann", &smtpclient.OAuth2{Tenant: "t"} },
		"send_strategy: \"new\": want new-mess": func(c *smtpclient.Config) { c.SendStrategy = "new" },
		"ehlo_name: space not allowed":          func(c *smtpclient.Config) { c.EHLOName = "a b" },
		"pool_size: -1":                         func(c *smtpclient.Config) { c.PoolSize = -1 },
		"dsn: notify: NEVER excludes":           func(c *smtpclient.Config) { c.DSN = &connection.DSN{Notify: []string{"never", "DELAY"}} },
		"resent: from_address is <>":            func(c *smtpclient.Config) { c.FromAddress, c.Resent = "<>", true },
	} {
		cfg := good
		change(&cfg)
		_, err := smtpclient.Open(cfg, nil)
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrConfig with %q", err, want)
		}
	}
	for server, want := range map[string]string{"mail.example.org": "mail.example.org:465", "mail.example.org:25": "mail.example.org:25"} {
		good.Server = server
		if got := open(t, good, nil).Info().Endpoint; got != want {
			t.Errorf("%s: got endpoint %s, want %s", server, got, want)
		}
	}
	for config, want := range map[string]string{
		`{"server":"a","from_address":"<>","pool_size":0}`:              "pool_size",
		`{"server":"a","from_address":"<>","from":"x"}`:                 "from",
		`{"server":"a","from_address":"<>","dsn":{"notify":["OFTEN"]}}`: "OFTEN",
	} {
		_, err := connection.NewRegistry(smtpclient.Driver()).Open(connection.Settings{Driver: "smtp", Config: []byte(config)}, nil)
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want ErrConfig with %q", config, err, want)
		}
	}
}

// What a server repeats of the password is not shown: here as a mechanism that this library does not know.
func TestPasswordAsAMechanism(t *testing.T) {
	const password = "C4NARY-PA55W0RD"
	srv := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeInsecure}, smtptest.Script{
		smtptest.Send("220 hi"), smtptest.Expect("EHLO"), smtptest.Send("250-you", "250 AUTH "+password+" PLAIN"),
		smtptest.Expect("AUTH PLAIN"), smtptest.Send("235 in"), smtptest.Expect("MAIL"), smtptest.Send("421 later"),
	})
	cfg := srv.Config()
	cfg.Username, cfg.Password, cfg.AllowPlaintextAuth = "juser", connection.NewSecret(password), true
	report, err := open(t, cfg, nil).Test(t.Context(), nil)
	if text := fmt.Sprint(report, err); strings.Contains(strings.ToUpper(text), password) || !strings.Contains(strings.ToLower(text), "passed over: "+connection.Redacted) {
		t.Errorf("got %s; want the mechanism passed over, and redacted", text)
	}
}
