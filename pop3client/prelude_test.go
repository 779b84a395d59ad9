package pop3client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// tested returns what Test says.
func tested(t *testing.T, cfg pop3client.Config, env *connection.Env) (*connection.Report, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return open(t, cfg, env).Test(ctx, nil)
}

func stepOf(r *connection.Report, name string) connection.Step {
	for _, s := range r.Steps {
		if s.Name == name {
			return s
		}
	}
	return connection.Step{}
}

// Exchange takes NTLM's first message behind its consent alone, which Exchange 2003 words as if all was done.
func TestBareNTLM(t *testing.T) {
	for _, quirk := range []bool{true, false} {
		for password, want := range map[string]connection.Kind{pop3test.DefaultPassword: connection.ErrUnknown, "wrong": connection.ErrAuth} {
			srv := pop3test.NewServer(t, &pop3test.Options{Mechanisms: []string{"NTLM"}, Without: []string{"USER"}, Quirks: pop3test.Quirks{BareNTLM: quirk}})
			cfg := srv.Config()
			cfg.Username, cfg.Password = `DOM\`+cfg.Username, connection.NewSecret(password)
			if r, err := tested(t, cfg, nil); connection.KindOf(err) != want {
				t.Errorf("quirk %v, password %s: got %v, want %v\n%s", quirk, password, err, want, r)
			}
		}
	}
}

// What can go wrong with STLS, and with what comes before it: never a credential in the clear.
func TestSTLS(t *testing.T) {
	capa := func(caps ...string) pop3test.Step {
		return pop3test.Do(pop3test.Expect("CAPA"), pop3test.Send(append(append([]string{"+OK", "USER", "SASL PLAIN"}, caps...), ".")...))
	}
	hello := pop3test.Send("+OK ready")
	for name, tt := range map[string]struct {
		mode   connection.Mode
		script pop3test.Script
		want   connection.Kind
		hint   string
	}{
		"injected behind the consent":    {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.StartTLS("+OK", "EVIL", ".")}, connection.ErrTLS, "on the path"},
		"injected half a line":           {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.Expect("STLS"), pop3test.SendRaw("+OK\r\n-")}, connection.ErrTLS, ""},
		"not offered":                    {connection.ModeSTARTTLS, pop3test.Script{hello, capa()}, connection.ErrTLS, "mode"},
		"not offered, when available":    {connection.ModeTLSWhenAvailable, pop3test.Script{hello, capa(), capa()}, connection.ErrTLS, "mode"},
		"offered and refused":            {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.Expect("STLS"), pop3test.Send("-ERR not now")}, connection.ErrTLS, "mode"},
		"refused, when available":        {connection.ModeTLSWhenAvailable, pop3test.Script{hello, capa("stls"), pop3test.Expect("STLS"), pop3test.Send("-ERR not now")}, connection.ErrTLS, "mode"},
		"no status":                      {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.Expect("STLS"), pop3test.Send("begin TLS")}, connection.ErrProtocol, ""},
		"a continuation":                 {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.Expect("STLS"), pop3test.Send("+ go on")}, connection.ErrProtocol, ""},
		"cut after the consent":          {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.Expect("STLS"), pop3test.Send("+OK"), pop3test.Cut()}, connection.ErrNetwork, ""},
		"silence after the consent":      {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.Expect("STLS"), pop3test.Send("+OK"), pop3test.Stall()}, connection.ErrTimeout, ""},
		"no TLS after the consent":       {connection.ModeSTARTTLS, pop3test.Script{hello, capa("STLS"), pop3test.Expect("STLS"), pop3test.SendRaw("+OK\r"), pop3test.SendRaw("\n"), pop3test.Wait(passed(50 * time.Millisecond)), pop3test.Send("+OK capabilities and more words"), pop3test.Stall()}, connection.ErrTLS, ""},
		"CAPA unknown, STLS unknown":     {connection.ModeSTARTTLS, pop3test.Script{hello, pop3test.Answer("CAPA", "-ERR what"), pop3test.Expect("STLS"), pop3test.Send("-ERR what")}, connection.ErrTLS, "mode"},
		"CAPA unknown, when available":   {connection.ModeTLSWhenAvailable, pop3test.Script{hello, pop3test.Answer("CAPA", "-ERR what"), pop3test.Expect("STLS"), pop3test.Send("-ERR what")}, connection.ErrTLS, "mode"},
		"capabilities without end":       {connection.ModeSTARTTLS, pop3test.Script{hello, pop3test.Expect("CAPA"), pop3test.Send("+OK"), pop3test.SendRaw(strings.Repeat("X\r\n", 10_000))}, connection.ErrProtocol, ""},
		"a capability line without end":  {connection.ModeSTARTTLS, pop3test.Script{hello, pop3test.Expect("CAPA"), pop3test.Send("+OK"), pop3test.SendRaw(strings.Repeat("X", 10_000))}, connection.ErrProtocol, ""},
		"greeting of IMAP":               {connection.ModeSTARTTLS, pop3test.Script{pop3test.Send("* OK ready")}, connection.ErrProtocol, "IMAP"},
		"greeting of SMTP":               {connection.ModeSTARTTLS, pop3test.Script{pop3test.Send("220 ready")}, connection.ErrProtocol, "SMTP"},
		"greeting of TLS":                {connection.ModeSTARTTLS, pop3test.Script{pop3test.SendRaw("\x15\x03\x01\x00\x02\x02\x46\r\n")}, connection.ErrProtocol, "set mode to tls"},
		"greeting refuses":               {connection.ModeSTARTTLS, pop3test.Script{pop3test.Send("-ERR too busy")}, connection.ErrUnavailable, ""},
		"greeting refuses with a code":   {connection.ModeSTARTTLS, pop3test.Script{pop3test.Send("-ERR [IN-USE] busy")}, connection.ErrThrottled, ""},
		"greeting without end":           {connection.ModeSTARTTLS, pop3test.Script{pop3test.SendRaw("+OK " + strings.Repeat("x", 20_000))}, connection.ErrProtocol, ""},
		"two greetings":                  {connection.ModeSTARTTLS, pop3test.Script{pop3test.Send("+OK one", "+OK two"), pop3test.Expect("CAPA"), pop3test.Send("-ERR no")}, connection.ErrTimeout, ""},
		"no greeting":                    {connection.ModeSTARTTLS, pop3test.Script{pop3test.Cut()}, connection.ErrNetwork, "mode"},
		"silence":                        {connection.ModeSTARTTLS, pop3test.Script{pop3test.Stall()}, connection.ErrTimeout, "mode"},
		"half a greeting, then silence":  {connection.ModeSTARTTLS, pop3test.Script{pop3test.SendRaw("+OK re"), pop3test.Stall()}, connection.ErrTimeout, "mode"},
		"half a greeting, then the end":  {connection.ModeSTARTTLS, pop3test.Script{pop3test.SendRaw("+OK re"), pop3test.Cut()}, connection.ErrNetwork, "mode"},
		"greeting of no known protocol":  {connection.ModeSTARTTLS, pop3test.Script{pop3test.Send("hello")}, connection.ErrProtocol, "POP3"},
		"insecure without a permission":  {connection.ModeInsecure, pop3test.Script{hello, capa("STLS")}, connection.ErrTLS, "allow_plaintext_auth"},
		"silence in the capability list": {connection.ModeSTARTTLS, pop3test.Script{hello, pop3test.Expect("CAPA"), pop3test.Send("+OK", "STLS"), pop3test.Stall()}, connection.ErrTimeout, ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewScript(t, &pop3test.ScriptOptions{Mode: connection.ModeSTARTTLS, Lenient: true}, tt.script)
			cfg := srv.Config()
			cfg.Mode, cfg.NoDataTimeout = tt.mode, connection.Duration(time.Second)
			r, err := tested(t, cfg, nil)
			if e := theError(t, err, tt.want); !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("hint %q, want %q in it", e.Hint, tt.hint)
			}
			if got := srv.Transcript("USER", "PASS", "AUTH", "APOP", "STAT"); len(got) > 0 {
				t.Errorf("sent %v\n%s", got, r)
			}
		})
	}
}

// passed returns a channel that is closed then.
func passed(d time.Duration) <-chan struct{} {
	gate := make(chan struct{})
	time.AfterFunc(d, func() { close(gate) })
	return gate
}

// What was told in the clear is forgotten: after TLS the server has other capabilities, and only those are used.
func TestCapabilitiesOfTheClearAreForgotten(t *testing.T) {
	srv := pop3test.NewScript(t, &pop3test.ScriptOptions{Mode: connection.ModeSTARTTLS}, pop3test.Script{
		pop3test.Send("+OK ready"), pop3test.Expect("CAPA"), pop3test.Send("+OK", "STLS", "SASL PLAIN XOAUTH2", "."),
		pop3test.StartTLS(), pop3test.Expect("CAPA"), pop3test.Send("+OK", "SASL LOGIN", "."),
		pop3test.Expect("AUTH LOGIN"), pop3test.Send("+ VXNlcm5hbWU6"), pop3test.ExpectLine("YXJjaGl2ZUBleGFtcGxlLm9yZw=="),
		pop3test.Send("+ UGFzc3dvcmQ6"), pop3test.ExpectLine("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ=="), pop3test.Send("+OK"),
		pop3test.Expect("CAPA"), pop3test.Send("+OK", "UIDL", "."), pop3test.Expect("STAT"), pop3test.Send("+OK 0 0"),
	})
	if r, err := tested(t, srv.Config(), nil); err != nil {
		t.Errorf("%v\n%s", err, r)
	}
}

// A server that once had STLS and offers it no longer is not believed.
func TestStrippedSTLS(t *testing.T) {
	capa := func(caps ...string) pop3test.Step {
		return pop3test.Do(pop3test.Expect("CAPA"), pop3test.Send(append(append([]string{"+OK", "USER"}, caps...), ".")...))
	}
	srv := pop3test.NewScript(t, &pop3test.ScriptOptions{Mode: connection.ModeSTARTTLS},
		pop3test.Script{
			pop3test.Send("+OK"), capa("STLS"), pop3test.StartTLS(), capa(), pop3test.Expect("USER"), pop3test.Send("+OK"), pop3test.Expect("PASS"),
			pop3test.Send("+OK"), capa(), pop3test.Expect("STAT"), pop3test.Send("+OK 0 0"),
		},
		pop3test.Script{pop3test.Send("+OK"), capa()})
	cfg := srv.Config()
	cfg.Mode, cfg.AllowPlaintextAuth = connection.ModeTLSWhenAvailable, true
	c := open(t, cfg, nil)
	if r, err := c.Test(t.Context(), nil); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	_, err := c.Test(t.Context(), nil)
	if e := theError(t, err, connection.ErrTLS); !strings.Contains(e.Error(), "used to offer") {
		t.Errorf("got %v", e)
	}
}

// RFC 2449, 4: a command is at most 255 octets. A longer initial response waits for the server's go-ahead.
func TestLongToken(t *testing.T) {
	for length, want := range map[int]int{20: 2, 4000: 1} {
		srv := pop3test.NewServer(t, &pop3test.Options{Token: strings.Repeat("t", length)})
		cfg := srv.Config()
		cfg.Password = connection.Secret{}
		env := &connection.Env{Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(strings.Repeat("t", length)), nil
		}}
		for _, mech := range []string{"XOAUTH2", "OAUTHBEARER"} {
			cfg.AuthMechanisms = []string{mech}
			if r, err := tested(t, cfg, env); err != nil {
				t.Fatalf("%v\n%s", err, r)
			}
		}
		for _, c := range srv.Transcript("AUTH") {
			if got := len(strings.Fields(c.Args)); got != want {
				t.Errorf("token of %d octets: %s", length, c)
			}
		}
	}
}

func TestMechanisms(t *testing.T) {
	for _, mech := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "NTLM", "apop", "user-pass"} {
		srv := pop3test.NewServer(t, &pop3test.Options{APOP: true})
		cfg := srv.Config()
		cfg.AuthMechanisms, cfg.AllowAPOP = []string{mech}, true
		r, err := tested(t, cfg, nil)
		if got := stepOf(r, "auth").Detail; err != nil || !strings.HasPrefix(got, mech+" over TLS") {
			t.Errorf("%s: used %q: %v", mech, got, err)
		}
		cfg.Password = connection.NewSecret("wrong")
		_, err = tested(t, cfg, nil)
		wantKind(t, err, connection.ErrAuth)
	}
}

// An APOP challenge must be one, and sane; else APOP is not used.
func TestAPOPTimestamp(t *testing.T) {
	for greeting, want := range map[string]bool{
		"+OK <1896.697170952@dbc.mtview.ca.us>": true, "+OK POP3 <1@h> ready": true, "+OK ready": false, "+OK <1@h> <2@h>": false,
		"+OK <1@h": false, "+OK 1@h>": false, "+OK <1h>": false, "+OK <1 2@h>": false, "+OK <1\r@h>": false, "+OK <\xff1@h>": false,
		"+OK <@h>": false, "+OK <1@>": false, "+OK <1@h@i>": false, "+OK >x<1@h>": false,
	} {
		srv := pop3test.NewServer(t, &pop3test.Options{Greeting: greeting, APOP: true})
		cfg := srv.Config()
		cfg.AllowAPOP, cfg.AuthMechanisms = true, []string{"apop", "user-pass"}
		r, err := tested(t, cfg, nil)
		if want {
			// The double knows another timestamp, so that it refuses: nothing else is tried.
			wantKind(t, err, connection.ErrAuth)
		} else if err != nil {
			t.Errorf("%q: %v\n%s", greeting, err, r)
		}
		if got := len(srv.Transcript("APOP")) == 1 && len(srv.Transcript("PASS")) == 0; got != want {
			t.Errorf("%q: APOP was used: %v, want %v", greeting, got, want)
		}
	}
	srv := pop3test.NewServer(t, &pop3test.Options{APOP: true, Mechanisms: []string{}})
	if r, err := tested(t, srv.Config(), nil); err != nil || len(srv.Transcript("APOP")) > 0 {
		t.Errorf("APOP was used without allow_apop, or nothing was: %v\n%s", err, r)
	}
}

// A server that says nothing ends by the no-data timeout; one that is only slow does not.
func TestSilence(t *testing.T) {
	for _, command := range []string{"CAPA", "AUTH", "STAT", "UIDL", "LIST", "RETR 2", "QUIT"} {
		srv := pop3test.NewServer(t, nil)
		srv.Deliver(letters(3)...)
		srv.Stall(command)
		cfg := srv.Config()
		cfg.NoDataTimeout = connection.Duration(500 * time.Millisecond)
		began := time.Now()
		all := collect(t, open(t, cfg, nil), nil)
		if took := time.Since(began); took > 60*time.Second {
			t.Errorf("%s: took %s", command, took)
		}
		if command == "QUIT" {
			wantBodies(t, bodies(t, all), texts(letters(3))...)
			continue
		}
		failed := false
		for _, f := range all {
			failed = failed || errors.Is(f.Err, connection.ErrTimeout)
		}
		if !failed {
			t.Errorf("%s: got %v, want a timeout", command, all)
		}
	}
	srv := pop3test.NewServer(t, &pop3test.Options{Mode: connection.ModeInsecure, MaxWrite: 1})
	srv.Deliver(letters(3)...)
	cfg := srv.Config()
	cfg.NoDataTimeout = connection.Duration(2 * time.Second)
	wantBodies(t, bodies(t, collect(t, open(t, cfg, nil), nil)), texts(letters(3))...)
}

// The ctx ends in the middle of a message: the loop ends soon, nothing is marked, and nothing runs on.
func TestCancelInMessage(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(append(letters(1), bytes.Repeat([]byte("0123456789abcdef\r\n"), 10_000))...)
	srv.StallAfter(60_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := open(t, emptying(srv.Config()), nil)
	var last error
	n := 0
	for _, err := range c.Fetch(ctx, nil) {
		if last = err; err == nil {
			if n++; n == 1 {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
		}
	}
	if n != 1 || !errors.Is(last, context.Canceled) {
		t.Errorf("got %d messages and %v", n, last)
	}
	if err := c.Close(); err != nil || len(srv.Transcript("DELE")) > 0 || len(srv.Messages()) != 2 {
		t.Errorf("%v, sent %v", err, srv.Transcript("DELE"))
	}
	noGoroutines(t)
}

func TestReport(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Advertise: []string{"EXPIRE 0", "LOGIN-DELAY 60"}})
	srv.Deliver(letters(3)...)
	r, err := tested(t, srv.Config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	opened := stepOf(r, "open")
	for _, want := range []string{"3 messages", "UIDL: yes", "PIPELINING: yes", "LOGIN-DELAY: 1m0s", "EXPIRE: 0", "nothing is deleted"} {
		if !strings.Contains(opened.Detail, want) {
			t.Errorf("open says %q, want %q in it", opened.Detail, want)
		}
	}
	for _, want := range []string{"EXPIRE 0", "one login in 1m0s"} {
		if opened.Status != connection.StatusWarned || !strings.Contains(opened.Hint, want) {
			t.Errorf("open is %s with %q, want a warning of %q", opened.Status, opened.Hint, want)
		}
	}
	if got := names(srv, "DELE", "RETR"); got != "" {
		t.Errorf("Test sent %s", got)
	}
	// Without TOP the session is broken off in the message, so that no server takes it for read.
	srv = pop3test.NewServer(t, &pop3test.Options{Without: []string{"TOP"}, Unlocked: true})
	srv.Deliver(bytes.Repeat([]byte("x\r\n"), 10_000))
	if r, err := tested(t, srv.Config(), nil); err != nil || stepOf(r, "read").Detail != "the first 1024 octets of the first message" {
		t.Errorf("%v\n%s", err, r)
	}
	if got := names(srv, "QUIT"); got != "" {
		t.Errorf("QUIT after a message that was not read: %s", got)
	}
	r, err = open(t, srv.Config(), nil).Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil || stepOf(r, "write").Status != connection.StatusSkipped || stepOf(r, "remove").Status != connection.StatusSkipped {
		t.Errorf("%v\n%s", err, r)
	}
}

// The whole log of every way to log in, and of every refusal, holds neither password nor token.
func TestNoSecretInLogs(t *testing.T) {
	const token = "token-5b1f90aa77"
	var mu sync.Mutex
	var log bytes.Buffer
	write := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	})
	env := &connection.Env{
		Logger: slog.New(slog.NewTextHandler(write, &slog.HandlerOptions{Level: connection.LevelTrace})),
		Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(token), nil
		},
		Observe: func(ev connection.Event) { _, _ = fmt.Fprintf(write, "%+v %v\n", ev, ev.Err) }, // a bytes.Buffer takes all
	}
	for _, mech := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "NTLM", "XOAUTH2", "OAUTHBEARER", "apop", "user-pass"} {
		for _, refuse := range []bool{false, true} {
			srv := pop3test.NewServer(t, &pop3test.Options{Password: canary, Token: token, APOP: true})
			srv.Deliver(letters(1)...)
			if refuse {
				srv.Fail("AUTH XOAUTH2", "-ERR what is "+token)
				srv.Fail("AUTH OAUTHBEARER", "-ERR what is "+token)
				srv.Fail("AUTH", "-ERR what is "+canary)
				srv.Fail("PASS", "-ERR what is "+canary)
				srv.Fail("APOP", "-ERR what is "+canary)
			}
			cfg := emptying(srv.Config())
			cfg.AuthMechanisms, cfg.AllowAPOP = []string{mech}, true
			c := open(t, cfg, env)
			r, err := c.Test(t.Context(), nil)
			_, _ = fmt.Fprintf(write, "%v %+v %#v\n%s\n%+v %v\n", err, err, err, r, c, cfg) // as above
			if (err == nil) == refuse {
				t.Errorf("%s, refused %v: %v", mech, refuse, err)
			}
			for m, err := range c.Fetch(t.Context(), nil) {
				if err == nil {
					err = c.Delete(t.Context(), m.Ref)
				}
				_, _ = fmt.Fprintln(write, err) // as above
			}
		}
	}
	text := log.String()
	if !strings.Contains(text, "octets redacted") || !strings.Contains(text, "STAT") {
		t.Error("the log holds no trace")
	}
	for _, secret := range []string{canary, token} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("the log holds a secret: %.200q", text[max(0, i-100):])
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What a server repeats of the password is not shown: here as a mechanism that this library does not know.
func TestPasswordAsAMechanism(t *testing.T) {
	const password = "C4NARY-PA55W0RD"
	srv := pop3test.NewScript(t, &pop3test.ScriptOptions{Mode: connection.ModeInsecure}, pop3test.Script{
		pop3test.Send("+OK hi"), pop3test.Expect("CAPA"), pop3test.Send("+OK", "SASL "+password+" PLAIN", "."),
		pop3test.Expect("AUTH PLAIN"), pop3test.Send("+OK in"), pop3test.Expect("CAPA"), pop3test.Cut(),
	})
	cfg := srv.Config()
	cfg.Username, cfg.Password, cfg.AllowPlaintextAuth = "juser", connection.NewSecret(password), true
	report, err := open(t, cfg, nil).Test(t.Context(), nil)
	if text := fmt.Sprint(report, err); strings.Contains(strings.ToUpper(text), password) || !strings.Contains(strings.ToLower(text), "passed over: "+connection.Redacted) {
		t.Errorf("got %s; want the mechanism passed over, and redacted", text)
	}
}
