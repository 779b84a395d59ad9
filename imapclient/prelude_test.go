package imapclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// The login of the tests.
const (
	testUser   = "juser"
	testCanary = "c4nary-Pa55w0rd"
)

var testBlob = base64.StdEncoding.EncodeToString([]byte("\x00" + testUser + "\x00" + testCanary))

// testCert is a certificate for mail.example.org and its PEM text.
var testCert = sync.OnceValues(func() (tls.Certificate, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"mail.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
})

// play is a server of one connection that follows a script, a step a line:
//
//	> text      sends text and CRLF; $ is the tag of the last command
//	>> text     sends text as it is, with \r\n for CRLF
//	< text      reads a command, which must begin with text behind its tag
//	= text      reads a line, which must be text
//	tls         speaks TLS from here on
//	stall       sends nothing more until the client leaves
//
// At the end it closes the connection. What it did not expect is in the error.
func play(conn net.Conn, script string) (err error) {
	defer func() { _ = conn.Close() }()
	br := bufio.NewReader(conn)
	tag := ""
	for step := range strings.SplitSeq(strings.TrimSpace(script), "\n") {
		step = strings.TrimLeft(step, "\t")
		op, text, _ := strings.Cut(step, " ")
		text = strings.ReplaceAll(text, "$BLOB", testBlob)
		switch op {
		case ">":
			_, err = io.WriteString(conn, strings.ReplaceAll(text, "$", tag)+"\r\n")
		case ">>":
			_, err = io.WriteString(conn, strings.ReplaceAll(strings.ReplaceAll(text, "$", tag), `\r\n`, "\r\n"))
		case "<", "=":
			var line string
			line, err = br.ReadString('\n')
			line = strings.TrimRight(line, "\r\n")
			got := line
			if op == "<" {
				tag, got, _ = strings.Cut(line, " ")
				got = got[:min(len(got), len(text))]
			}
			if err == nil && got != text {
				return fmt.Errorf("the client sent %q, want %q", line, text)
			}
		case "tls":
			cert, _ := testCert()
			server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
			if err := server.Handshake(); err != nil {
				return nil // the client refused, as it may
			}
			conn, br = server, bufio.NewReader(server)
		case "stall":
			_, _ = io.Copy(io.Discard, br)
			return nil
		default:
			return fmt.Errorf("no step: %q", step)
		}
		if err != nil {
			return fmt.Errorf("at %q: %w", step, err)
		}
	}
	return nil
}

// dialogue is one run of the prelude against a script.
type dialogue struct {
	link   *link
	err    error
	steps  []connection.Step
	events []connection.Event
	log    bytes.Buffer
	server error
	sent   bytes.Buffer // all that the client wrote, below TLS
}

// recorded keeps what is written.
type recorded struct {
	net.Conn
	sent *bytes.Buffer
}

func (r recorded) Write(p []byte) (int, error) {
	r.sent.Write(p)
	return r.Conn.Write(p)
}

// converse runs the prelude with cfg against script, and checks that no secret was printed.
func converse(t *testing.T, ctx context.Context, cfg Config, memory *tlsMemory, script string) *dialogue {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		served <- play(conn, script)
	}()
	_, ca := testCert()
	d := &dialogue{}
	cfg.Server, cfg.CAPEM = "mail.example.org", ca
	if cfg.Username == "" {
		cfg.Username = testUser
	}
	if cfg.Password.IsZero() {
		cfg.Password = connection.NewSecret(testCanary)
	}
	env := &connection.Env{
		Logger: slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{Level: connection.LevelTrace})),
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
			return recorded{conn, &d.sent}, err
		},
		Observe: func(e connection.Event) { d.events = append(d.events, e) },
	}
	d.link, d.err = memory.connect(ctx, &cfg, env, func(s connection.Step) { d.steps = append(d.steps, s) })
	if d.link != nil {
		t.Cleanup(func() { _ = d.link.conn.Close() })
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if d.err != nil || d.link == nil {
		d.server = <-served
	} else {
		_ = d.link.conn.Close()
		d.server = <-served
	}
	d.checkSecrets(t)
	return d
}

func (d *dialogue) checkSecrets(t *testing.T) {
	t.Helper()
	printed := d.printed()
	for _, secret := range []string{testCanary, strings.ToUpper(testCanary), testBlob, base64.StdEncoding.EncodeToString([]byte(testCanary))} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q was printed: %s", secret, printed)
		}
	}
}

// printed returns all that a host could print of the dialogue.
func (d *dialogue) printed() string {
	report := &connection.Report{Steps: d.steps}
	asJSON, err := json.Marshal(report)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v %+v %#v %s %s %+v %s", d.err, d.err, d.err, report, asJSON, d.events, d.log.String())
}

// steps returns the names of the steps, with their status if it is not ok.
func (d *dialogue) names() string {
	var names []string
	for _, s := range d.steps {
		name := s.Name
		if s.Status != connection.StatusOK {
			name += ":" + string(s.Status)
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func mode(m connection.Mode) Config {
	return Config{NetworkSettings: connection.NetworkSettings{Mode: m}}
}

func clear(m connection.Mode) Config {
	cfg := mode(m)
	cfg.AllowPlaintextAuth = true
	return cfg
}

func impatient(cfg Config) Config {
	cfg.NoDataTimeout = connection.Duration(500 * time.Millisecond)
	return cfg
}

const afterLogin = "\n< CAPABILITY\n> * CAPABILITY IMAP4rev1 UIDPLUS\n> $ OK\nstall"

// preludes are whole conversations. Those without a kind succeed.
var preludes = []struct {
	name   string
	cfg    Config
	script string
	kind   connection.Kind
	text   string // in the error, its hint included
	steps  string // if not ""
}{
	// Logins.
	{"tls, plain with an initial response", mode(connection.ModeTLS), "tls\n> * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN $BLOB\n> $ OK [CAPABILITY IMAP4rev1 UIDPLUS] in\nstall", 0, "", "resolve connect tls greeting capabilities auth capabilities"},
	{"tls, plain without an initial response", mode(connection.ModeTLS), "tls\n> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN\n> + \n= $BLOB\n> * CAPABILITY IMAP4rev1 UIDPLUS\n> $ OK in\nstall", 0, "", ""},
	{"tls, bare continuation", mode(connection.ModeTLS), "tls\n> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN\n> +\n= $BLOB\n> $ OK in" + afterLogin, 0, "", ""},
	{"tls, login command", mode(connection.ModeTLS), "tls\n> * OK hi\n< CAPABILITY\n> * CAPABILITY IMAP4rev1\n> $ OK\n< LOGIN \"juser\" \"" + testCanary + "\"\n> $ OK in" + afterLogin, 0, "", ""},
	{"tls, login disabled but plain", mode(connection.ModeTLS), "tls\n> * OK [CAPABILITY IMAP4rev1 LOGINDISABLED SASL-IR AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN\n> +\n= $BLOB\n> $ OK in" + afterLogin, 0, "", ""},
	{"tls, preauth", mode(connection.ModeTLS), "tls\n> * PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] hi\nstall", 0, "", "resolve connect tls greeting auth capabilities"},
	{"starttls", mode(connection.ModeSTARTTLS), "> * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\n< STARTTLS\n> $ OK [CAPABILITY IMAP4rev1 AUTH=EVIL] go\ntls\n< CAPABILITY\n> * CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\n> $ OK\n< AUTHENTICATE PLAIN $BLOB\n> $ OK in" + afterLogin, 0, "", "resolve connect greeting tls capabilities auth capabilities"},
	{"starttls in lower case, untagged replies in between, no text", mode(connection.ModeSTARTTLS), "> * OK hi\n> * OK again\n< CAPABILITY\n> * CAPABILITY imap4rev1 starttls\n> $ OK\n< STARTTLS\n> * OK wait\n> * 3 EXISTS\n> $ OK\ntls\n< CAPABILITY\n> * CAPABILITY IMAP4rev1\n> $ OK\n< LOGIN \n> $ OK in" + afterLogin, 0, "", ""},
	{"when available, available", mode(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ OK\ntls\n< CAPABILITY\n> * CAPABILITY IMAP4rev1\n> $ OK\n< LOGIN \n> $ OK in" + afterLogin, 0, "", ""},
	{"when available, allowed in the clear", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ OK in" + afterLogin, 0, "", "resolve connect greeting tls:warned capabilities auth:warned capabilities"},
	{"insecure, allowed", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< LOGIN \n> $ OK in" + afterLogin, 0, "", "resolve connect greeting tls:warned capabilities auth:warned capabilities"},
	{"insecure, preauth", mode(connection.ModeInsecure), "> * PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] hi\nstall", 0, "", ""},
	{"alert in between", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> * OK [ALERT] the disk is nearly full\n> $ OK in" + afterLogin, 0, "", ""},

	// Refusals.
	{"wrong password", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ NO [AUTHENTICATIONFAILED] no", connection.ErrAuth, "username, password", "resolve connect greeting tls:warned capabilities auth:failed"},
	{"wrong password without a code", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN $BLOB\n> $ NO denied", connection.ErrAuth, "username, password", ""},
	{"the server echoes the password", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ NO " + testCanary + " is wrong, so is $BLOB", connection.ErrAuth, "[redacted] is wrong", ""},
	{"the server echoes the password in a code", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ NO [" + testCanary + " " + testCanary + "] no", connection.ErrAuth, "NO [[redacted] [redacted]] no", ""},
	{"privacy required", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ NO [PRIVACYREQUIRED] no", connection.ErrAuth, "mode: ", ""},
	{"temporarily", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ NO [UNAVAILABLE] Server Unavailable. 15", connection.ErrThrottled, "", ""},
	{"throttled by BAD", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ BAD Request is throttled. Suggested Backoff Time: 12345 milliseconds", connection.ErrThrottled, "", ""},
	{"authenticated but not connected", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ NO User is authenticated but not connected.", connection.ErrThrottled, "", ""},
	{"BAD", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ BAD what", connection.ErrProtocol, "BAD what", ""},
	{"untagged BAD and no reply", impatient(clear(connection.ModeInsecure)), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> * OK [ALERT] hm\n> * BAD what\nstall", connection.ErrTimeout, "BAD what", ""},
	{"BYE in the login", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> * BYE Too many connections", connection.ErrThrottled, "Too many connections", ""},
	{"nothing in common", mode(connection.ModeTLS), "tls\n> * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=DIGEST-MD5 AUTH=GSSAPI] hi", connection.ErrAuth, "DIGEST-MD5 GSSAPI", ""},
	{"cut in the login", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n>> P2 O", connection.ErrNetwork, "P2 O", ""},

	// Nothing is sent in the clear unasked.
	{"when available, not available", mode(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi", connection.ErrTLS, "allow_plaintext_auth", "resolve connect greeting tls:warned capabilities auth:failed"},
	{"insecure, not allowed", mode(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi", connection.ErrTLS, "allow_plaintext_auth", ""},
	{"login disabled in the clear, plain offered", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR] hi", connection.ErrTLS, "LOGINDISABLED", ""},
	{"starttls stripped", clear(connection.ModeSTARTTLS), "> * OK [CAPABILITY IMAP4rev1] hi", connection.ErrTLS, "offers no STARTTLS", ""},
	{"preauth with starttls", clear(connection.ModeSTARTTLS), "> * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi", connection.ErrTLS, "PREAUTH", ""},
	{"preauth when available", clear(connection.ModeTLSWhenAvailable), "> * PREAUTH [CAPABILITY IMAP4rev1] hi", connection.ErrTLS, "PREAUTH", ""},

	// STARTTLS that goes wrong is an error, never a fallback.
	{"starttls refused by NO", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ NO not now", connection.ErrTLS, "STARTTLS refused", ""},
	{"starttls refused by BAD", clear(connection.ModeSTARTTLS), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ BAD what", connection.ErrTLS, "STARTTLS refused", ""},
	{"starttls answered by BYE", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> * BYE no", connection.ErrUnavailable, "BYE no", ""},
	{"starttls answered by a close", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS", connection.ErrNetwork, "closed", ""},
	{"starttls with another tag", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> X1 OK go", connection.ErrProtocol, "not sent", ""},
	{"starttls with a continuation", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> + go", connection.ErrProtocol, "continuation", ""},
	{"injected in the same segment", clear(connection.ModeTLSWhenAvailable), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n>> $ OK go\\r\\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\\r\\n", connection.ErrTLS, "", ""},
	{"injected half a line", clear(connection.ModeSTARTTLS), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n>> $ OK go\\r\\n*", connection.ErrTLS, "", ""},
	{"stalls after OK", impatient(clear(connection.ModeTLSWhenAvailable)), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ OK go\nstall", connection.ErrTimeout, "", ""},

	// Greetings.
	{"no greeting, closed", mode(connection.ModeInsecure), "", connection.ErrNetwork, "mode: ", "resolve connect greeting:failed"},
	{"no greeting, mute", impatient(mode(connection.ModeInsecure)), "stall", connection.ErrTimeout, "mode: ", ""},
	{"half a greeting", mode(connection.ModeInsecure), ">> * O", connection.ErrNetwork, "* O", ""},
	{"bye", mode(connection.ModeInsecure), "> * BYE go away", connection.ErrUnavailable, "go away", ""},
	{"bye, too many connections", mode(connection.ModeTLS), "tls\n> * BYE [LIMIT] Too many connections", connection.ErrThrottled, "Too many", ""},
	{"NO", mode(connection.ModeInsecure), "> * NO hi", connection.ErrProtocol, "no IMAP greeting", ""},
	{"pop3", mode(connection.ModeInsecure), "> +OK POP3 ready", connection.ErrProtocol, "POP3", ""},
	{"smtp", mode(connection.ModeInsecure), "> 220 mail ESMTP", connection.ErrProtocol, "SMTP", ""},
	{"http", mode(connection.ModeInsecure), "> HTTP/1.1 400 Bad Request", connection.ErrProtocol, "web server", ""},
	{"ssh", mode(connection.ModeInsecure), "> SSH-2.0-OpenSSH_9.2", connection.ErrProtocol, "SSH", ""},
	{"tls alert", mode(connection.ModeSTARTTLS), ">> \x15\x03\x01\x00\x02\x02\x46\n>> \\r\\n", connection.ErrProtocol, "mode: this port speaks TLS", ""},
	{"plaintext port with mode tls", mode(connection.ModeTLS), "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\nstall", connection.ErrTLS, "mode: ", "resolve connect tls:failed"},
	{"endless greeting", mode(connection.ModeInsecure), ">> " + strings.Repeat("* OK ", 4<<10), connection.ErrProtocol, "over 8192 octets", ""},
	{"control characters", mode(connection.ModeInsecure), "> \x1b[2J\x07", connection.ErrProtocol, "no IMAP greeting", ""},

	// Answers that never end, and answers to something else.
	{"endless answers", mode(connection.ModeInsecure), "> * OK hi\n< CAPABILITY\n>> " + strings.Repeat(`* OK wait\r\n`, 300), connection.ErrProtocol, "over 256 lines", ""},
	{"literal in an answer", mode(connection.ModeInsecure), "> * OK hi\n< CAPABILITY\n> * CAPABILITY {5}", connection.ErrProtocol, "literal", ""},
	{"no capabilities", mode(connection.ModeInsecure), "> * OK hi\n< CAPABILITY\n> $ OK", connection.ErrProtocol, "no capabilities", ""},
	{"capabilities refused", mode(connection.ModeInsecure), "> * OK hi\n< CAPABILITY\n> $ NO no", connection.ErrRejected, "NO no", ""},
	{"tagged nonsense", mode(connection.ModeInsecure), "> * OK hi\n< CAPABILITY\n> $ MAYBE", connection.ErrProtocol, "MAYBE", ""},
	{"challenges without end", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN\n> +\n= $BLOB\n> +\n= $BLOB\n> +\n= *\n> +\nstall", connection.ErrProtocol, "cancelled", ""},
	{"a challenge too many", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN\n> +\n= $BLOB\n> +\n= $BLOB\n> +\n= *\n> $ BAD cancelled", connection.ErrProtocol, "PLAIN", ""},
	{"a challenge that is no base64", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n< AUTHENTICATE PLAIN\n> + !!!", connection.ErrProtocol, "base64", ""},
	{"a continuation after LOGIN", clear(connection.ModeInsecure), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> + more", connection.ErrProtocol, "continuation", ""},
}

func TestPrelude(t *testing.T) {
	for _, tt := range preludes {
		t.Run(tt.name, func(t *testing.T) {
			d := converse(t, t.Context(), tt.cfg, new(tlsMemory), tt.script)
			if d.server != nil && tt.kind == connection.ErrUnknown {
				t.Errorf("the server: %v", d.server)
			}
			if tt.steps != "" && d.names() != tt.steps {
				t.Errorf("got steps %q, want %q", d.names(), tt.steps)
			}
			inClear := strings.Contains(d.sent.String(), testCanary) || strings.Contains(d.sent.String(), testBlob)
			if inClear && !tt.cfg.AllowPlaintextAuth {
				t.Error("the password went out in the clear")
			}
			if tt.kind == connection.ErrUnknown {
				if d.err != nil {
					t.Fatalf("got %v", d.err)
				}
				if want := []string{"IMAP4REV1", "UIDPLUS"}; !slices.Equal(d.link.caps, want) {
					t.Errorf("got capabilities %q, want %q", d.link.caps, want)
				}
				return
			}
			var e *connection.Error
			if !errors.As(d.err, &e) || e.Kind != tt.kind || e.Driver != "imap" || e.Op != "connect" || !strings.HasPrefix(e.Endpoint, "mail.example.org:") || !strings.Contains(d.err.Error(), tt.text) {
				t.Fatalf("got %v, want %v with %q (server: %v)", d.err, tt.kind, tt.text, d.server)
			}
			last := d.steps[len(d.steps)-1]
			if last.Status != connection.StatusFailed || !errors.Is(last.Err, d.err) || last.Hint != e.Hint {
				t.Errorf("the last step is %+v, want a failed one with the error and its hint", last)
			}
			if tt.kind == connection.ErrTLS && inClear {
				t.Error("the password went out in the clear although TLS failed")
			}
		})
	}
}

func TestRetryAfterReachesTheError(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"NO [UNAVAILABLE] Server Unavailable. 15":                              15 * time.Second,
		"BAD Request is throttled. Suggested Backoff Time: 12345 milliseconds": 12345 * time.Millisecond,
		"NO [LIMIT] Too many connections, try again in 3 minutes":              3 * time.Minute,
		"NO [THROTTLED] retry after 9 s":                                       9 * time.Second,
		"NO [UNAVAILABLE] Suggested Backoff Time: 999999999999 milliseconds":   longestWait,
		"NO [UNAVAILABLE] later":                                               0,
	} {
		d := converse(t, t.Context(), clear(connection.ModeInsecure), new(tlsMemory), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ "+text)
		if got := connection.RetryAfter(d.err); got != want || connection.KindOf(d.err) != connection.ErrThrottled {
			t.Errorf("%s: got %v after %v, want ErrThrottled after %v", text, d.err, got, want)
		}
	}
}

func TestLoginLiterals(t *testing.T) {
	const odd = "pä\"ss\\w0rd"
	for _, tt := range []struct{ name, caps, script string }{
		{"waiting", "IMAP4rev1", "< LOGIN \"juser\" {11}\n> + go\n= " + odd},
		{"LITERAL+", "IMAP4rev1 LITERAL+", "< LOGIN \"juser\" {11+}\n= " + odd},
		{"LITERAL-", "IMAP4rev1 LITERAL-", "< LOGIN \"juser\" {11+}\n= " + odd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := clear(connection.ModeInsecure)
			cfg.Password = connection.NewSecret(odd)
			d := converse(t, t.Context(), cfg, new(tlsMemory), "> * OK [CAPABILITY "+tt.caps+"] hi\n"+tt.script+"\n> $ OK in"+afterLogin)
			if d.err != nil || d.server != nil {
				t.Errorf("got %v, and the server %v", d.err, d.server)
			}
			if strings.Contains(d.log.String(), "w0rd") {
				t.Errorf("the log shows the password: %s", d.log.String())
			}
		})
	}
	t.Run("both parts, refused after the first", func(t *testing.T) {
		cfg := clear(connection.ModeInsecure)
		cfg.Username, cfg.Password = "jüser", connection.NewSecret(odd)
		d := converse(t, t.Context(), cfg, new(tlsMemory), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN {6}\n> + go\n= jüser {11}\n> $ NO [AUTHENTICATIONFAILED] no")
		if !errors.Is(d.err, connection.ErrAuth) {
			t.Errorf("got %v, want ErrAuth", d.err)
		}
		if strings.Contains(d.sent.String(), odd) {
			t.Error("the password was sent after the refusal")
		}
	})
}

func TestCredentialsAreCheckedBeforeDialling(t *testing.T) {
	for _, tt := range []struct{ user, password, field string }{
		{"", "x", "username"},
		{"a\rb", "x", "username"},
		{"a\nb", "x", "username"},
		{"a\x00b", "x", "username"},
		{"a", "x\r", "password"},
		{"a", "x\n", "password"},
		{"a", "x\x00", "password"},
	} {
		cfg := clear(connection.ModeInsecure)
		cfg.Server, cfg.Username, cfg.Password = "mail.example.org", tt.user, connection.NewSecret(tt.password)
		env := &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialled")
			return nil, os.ErrInvalid
		}}
		if _, err := connect(t.Context(), &cfg, env, nil); !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), "config: "+tt.field+": ") {
			t.Errorf("%q: got %v, want ErrConfig that names %s", tt, err, tt.field)
		}
	}
}

func TestTLSOnceSeenIsRequired(t *testing.T) {
	memory := new(tlsMemory)
	cfg := clear(connection.ModeTLSWhenAvailable)
	stripped := "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ OK in" + afterLogin
	if d := converse(t, t.Context(), cfg, memory, stripped); d.err != nil {
		t.Fatalf("before TLS was seen: %v", d.err)
	}
	if d := converse(t, t.Context(), cfg, memory, "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ OK\ntls\n< CAPABILITY\n> * CAPABILITY IMAP4rev1\n> $ OK\n< LOGIN \n> $ OK in"+afterLogin); d.err != nil {
		t.Fatalf("with TLS: %v", d.err)
	}
	d := converse(t, t.Context(), cfg, memory, stripped)
	if !errors.Is(d.err, connection.ErrTLS) || !strings.Contains(d.err.Error(), "used to offer STARTTLS") || strings.Contains(d.sent.String(), testCanary) {
		t.Errorf("stripped afterwards: got %v, want ErrTLS and no login", d.err)
	}
}

// TestTLSOnceOfferedIsRequired: who breaks the upgrade and then takes the offer away gets no password either.
func TestTLSOnceOfferedIsRequired(t *testing.T) {
	memory := new(tlsMemory)
	cfg := clear(connection.ModeTLSWhenAvailable)
	if d := converse(t, t.Context(), cfg, memory, "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS"); !errors.Is(d.err, connection.ErrNetwork) {
		t.Fatalf("a cut upgrade: got %v", d.err)
	}
	for name, m := range map[string]*tlsMemory{"the same mailbox": memory, "another mailbox": {whole: memory}} {
		d := converse(t, t.Context(), cfg, m, "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ OK in"+afterLogin)
		if !errors.Is(d.err, connection.ErrTLS) || strings.Contains(d.sent.String(), testCanary) {
			t.Errorf("%s: got %v, want ErrTLS and no login", name, d.err)
		}
	}
	one, err := Open(Config{NetworkSettings: connection.NetworkSettings{Server: "x"}, Username: "u", Password: connection.NewSecret("p"), Mailboxes: []string{"a", "b"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := one.at("fetch", "a"); err != nil || a.tls.server() != one.tls.server() {
		t.Errorf("the mailboxes of one server do not share what is known of it (%v)", err)
	}
}

func TestEventsOfThePrelude(t *testing.T) {
	d := converse(t, t.Context(), clear(connection.ModeInsecure), new(tlsMemory), "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> * OK [ALERT] the disk is nearly full\n> $ OK in"+afterLogin)
	var insecure, notice int
	for _, e := range d.events {
		switch {
		case e.Kind == connection.EventInsecure:
			insecure++
		case e.Kind == connection.EventNotice && strings.Contains(e.Detail, "the disk is nearly full") && e.Connection == "imap":
			notice++
		}
	}
	if insecure != 2 || notice != 1 {
		t.Errorf("got %+v, want two of an insecure connection (no TLS, clear password) and the alert", d.events)
	}
}

func TestConnectTimeoutCoversGreetingAndSTARTTLS(t *testing.T) {
	for name, script := range map[string]string{
		"greeting":      "stall",
		"capabilities":  "> * OK hi\nstall",
		"starttls":      "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\nstall",
		"tls handshake": "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ OK\nstall",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mode(connection.ModeSTARTTLS)
			cfg.ConnectTimeout = connection.Duration(100 * time.Millisecond)
			d := converse(t, t.Context(), cfg, new(tlsMemory), script)
			var e *connection.Error
			if !errors.As(d.err, &e) || e.Kind != connection.ErrTimeout || e.Code != "connect" || !errors.Is(d.err, os.ErrDeadlineExceeded) || !strings.Contains(e.Hint, "mode") {
				t.Errorf("got %v, want ErrTimeout [connect] with a hint at mode", d.err)
			}
		})
	}
}

func TestContextEndsThePreludeAnywhere(t *testing.T) {
	for name, script := range map[string]string{
		"greeting":  "stall",
		"handshake": "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ OK\nstall",
		"login":     "> * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\n< STARTTLS\n> $ OK\ntls\n< CAPABILITY\n> * CAPABILITY IMAP4rev1 AUTH=PLAIN\n> $ OK\n< AUTHENTICATE PLAIN\nstall",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			start := time.Now()
			d := converse(t, ctx, mode(connection.ModeSTARTTLS), new(tlsMemory), script)
			if !errors.Is(d.err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
				t.Errorf("got %v after %v, want ctx.Err() soon", d.err, time.Since(start))
			}
		})
	}
}

func TestCapabilitiesAreFiltered(t *testing.T) {
	long := "IMAP4rev2 IMAP4rev1 UIDPLUS AUTH=PLAIN SASL-IR STARTTLS LOGINDISABLED QRESYNC COMPRESS=DEFLATE MOVE BAD] B(D \"Q\" \x01X caf\xe9 " + strings.Repeat("X", 200) + strings.Repeat(" X-FILLER", 10_000)
	got := parseCaps(long)
	if len(got) != maxCaps || slices.ContainsFunc(got, func(s string) bool { return strings.ContainsAny(s, "]()\"\x01") || len(s) > maxCapLength }) {
		t.Errorf("got %d capabilities, want %d, all of them atoms: %.300q", len(got), maxCaps, got)
	}
	l := &link{caps: got, hidden: []string{"MOVE"}}
	handed := slices.Compact(handedOver(l))
	if want := []string{"IMAP4REV1", "UIDPLUS", "X-FILLER"}; !slices.Equal(handed, want) {
		t.Errorf("handed over %q, want %q", handed, want)
	}
	l.caps = []string{"IMAP4REV2", "IDLE"}
	if handed := handedOver(l); !slices.Equal(handed, []string{"IMAP4REV2", "IDLE"}) {
		t.Errorf("revision 2 alone: handed over %q", handed)
	}
	if l.has("IDLE") != true || l.has("MOVE") {
		t.Error("has does not obey the list or the settings")
	}
}
