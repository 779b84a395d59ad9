package peertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// DovecotOptions are the options of [Dovecot] and [StartDovecot]. The zero value serves IMAP for one user.
type DovecotOptions struct {
	Users      []string // who may log in; nil = {"juser"}
	Password   string   // of all of them, without ":" and line ends; "" = a random one
	Protocols  []string // of "imap", "pop3" and "submission"; nil = {"imap"}
	Relay      string   // host:port of the SMTP server that submission hands its mail to, in the clear and without a login
	Mechanisms string   // of SASL, separated by spaces; "" = PLAIN, LOGIN, CRAM-MD5 and SCRAM
	NTLM       bool     // offer NTLM too, for the first user in the domain [NTLMDomain]; the helper is Samba's
	Token      string   // offer XOAUTH2 and OAUTHBEARER too, with this token for the first user
	NoTLS      bool     // neither STARTTLS nor the TLS ports
	Hosts      []string // names and addresses in the certificate; nil = {"localhost", "127.0.0.1"}
	MaxPerUser int      // connections of one user at once; 0 = 1000
	Compress   bool     // offer COMPRESS=DEFLATE
	Settings   string   // further lines of dovecot.conf, in the language of the version installed
	Dir        string   // where to keep everything; "" = os.TempDir. Keep it short: socket paths end at 108 octets
}

// A DovecotServer is a running Dovecot. Its fields do not change after the start. Its methods may be called from several
// goroutines, but Stop, Start and Close not at once. Where a method cannot do what it says, it fails the test, or panics
// if there is none.
type DovecotServer struct {
	Version  string // "2.3.19.1"
	Host     string // an IP address of loopback
	User     string // the first of Users
	Users    []string
	Password string
	CAPEM    string // certificate of the authority that signed the server's

	ports   map[string]int // by service: imap, imaps, pop3, pop3s, submission, submissions
	opts    DovecotOptions
	dir     string
	binary  string
	owner   owner
	fail    func(error)
	process *process
	tokens  *http.Server // of DovecotOptions.Token, else nil
	stopped bool
	seq     sequence
}

// ErrNotInstalled says that the peer's program is not on this machine.
var ErrNotInstalled = errors.New("is not installed: make test installs it")

// Dovecot starts a Dovecot that ends with the test. Without Dovecot on the machine the test is skipped, or fails if the
// environment has CI=true. opts may be nil.
func Dovecot(t testing.TB, opts *DovecotOptions) *DovecotServer {
	t.Helper()
	s, err := StartDovecot(t.Context(), opts)
	Require(t, err)
	s.fail = func(err error) {
		t.Helper()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("dovecot's log:\n%s", s.Log())
		}
	})
	return s
}

// Require fails the test if err is not nil, but skips it if err is ErrNotInstalled, unless the environment has CI=true:
// where everything was to be installed a skipped test is a failed one.
func Require(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, ErrNotInstalled) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// startTries is how often a start is tried when somebody else took the ports that the kernel had called free.
const startTries = 5

// StartDovecot starts a Dovecot and returns when all its ports have greeted. The caller must Close it; ctx bounds the
// start alone. It runs as root (mail then belongs to nobody) and as an ordinary user. opts may be nil. The error is
// ErrNotInstalled if there is no Dovecot.
func StartDovecot(ctx context.Context, opts *DovecotOptions) (*DovecotServer, error) {
	s := &DovecotServer{Host: "127.0.0.1", fail: func(err error) { panic(err) }}
	if opts != nil {
		s.opts = *opts
	}
	if err := s.complete(); err != nil {
		return nil, fmt.Errorf("dovecot: %w", err)
	}
	var err error
	if s.binary, err = program("dovecot"); err != nil {
		return nil, err
	}
	if s.Version, err = dovecotVersion(ctx, s.binary); err != nil {
		return nil, fmt.Errorf("dovecot: %w", err)
	}
	if s.dir, err = os.MkdirTemp(s.opts.Dir, "dc"); err != nil {
		return nil, fmt.Errorf("dovecot: %w", err)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("dovecot: %w", err), s.remove())
	}
	return s, nil
}

// complete fills in what the options left out and checks the rest.
func (s *DovecotServer) complete() error {
	o := &s.opts
	if o.Users == nil {
		o.Users = []string{"juser"}
	}
	if o.Protocols == nil {
		o.Protocols = []string{"imap"}
	}
	if o.Password == "" {
		o.Password = rand.Text()
	}
	if o.Mechanisms == "" {
		o.Mechanisms = "plain login cram-md5 scram-sha-1 scram-sha-256"
	}
	if o.Hosts == nil {
		o.Hosts = []string{"localhost", "127.0.0.1"}
	}
	if o.MaxPerUser == 0 {
		o.MaxPerUser = 1000
	}
	for _, p := range o.Protocols {
		if !slices.Contains([]string{"imap", "pop3", "submission"}, p) {
			return fmt.Errorf("protocol %q: want imap, pop3 or submission", p)
		}
	}
	if slices.Contains(o.Protocols, "submission") {
		if _, _, err := net.SplitHostPort(o.Relay); err != nil {
			return fmt.Errorf("submission: relay: %w", err)
		}
	}
	for _, u := range o.Users {
		if u == "" || strings.ContainsAny(u, "/:\r\n\x00") || u == "." || u == ".." {
			return fmt.Errorf("user %q cannot be the name of a folder and a line of a password file", u)
		}
	}
	if strings.ContainsAny(o.Password, ":\r\n\x00") {
		return errors.New("the password must be without colon and line end")
	}
	s.Users, s.User, s.Password = o.Users, o.Users[0], o.Password
	return nil
}

// prepare writes what the server reads, and starts it.
func (s *DovecotServer) prepare(ctx context.Context) error {
	// The server's processes run as other users than the test and must reach all this.
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	var err error
	if s.owner, err = mailOwner(); err != nil {
		return err
	}
	cert, err := newCertificate(s.opts.Hosts)
	if err != nil {
		return err
	}
	s.CAPEM = string(cert.ca)
	var passwd strings.Builder
	for _, u := range s.Users {
		fmt.Fprintf(&passwd, "%s:{PLAIN}%s::::::\n", u, s.Password)
	}
	for name, data := range map[string][]byte{"cert.pem": cert.chain, "key.pem": cert.key, "passwd": []byte(passwd.String())} {
		if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o644); err != nil { // world-readable: a test's
			return err
		}
	}
	for _, u := range s.Users {
		if err := s.owner.maildir(s.Maildir(u)); err != nil {
			return err
		}
	}
	if err := s.prepareMechanisms(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if s.ports, err = freePorts(s.Host, s.services()); err != nil {
			return err
		}
		config, err := s.config()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.dir, "dovecot.conf"), []byte(config), 0o644); err != nil {
			return err
		}
		err = s.start(ctx)
		if err == nil || try == startTries || !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
	}
}

// services names the ports that the server has.
func (s *DovecotServer) services() []string {
	var names []string
	for _, p := range s.opts.Protocols {
		names = append(names, p)
		if !s.opts.NoTLS {
			names = append(names, p+"s")
		}
	}
	return names
}

// start runs the server and waits until every port has greeted.
func (s *DovecotServer) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// Not CommandContext: ctx bounds the start, not the server's life.
	p, err := startProcess(exec.Command(s.binary, "-F", "-c", filepath.Join(s.dir, "dovecot.conf")))
	if err != nil {
		return err
	}
	s.process = p
	for _, service := range s.services() {
		if err := s.awaitGreeting(ctx, service); err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", service, err), p.kill())
			if missing := missingService.FindStringSubmatch(p.log.String()); missing != nil {
				err = fmt.Errorf("dovecot's %s %w", missing[1], errors.Join(ErrNotInstalled, err))
			}
			return err
		}
	}
	return nil
}

// missingService is what Dovecot says of a protocol whose package is not there.
var missingService = regexp.MustCompile(`service\(([\w-]+)\) access\(\S+\) failed: No such file`)

// awaitGreeting dials until the service says something: Dovecot accepts connections before it can serve them.
func (s *DovecotServer) awaitGreeting(ctx context.Context, service string) error {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := s.greeting(ctx, service)
		if err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-s.process.done:
			return err // stop tells why it ended
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (s *DovecotServer) greeting(ctx context.Context, service string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := s.Dial(ctx, service)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the read below
	defer stop()
	line, err := bufio.NewReader(conn).ReadString('\n')
	err = errors.Join(err, conn.Close())
	if word, _, _ := strings.Cut(strings.TrimPrefix(line, "* "), " "); err == nil && !slices.Contains([]string{"OK", "+OK", "220"}, word) {
		err = fmt.Errorf("greeting %q", line)
	}
	return err
}

// Dial connects to a service: "imap", "pop3" and "submission" in the clear, those with an "s" behind it over TLS.
func (s *DovecotServer) Dial(ctx context.Context, service string) (net.Conn, error) {
	if !strings.HasSuffix(service, "s") {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr(service))
	}
	return (&tls.Dialer{Config: s.ClientTLS()}).DialContext(ctx, "tcp", s.Addr(service))
}

// ClientTLS returns a configuration that trusts the server's certificate, and the name in it.
func (s *DovecotServer) ClientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CAPEM))
	return &tls.Config{RootCAs: roots, ServerName: s.opts.Hosts[0], MinVersion: tls.VersionTLS12}
}

// Port returns the TCP port of a service: "imap", "pop3", "submission", or one of them with an "s" behind it.
func (s *DovecotServer) Port(service string) int {
	port, ok := s.ports[service]
	if !ok {
		s.fail(fmt.Errorf("dovecot: service %q: it serves %s", service, strings.Join(s.services(), ", ")))
	}
	return port
}

// Addr returns "host:port" of a service, named as for Port.
func (s *DovecotServer) Addr(service string) string {
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port(service)))
}

// Pid returns the process id of the server's first process.
func (s *DovecotServer) Pid() int { return s.process.cmd.Process.Pid }

// Log returns the last 256 KiB that the server has logged.
func (s *DovecotServer) Log() string { return s.process.log.String() }

// Stop ends the server and keeps its mail. Its ports then refuse connections.
func (s *DovecotServer) Stop() {
	s.stopped = true
	if err := s.process.stop(); err != nil {
		s.fail(fmt.Errorf("dovecot: stop: %w", err))
	}
}

// Start starts a server again that Stop has ended, on the same ports and with the same mail.
func (s *DovecotServer) Start(ctx context.Context) {
	if err := s.start(ctx); err != nil {
		s.fail(fmt.Errorf("dovecot: start: %w", err))
	}
	s.stopped = false
}

// Close ends the server and removes all that belongs to it. A server that has been stopped may be closed.
func (s *DovecotServer) Close() error {
	var err error
	if !s.stopped {
		err = s.process.kill()
	}
	return errors.Join(err, s.remove())
}

// remove removes what is left of a server that has ended.
func (s *DovecotServer) remove() error {
	var err error
	if s.tokens != nil {
		err = s.tokens.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// program finds a program that may be outside an ordinary user's PATH.
func program(name string) (string, error) {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s %w", name, ErrNotInstalled)
}

// freePorts asks the kernel for a free port for each name.
func freePorts(host string, names []string) (map[string]int, error) {
	ports := make(map[string]int, len(names))
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close() // nothing was accepted
		}
	}()
	for _, name := range names {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		ports[name] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
