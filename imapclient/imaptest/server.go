package imaptest

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/internal/doubles"
	"github.com/mailconn/mailconn/internal/utf7"
)

// The login of a server whose Options name no other.
const (
	DefaultUsername = "archive@example.org"
	DefaultPassword = "correct horse battery staple"
)

const defaultMaxMessage = 512 << 20

// Options say what server to start. The zero value is a well-behaved server with TLS from the first octet, everything
// this package knows, and an empty INBOX.
type Options struct {
	// Mode is how the server is secured: "" and ModeTLS with TLS from the first octet; ModeSTARTTLS and
	// ModeTLSWhenAvailable with STARTTLS on offer; ModeInsecure without any TLS. [Server.Config] has the same Mode.
	Mode connection.Mode
	// TLS replaces the server's own TLS configuration: another certificate, old versions, client certificates. If
	// it holds no certificate, the server adds its own.
	TLS *tls.Config
	// Addr is the address to listen on; "" is a free port of 127.0.0.1.
	Addr string

	// Username and Password are the only login; "" means DefaultUsername and DefaultPassword.
	Username, Password string
	// LoginDisabled refuses passwords on a connection without TLS and advertises LOGINDISABLED there.
	LoginDisabled bool
	// Auth is how AUTHENTICATE works; the zero value offers PLAIN.
	Auth Auth
	// MaxSessions refuses a login with NO [LIMIT] while so many are logged in; 0 = no limit.
	MaxSessions int

	// Folders are there from the start, besides INBOX.
	Folders []Folder
	// Delimiter stands between the levels of a folder's name: "" means "/", "NIL" that there are no levels.
	Delimiter string

	// Without switches off capabilities, and what they stand for: "UIDPLUS", "MOVE", "IDLE"… (see [Capabilities]).
	Without []string
	// Advertise adds capabilities to the list, with nothing behind them.
	Advertise []string
	// Quirks are habits of other servers.
	Quirks Quirks

	// MaxMessage is the largest message that APPEND takes, in octets; 0 = 512 MiB.
	MaxMessage int64
	// MaxWrite, if not 0, cuts what the server sends into pieces of so many octets: 1 is octet by octet.
	MaxWrite int
}

// A Folder is a folder that is there when the server starts.
type Folder struct {
	Name       string   // UTF-8; on the wire it is modified UTF-7
	Wire       string   // the name's octets on the wire, if they should be others: bad UTF-7, 8-bit characters
	Attributes []string // of LIST, as sent: `\Trash`, `\Noselect` (which is then obeyed)
	ReadOnly   bool     // SELECT answers [READ-ONLY], and nothing can be changed
	NoModSeq   bool     // SELECT answers [NOMODSEQ], and whatever asks for mod-sequences is refused
}

// Quirks are deviations, each of which real servers show. The zero value has none.
type Quirks struct {
	UIDLast          bool              // FETCH: UID comes after the body (Microsoft 365)
	FlagsFirst       bool              // FETCH: flags come in a FETCH response of their own before the rest
	NilExpunged      bool              // FETCH: a message that another session expunged has NIL for a body, and OK [EXPUNGEISSUED] (Dovecot)
	Twice            bool              // FETCH: each response comes twice
	IgnorePartial    bool              // FETCH: <offset.count> is not obeyed, and the whole is sent
	PartialMore      uint64            // FETCH: so many octets more than <offset.count> asks for are sent, if there are
	PartialNil       bool              // FETCH: NIL instead of "" where <offset.count> begins behind the end
	Size             func(int64) int64 // RFC822.SIZE from the true size (Exchange: approximate)
	SearchDescending bool              // SEARCH: numbers come in descending order
	NoUIDNext        bool              // SELECT and STATUS do not tell UIDNEXT
	LowUIDNext       bool              // SELECT and STATUS tell a UIDNEXT that is the last UID, not the one after it
	NoUIDValidity    bool              // SELECT and STATUS do not tell UIDVALIDITY
	UIDNotSticky     bool              // SELECT answers [UIDNOTSTICKY]
	InboxUnlisted    bool              // LIST leaves INBOX out
	Idle             IdleQuirks
}

// IdleQuirks are what servers do to a client that idles.
type IdleQuirks struct {
	NewsFirst bool          // what happened before IDLE is told before the "+", and so to nobody who listens only behind it
	Silent    bool          // nothing is announced until DONE
	Dead      bool          // behind the "+" there is silence for ever, as on a connection that was lost on the way; DONE is not answered
	Limit     time.Duration // so long after the "+" the server says BYE and closes; 0 = never
}

// capability names in the order of the list; the flag says whether it is told before login.
var capabilities = [...]struct {
	name   string
	before bool
}{
	{"LITERAL+", true},
	{"SASL-IR", true},
	{"ID", true},
	{"ENABLE", true},
	{"IDLE", true},
	{"NAMESPACE", false},
	{"UIDPLUS", false},
	{"MOVE", false},
	{"UNSELECT", false},
	{"CHILDREN", false},
	{"SPECIAL-USE", false},
	{"LIST-EXTENDED", false},
	{"LIST-STATUS", false},
	{"CONDSTORE", false},
	{"COMPRESS=DEFLATE", false},
}

// Capabilities returns what Options.Without may name.
func Capabilities() []string {
	names := make([]string, 0, len(capabilities))
	for _, c := range capabilities {
		names = append(names, c.name)
	}
	return names
}

// A Server is an IMAP4rev1 server on the loopback, with one user. All its methods may be called at any time, from
// several goroutines at once.
type Server struct {
	wire
	opts    Options
	tls     *tls.Config
	caPEM   string
	without map[string]bool
	journal *journal

	mu       sync.Mutex // guards what follows, and the store
	store    *store
	sessions map[*session]bool
	loggedIn int
	logins   []Login
	faults   []*fault
}

// NewServer starts a server that is closed when the test ends. opts may be nil.
func NewServer(t testing.TB, opts *Options) *Server {
	t.Helper()
	s, err := Listen(opts)
	if err != nil {
		t.Fatalf("imaptest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen starts a server outside a test. Close it when done. opts may be nil.
func Listen(opts *Options) (*Server, error) {
	s := &Server{without: make(map[string]bool), sessions: make(map[*session]bool)}
	if opts != nil {
		s.opts = *opts
	}
	if err := s.setUp(); err != nil {
		return nil, err
	}
	return s, s.connections.Listen(s.opts.Addr, s.opts.MaxWrite, s.serve)
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
	if o.MaxMessage == 0 {
		o.MaxMessage = defaultMaxMessage
	}
	switch o.Delimiter {
	case "":
		o.Delimiter = "/"
	case "NIL":
		o.Delimiter = ""
	default:
		if len(o.Delimiter) != 1 {
			return fmt.Errorf("delimiter %q: want one character, or NIL", o.Delimiter)
		}
	}
	for _, name := range o.Without {
		if !slices.Contains(Capabilities(), strings.ToUpper(name)) {
			return fmt.Errorf("capability %q: unknown; there are %s", name, strings.Join(Capabilities(), ", "))
		}
		s.without[strings.ToUpper(name)] = true
	}
	if err := o.Auth.validate(); err != nil {
		return err
	}
	s.journal = newJournal(o.Username, o.Password)
	s.store = newStore(o.Delimiter)
	for _, f := range o.Folders {
		name := f.Wire
		if name == "" {
			name = utf7.Encode(f.Name)
		}
		made := s.store.get(name)
		if made == nil {
			made = s.store.create(name)
		}
		made.attrs, made.readOnly, made.noModSeq, made.subscribed = f.Attributes, f.ReadOnly, f.NoModSeq, true
		made.noSelect = slices.ContainsFunc(f.Attributes, func(a string) bool {
			return strings.EqualFold(a, `\Noselect`) || strings.EqualFold(a, `\NonExistent`)
		})
	}
	if o.Mode != connection.ModeInsecure {
		var err error
		if s.tls, s.caPEM, err = doubles.ServerTLS("imaptest", o.TLS); err != nil {
			return err
		}
	}
	return nil
}

// Addr returns the server's address, "127.0.0.1:port".
func (s *Server) Addr() string { return s.connections.Addr() }

// Config returns driver settings that fit the server: address, login, certificate; everything else is left at its
// default, so that nothing is deleted until delete_mode is set.
func (s *Server) Config() imapclient.Config {
	return config(s.Addr(), s.opts.Mode, s.caPEM, s.opts.Username, s.opts.Password)
}

// Env returns an environment that trusts the server's certificate, for drivers whose settings do not.
func (s *Server) Env() *connection.Env { return doubles.Env(s.caPEM) }

// Settings returns Config as JSON with the password in it, as a host stores it.
func (s *Server) Settings() connection.Settings { return settings(s.Config()) }

func config(addr string, mode connection.Mode, caPEM, username, password string) imapclient.Config {
	c := imapclient.Config{Username: username, Password: connection.NewSecret(password)}
	c.Server, c.Mode, c.CAPEM = addr, mode, caPEM
	c.AllowPlaintextAuth = mode == connection.ModeInsecure
	c.ExpungeEvery = 500
	return c
}

func settings(c imapclient.Config) connection.Settings {
	raw, err := json.Marshal(map[string]any{
		"server": c.Server, "mode": c.Mode, "ca_pem": c.CAPEM, "allow_plaintext_auth": c.AllowPlaintextAuth,
		"username": c.Username, "password": c.Password.Reveal(),
	})
	if err != nil {
		panic(err) // strings and a boolean always encode
	}
	return connection.Settings{ID: "imaptest", Name: "test server", Driver: imapclient.DriverName, Config: raw}
}

// Close ends all connections and the server, at once. No goroutine is left when it returns. A second Close does
// nothing.
func (s *Server) Close() { s.connections.Close() }

// CloseConnections ends all connections that are open now, without a word, as a server does that crashes and is
// started again.
func (s *Server) CloseConnections() { s.connections.CutAll() }

// serve runs a session.
func (s *Server) serve(m *doubles.Meter) {
	session := newSession(s, m)
	s.mu.Lock()
	s.sessions[session] = true
	s.mu.Unlock()
	session.run()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session)
	if session.state >= stateAuthenticated {
		s.loggedIn--
	}
}
