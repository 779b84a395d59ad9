package pop3test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
	"github.com/mailconn/mailconn/pop3client"
)

// The login of a server whose Options name no other.
const (
	DefaultUsername = "archive@example.org"
	DefaultPassword = "correct horse battery staple"
)

// Options say what server to start. The zero value is a well-behaved server with TLS from the first octet, everything
// this package knows, and an empty maildrop.
type Options struct {
	// Mode is how the server is secured: "" and ModeTLS with TLS from the first octet; ModeSTARTTLS and
	// ModeTLSWhenAvailable with STLS on offer; ModeInsecure without any TLS. [Server.Config] has the same Mode.
	Mode connection.Mode
	// TLS replaces the server's own TLS configuration: another certificate, old versions, client certificates. If
	// it holds no certificate, the server adds its own.
	TLS *tls.Config
	// Addr is the address to listen on; "" is a free port of 127.0.0.1.
	Addr string

	// Username and Password are the only login; "" means DefaultUsername and DefaultPassword.
	Username, Password string
	// Token is the bearer token that XOAUTH2 and OAUTHBEARER accept; "" = they are not offered.
	Token string
	// Mechanisms are offered under SASL; nil = all that this package knows, without those that need what is not set.
	Mechanisms []string
	// APOP puts a timestamp into the greeting, and accepts APOP.
	APOP bool

	// Without switches off capabilities, and what they stand for: "UIDL", "TOP", "PIPELINING"… (see [Capabilities]).
	Without []string
	// Advertise adds lines to CAPA's list, with nothing behind them; AdvertiseLate only after the login.
	Advertise, AdvertiseLate []string
	// Greeting replaces the greeting.
	Greeting string

	// LoginDelay is advertised, in seconds, and enforced: a login that comes sooner after another is refused.
	LoginDelay time.Duration
	// ListLimit, if not 0, is how many messages a session shows at most, the oldest ones that no session has read yet.
	ListLimit int
	// Unlocked lets several sessions in at once; otherwise a second one is refused with [IN-USE].
	Unlocked bool
	// Quirks are habits of other servers.
	Quirks Quirks
	// MaxWrite, if not 0, cuts what the server sends into pieces of so many octets: 1 is octet by octet.
	MaxWrite int
}

// Quirks are deviations, each of which real servers show. The zero value has none.
type Quirks struct {
	BareLF      bool              // lines end in LF alone, those of messages too
	BareStat    bool              // STAT answers "+OK" and nothing more
	TopSendsAll bool              // TOP does not count lines
	FreshUIDL   bool              // each session gives all messages other UIDLs
	NumberUIDL  bool              // a message's UIDL is its number
	BareNTLM    bool              // AUTH NTLM takes no first message, and is answered "+OK": [MS-POP3], 2.2.1
	ReadIsGone  bool              // QUIT also deletes what RETR has read, and CAPA says so: EXPIRE 0
	Size        func(int64) int64 // what LIST tells, from the true size
	Commit      func(n int) bool  // QUIT deletes the n-th marked message, from 0, only if this is true, and else answers -ERR
}

// capabilityNames are in the order of the list.
var capabilityNames = [...]string{"CAPA", "TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "USER", "SASL", "UTF8", "LANG"}

// Capabilities returns what Options.Without may name. Without CAPA the server does not know the command, and offers
// the others all the same.
func Capabilities() []string { return slices.Clone(capabilityNames[:]) }

// A Message is one message in the maildrop.
type Message struct {
	UIDL string
	Raw  []byte
}

// A Server is a POP3 server on the loopback, with one user. All its methods may be called at any time, from several
// goroutines at once.
type Server struct {
	wire
	opts    Options
	tls     *tls.Config
	caPEM   string
	journal *journal

	mu        sync.Mutex // guards what follows
	messages  []*Message
	delivered int
	readOnce  map[*Message]bool
	spoilt    map[string]bool // by UIDL
	locked    bool
	logins    int
	lastLogin time.Time
	faults    []*fault
}

// NewServer starts a server that is closed when the test ends. opts may be nil.
func NewServer(t testing.TB, opts *Options) *Server {
	t.Helper()
	s, err := Listen(opts)
	if err != nil {
		t.Fatalf("pop3test: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen starts a server outside a test. Close it when done. opts may be nil.
func Listen(opts *Options) (*Server, error) {
	s := &Server{readOnce: make(map[*Message]bool), spoilt: make(map[string]bool)}
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	o.Mode = o.Mode.Or()
	if err := o.Mode.Validate(); err != nil {
		return nil, err
	}
	for _, name := range o.Without {
		if !slices.Contains(capabilityNames[:], strings.ToUpper(name)) {
			return nil, fmt.Errorf("capability %q: unknown; there are %s", name, strings.Join(Capabilities(), ", "))
		}
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
	s.journal = newJournal(o.Username, o.Password)
	if o.Mode != connection.ModeInsecure {
		var err error
		if s.tls, s.caPEM, err = doubles.ServerTLS("pop3test", o.TLS); err != nil {
			return nil, err
		}
	}
	if err := s.line.Listen(o.Addr, o.MaxWrite, s.serve); err != nil {
		return nil, err
	}
	return s, nil
}

// without reports whether Options.Without names the capability.
func (s *Server) without(name string) bool {
	return slices.ContainsFunc(s.opts.Without, func(w string) bool { return strings.EqualFold(w, name) })
}

// Addr returns the server's address, "127.0.0.1:port".
func (s *Server) Addr() string { return s.line.Addr() }

// Config returns driver settings that fit the server: address, login, certificate; everything else is left at its
// default, so that nothing is deleted until delete_mode is set.
func (s *Server) Config() pop3client.Config {
	return config(s.Addr(), s.opts.Mode, s.caPEM, s.opts.Username, s.opts.Password)
}

// Env returns an environment that trusts the server's certificate, for drivers whose settings do not.
func (s *Server) Env() *connection.Env { return doubles.Env(s.caPEM) }

// Settings returns Config as JSON with the password in it, as a host stores it.
func (s *Server) Settings() connection.Settings { return settings(s.Config()) }

func config(addr string, mode connection.Mode, caPEM, username, password string) pop3client.Config {
	c := pop3client.Config{Username: username, Password: connection.NewSecret(password)}
	c.Server, c.Mode, c.CAPEM = addr, mode, caPEM
	c.AllowPlaintextAuth = mode == connection.ModeInsecure
	c.ExpungeEvery = 500
	return c
}

func settings(c pop3client.Config) connection.Settings {
	raw, err := json.Marshal(map[string]any{
		"server": c.Server, "mode": c.Mode, "ca_pem": c.CAPEM, "allow_plaintext_auth": c.AllowPlaintextAuth,
		"username": c.Username, "password": c.Password.Reveal(),
	})
	if err != nil {
		panic(err) // strings and a boolean always encode
	}
	return connection.Settings{ID: "pop3test", Name: "test server", Driver: pop3client.DriverName, Config: raw}
}

// Deliver puts messages into the maildrop and returns their UIDLs. Sessions that are open do not see them. The octets
// are copied.
func (s *Server) Deliver(raw ...[]byte) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	uidls := make([]string, len(raw))
	for i, octets := range raw {
		s.delivered++
		uidls[i] = fmt.Sprintf("uidl-%06d", s.delivered)
		s.messages = append(s.messages, &Message{UIDL: uidls[i], Raw: bytes.Clone(octets)})
	}
	return uidls
}

// DeliverAs puts a message into the maildrop under a UIDL, which may be taken, or none at all.
func (s *Server) DeliverAs(uidl string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, &Message{UIDL: uidl, Raw: bytes.Clone(raw)})
}

// Messages returns what is in the maildrop, oldest first.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Message, len(s.messages))
	for i, m := range s.messages {
		all[i] = Message{UIDL: m.UIDL, Raw: bytes.Clone(m.Raw)}
	}
	return all
}

// Remove removes messages at once, as another client may do; a session that has listed them answers -ERR from then on.
func (s *Server) Remove(uidls ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m *Message) bool { return slices.Contains(uidls, m.UIDL) })
}

// Spoil makes messages impossible to read: RETR and TOP are refused, and they stay where they are.
func (s *Server) Spoil(uidls ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, uidl := range uidls {
		s.spoilt[uidl] = true
	}
}

// Logins returns how many logins were accepted so far.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// Transcript returns every command received so far, oldest first, the refused ones too. With patterns (as for
// [Server.Fail]) only those that match one of them.
func (s *Server) Transcript(patterns ...string) []Command { return s.journal.all(patterns) }

// Close ends all connections and the server, at once. No goroutine is left when it returns. A second Close does
// nothing.
func (s *Server) Close() { s.line.Close() }

// CloseConnections ends all connections that are open now, without a word and without deleting anything, as a server
// does that crashes and is started again.
func (s *Server) CloseConnections() { s.line.CutAll() }

// serve runs a session.
func (s *Server) serve(m *doubles.Meter) {
	session := &session{server: s, meter: m}
	session.run()
	s.mu.Lock()
	defer s.mu.Unlock()
	if session.holds {
		s.locked = false
	}
}

// logIn opens the maildrop for a session, or returns the refusal.
func (s *Server) logIn(session *session) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.opts.LoginDelay > 0 && s.logins > 0 && now.Sub(s.lastLogin) < s.opts.LoginDelay:
		return s.code("LOGIN-DELAY") + "minimum time between logins not over"
	case s.locked && !s.opts.Unlocked:
		return s.code("IN-USE") + "maildrop is locked by another session"
	}
	s.locked, session.holds = true, true
	s.logins++
	s.lastLogin = now
	for i, m := range s.messages {
		if limit := s.opts.ListLimit; limit > 0 && (s.readOnce[m] || len(session.list) == limit) {
			continue
		}
		shown := &listed{message: m, uidl: m.UIDL, size: wireSize(m.Raw)}
		switch {
		case s.opts.Quirks.FreshUIDL:
			shown.uidl = fmt.Sprintf("fresh-%d-%d", s.logins, i)
		case s.opts.Quirks.NumberUIDL:
			shown.uidl = strconv.Itoa(len(session.list) + 1)
		}
		if f := s.opts.Quirks.Size; f != nil {
			shown.size = f(shown.size)
		}
		session.list = append(session.list, shown)
	}
	return ""
}

// code returns a response code, unless the server has none.
func (s *Server) code(name string) string {
	if s.without("RESP-CODES") {
		return ""
	}
	return "[" + name + "] "
}

// there reports whether a message is still in the maildrop.
func (s *Server) there(m *Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.messages, m)
}

// readable reports whether a message can be read, and counts it as read if so.
func (s *Server) readable(m *Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readOnce[m] = true
	return !s.spoilt[m.UIDL]
}

// commit deletes what a session has marked, as Quirks.Commit lets it, and unlocks the maildrop. It reports whether all
// is deleted.
func (s *Server) commit(session *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locked, session.holds = false, false
	n, whole := -1, true
	for _, l := range session.list {
		if !l.deleted && !(l.read && s.opts.Quirks.ReadIsGone) {
			continue
		}
		if n++; s.opts.Quirks.Commit != nil && !s.opts.Quirks.Commit(n) {
			whole = false
			continue
		}
		s.messages = slices.DeleteFunc(s.messages, func(m *Message) bool { return m == l.message })
		delete(s.readOnce, l.message)
	}
	return whole
}

// wireSize is how many octets a message has on the wire, without stuffing: a last line without an end gets one.
func wireSize(raw []byte) int64 {
	if len(raw) > 0 && !bytes.HasSuffix(raw, []byte("\r\n")) {
		return int64(len(raw)) + 2
	}
	return int64(len(raw))
}
