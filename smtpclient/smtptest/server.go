package smtptest

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
	"github.com/mailconn/mailconn/smtpclient"
)

// The login of a server whose Options name no other.
const (
	DefaultUsername = "archive@example.org"
	DefaultPassword = "correct horse battery staple"
)

// Options say what server to start. The zero value is a well-behaved submission server with TLS from the first octet and
// everything this package knows, which wants a login.
type Options struct {
	// Mode is how the server is secured: "" and ModeTLS with TLS from the first octet; ModeSTARTTLS and
	// ModeTLSWhenAvailable with STARTTLS on offer; ModeInsecure without any TLS. [Server.Config] has the same Mode.
	Mode connection.Mode
	// TLS replaces the server's own TLS configuration. If it holds no certificate, the server adds its own.
	TLS *tls.Config
	// Addr is the address to listen on; "" is a free port of 127.0.0.1.
	Addr string

	// Username and Password are the only login; "" means DefaultUsername and DefaultPassword.
	Username, Password string
	// Open takes mail without a login, and Config has none.
	Open bool
	// Auth is how AUTH works; the zero value offers PLAIN.
	Auth Auth

	// LMTP makes it an LMTP server: LHLO, and a reply for each recipient behind the message. It wants no login.
	LMTP bool
	// MaxSize is the largest message, in octets, and what SIZE tells; 0 = 64 MiB.
	MaxSize int64
	// Without switches off extensions, and what they stand for: "PIPELINING", "CHUNKING"… (see [Extensions]). "EHLO"
	// is a server that knows HELO alone.
	Without []string
	// Advertise adds lines to the reply to EHLO, with nothing behind them.
	Advertise []string
	// Quirks are habits of other servers.
	Quirks Quirks

	// MaxWrite, if not 0, cuts what the server sends into pieces of so many octets: 1 is octet by octet.
	MaxWrite int
}

// Quirks are deviations, each of which real servers show. The zero value has none.
type Quirks struct {
	LowerCase   bool // EHLO keywords come in lower case
	OldAuth     bool // AUTH=PLAIN instead of AUTH PLAIN
	EmptyLine   bool // the reply to EHLO ends in an empty line (smtp-sink)
	NoSizeValue bool // SIZE without a number before the login (Dovecot)
	NoBDAT      bool // CHUNKING is offered, and BDAT is answered with 500; its octets are taken for commands
	SloppyEnd   bool // LF . LF, LF . CRLF and CR . CR end a message as CRLF . CRLF does: a server that can be smuggled through
	EagerData   bool // DATA is answered with 354 also without any recipient
}

// extensions in the order in which they are told.
var extensions = [...]string{"PIPELINING", "SIZE", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN", "REQUIRETLS", "ENHANCEDSTATUSCODES"}

// Extensions returns what Options.Without may name besides "EHLO".
func Extensions() []string { return slices.Clone(extensions[:]) }

const defaultMaxSize = 64 << 20

// A Message is one message that a server took.
type Message struct {
	Conn       int    // the connection, counted from 1 in the order of acceptance
	From       string // "" is the null reverse-path
	To         []string
	Raw        []byte              // octet for octet; of DATA without the stuffing of dots
	Path       string              // "DATA" or "BDAT"
	Params     map[string]string   // of MAIL, names in upper case: "BODY", "SIZE"
	RcptParams []map[string]string // of each RCPT
}

// A Server is an SMTP server on the loopback, with one user. All its methods may be called at any time, from several
// goroutines at once.
type Server struct {
	wire
	opts    Options
	tls     *tls.Config
	caPEM   string
	without map[string]bool
	journal journal

	mu       sync.Mutex // guards what follows
	messages []Message
	logins   []Login
	faults   []*fault
}

// NewServer starts a server that is closed when the test ends. opts may be nil.
func NewServer(t testing.TB, opts *Options) *Server {
	t.Helper()
	s, err := Listen(opts)
	if err != nil {
		t.Fatalf("smtptest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen starts a server outside a test. Close it when done. opts may be nil.
func Listen(opts *Options) (*Server, error) {
	s := &Server{without: make(map[string]bool)}
	if opts != nil {
		s.opts = *opts
	}
	if err := s.setUp(); err != nil {
		return nil, err
	}
	if err := s.line.Listen(s.opts.Addr, s.opts.MaxWrite, func(m *doubles.Meter) { newSession(s, m).run() }); err != nil {
		return nil, err
	}
	return s, nil
}

// setUp checks the options and fills in their defaults.
func (s *Server) setUp() error {
	o := &s.opts
	o.Mode = o.Mode.Or()
	if err := o.Mode.Validate(); err != nil {
		return err
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Username == "" {
		o.Username = DefaultUsername
	}
	if o.Password == "" {
		o.Password = DefaultPassword
	}
	if o.MaxSize == 0 {
		o.MaxSize = defaultMaxSize
	}
	o.Open = o.Open || o.LMTP
	for _, name := range o.Without {
		name = strings.ToUpper(name)
		if name != "EHLO" && !slices.Contains(Extensions(), name) {
			return fmt.Errorf("extension %q: unknown; there are EHLO, %s", name, strings.Join(Extensions(), ", "))
		}
		s.without[name] = true
	}
	if err := o.Auth.validate(); err != nil {
		return err
	}
	if o.Mode != connection.ModeInsecure {
		var err error
		if s.tls, s.caPEM, err = doubles.ServerTLS("smtptest", o.TLS); err != nil {
			return err
		}
	}
	return nil
}

// Addr returns the server's address, "127.0.0.1:port".
func (s *Server) Addr() string { return s.line.Addr() }

// Config returns driver settings that fit the server: address, login, certificate. SendStrategy is Original, so that
// what arrives is what was given; everything else is left at its default.
func (s *Server) Config() smtpclient.Config {
	c := config(s.Addr(), s.opts.Mode, s.caPEM)
	c.LMTP = s.opts.LMTP
	if !s.opts.Open {
		c.Username, c.Password = s.opts.Username, connection.NewSecret(s.opts.Password)
	}
	return c
}

// Env returns an environment that trusts the server's certificate, for drivers whose settings do not.
func (s *Server) Env() *connection.Env { return doubles.Env(s.caPEM) }

// Settings returns Config as JSON with the password in it, as a host stores it.
func (s *Server) Settings() connection.Settings { return settings(s.Config()) }

func config(addr string, mode connection.Mode, caPEM string) smtpclient.Config {
	c := smtpclient.Config{FromAddress: DefaultUsername, SendStrategy: smtpclient.Original}
	c.Server, c.Mode, c.CAPEM = addr, mode, caPEM
	c.AllowPlaintextAuth = mode == connection.ModeInsecure
	return c
}

func settings(c smtpclient.Config) connection.Settings {
	fields := map[string]any{
		"server": c.Server, "mode": c.Mode, "ca_pem": c.CAPEM, "allow_plaintext_auth": c.AllowPlaintextAuth,
		"from_address": c.FromAddress, "send_strategy": c.SendStrategy, "lmtp": c.LMTP,
	}
	if c.Username != "" {
		fields["username"], fields["password"] = c.Username, c.Password.Reveal()
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings and booleans always encode
	}
	return connection.Settings{ID: "smtptest", Name: "test server", Driver: smtpclient.DriverName, Config: raw}
}

// Messages returns what the server took so far, in the order of its replies.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Commands returns every command received so far that matches one of the patterns (see [Server.Fail]); without patterns,
// all. What authenticates is left out.
func (s *Server) Commands(patterns ...string) []Command { return s.journal.all(patterns) }

// Close ends all connections and the server, at once. No goroutine is left when it returns. A second Close does
// nothing.
func (s *Server) Close() { s.line.Close() }

// CloseConnections ends all connections that are open now, without a word, as a server does that crashes and is started
// again.
func (s *Server) CloseConnections() { s.line.CutAll() }
