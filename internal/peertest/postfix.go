package peertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PostfixOptions are the options of [Postfix] and [StartPostfix]. The zero value is a submission server that wants a
// login and throws every message away.
type PostfixOptions struct {
	// Deliver is where every message goes: "lmtp:[127.0.0.1]:port" or "smtp:[127.0.0.1]:port" of the test's own server;
	// "" throws it away.
	Deliver    string
	Open       bool     // takes mail without a login, and starts no Dovecot
	Mechanisms string   // of SASL, as DovecotOptions.Mechanisms
	MaxSize    int      // of a message, in octets; 0 = 50 MiB
	Refused    []string // recipients that are refused with 550 5.1.1
	Later      []string // recipients that are refused with 450 4.7.1, as greylisting does
	Hosts      []string // names and addresses in the certificate; nil = {"localhost", "127.0.0.1"}
	Settings   string   // further lines of main.cf
	Dir        string   // where to keep everything; "" = os.TempDir
}

// A PostfixServer is a running Postfix, with a Dovecot behind it that knows one user. Its fields do not change after the
// start.
type PostfixServer struct {
	Version  string // "3.7.11"
	Host     string // an IP address of loopback
	User     string // "" with PostfixOptions.Open
	Password string
	CAPEM    string // certificate of the authority that signed the server's

	opts    PostfixOptions
	ports   map[string]int // submission (STARTTLS), submissions (TLS)
	dir     string
	dovecot *DovecotServer
	auth    int // Dovecot's port for Postfix
	process *process
}

// Postfix starts a Postfix that ends with the test. Without Postfix on the machine, or without the right to run it, which
// only root has, the test is skipped, or fails if the environment has CI=true. opts may be nil.
func Postfix(t testing.TB, opts *PostfixOptions) *PostfixServer {
	t.Helper()
	s, err := StartPostfix(t.Context(), opts)
	Require(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("postfix's log:\n%s", s.Log())
		}
	})
	return s
}

// StartPostfix starts a Postfix and returns when its ports have greeted. The caller must Close it; ctx bounds the start
// alone. opts may be nil. The error is ErrNotInstalled if there is no Postfix, or if this process is not root's.
func StartPostfix(ctx context.Context, opts *PostfixOptions) (*PostfixServer, error) {
	s := &PostfixServer{Host: "127.0.0.1"}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Hosts == nil {
		s.opts.Hosts = []string{"localhost", "127.0.0.1"}
	}
	postfix, err := program("postfix")
	if err != nil {
		return nil, err
	}
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("postfix %w (for others than root, who alone can run it)", ErrNotInstalled)
	}
	if !s.opts.Open {
		if err := s.startAuth(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.prepare(ctx, postfix); err != nil {
		return nil, errors.Join(fmt.Errorf("postfix: %w", err), s.Close())
	}
	return s, nil
}

// startAuth starts the Dovecot that knows passwords. It must be there first: a smtpd that finds nobody to ask dies.
func (s *PostfixServer) startAuth(ctx context.Context) error {
	ports, err := freePorts(s.Host, []string{"auth"})
	if err != nil {
		return err
	}
	s.auth = ports["auth"]
	s.dovecot, err = StartDovecot(ctx, &DovecotOptions{
		Mechanisms: s.opts.Mechanisms, Dir: s.opts.Dir, NoTLS: true,
		Settings: fmt.Sprintf("service auth {\n inet_listener {\n  address = %s\n  port = %d\n }\n}", s.Host, s.auth),
	})
	if err != nil {
		return err
	}
	s.User, s.Password = s.dovecot.User, s.dovecot.Password
	return nil
}

// prepare writes what the server reads, and starts it.
func (s *PostfixServer) prepare(ctx context.Context, postfix string) error {
	var err error
	if s.dir, err = os.MkdirTemp(s.opts.Dir, "pf"); err != nil {
		return err
	}
	// The server's processes run as other users than the test and must reach all this.
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	if err := s.folders(); err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(postfix), "postconf"), "-c", s.dir, "-d", "-h", "mail_version").Output()
	if err != nil {
		return fmt.Errorf("postconf: %w", err)
	}
	s.Version = strings.TrimSpace(string(version))
	cert, err := newCertificate(s.opts.Hosts)
	if err != nil {
		return err
	}
	s.CAPEM = string(cert.ca)
	if s.ports, err = freePorts(s.Host, []string{"submission", "submissions"}); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"cert.pem": string(cert.chain), "key.pem": string(cert.key), "main.cf": s.mainCF(), "master.cf": s.masterCF(), "recipients": s.recipients(),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil { // world-readable: a test's
			return err
		}
	}
	// It makes the folders of the queue.
	if out, err := exec.CommandContext(ctx, postfix, "-c", s.dir, "check").CombinedOutput(); err != nil {
		return fmt.Errorf("check: %w\n%s", err, out)
	}
	return s.start(ctx)
}

func (s *PostfixServer) folders() error {
	for _, name := range []string{"queue", "data"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o755); err != nil {
			return err
		}
	}
	u, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, errUID := strconv.Atoi(u.Uid)
	gid, errGID := strconv.Atoi(u.Gid)
	return errors.Join(errUID, errGID, os.Chown(filepath.Join(s.dir, "data"), uid, gid))
}

// daemons is where Debian keeps Postfix's programs.
const daemons = "/usr/lib/postfix/sbin"

func (s *PostfixServer) mainCF() string {
	var c config
	at := func(name string) string { return filepath.Join(s.dir, name) }
	c.line("compatibility_level = 3.6")
	c.line("queue_directory = %s\ndata_directory = %s", at("queue"), at("data"))
	c.line("command_directory = /usr/sbin\ndaemon_directory = %s", daemons)
	c.line("mail_owner = postfix\nsetgid_group = postdrop")
	c.line("myhostname = postfix.example.org\nmydestination =\nalias_maps =\nalias_database =\nlocal_recipient_maps =")
	c.line("inet_interfaces = loopback-only\ninet_protocols = ipv4\nmynetworks = 192.0.2.1/32\nsmtpd_peername_lookup = no")
	c.line("maillog_file = /dev/stdout\nmaillog_file_prefixes = /dev/stdout")
	c.line("smtpd_tls_cert_file = %s\nsmtpd_tls_key_file = %s\nsmtpd_tls_security_level = may", at("cert.pem"), at("key.pem"))
	relay := "permit_sasl_authenticated, reject"
	if s.opts.Open {
		relay = "permit"
	}
	c.line("smtpd_relay_restrictions = check_recipient_access regexp:%s, %s", at("recipients"), relay)
	if s.opts.Open {
		c.line("smtpd_sasl_auth_enable = no")
	} else {
		c.line("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:%s:%d\nbroken_sasl_auth_clients = yes", s.Host, s.auth)
	}
	size := s.opts.MaxSize
	if size == 0 {
		size = 50 << 20
	}
	c.line("message_size_limit = %d\nmailbox_size_limit = 0", size)
	deliver := s.opts.Deliver
	if deliver == "" {
		deliver = "discard:"
	}
	c.line("default_transport = %s\nlmtp_send_xforward_command = no\ndisable_dns_lookups = yes\nsmtp_host_lookup = native", deliver)
	c.line("%s", s.opts.Settings)
	return c.String()
}

// recipients is a table of regular expressions, which needs no database.
func (s *PostfixServer) recipients() string {
	var b strings.Builder
	add := func(addresses []string, verdict string) {
		for _, a := range addresses {
			fmt.Fprintf(&b, "/^%s$/ %s\n", strings.NewReplacer(".", `\.`, "+", `\+`, "/", `\/`).Replace(a), verdict)
		}
	}
	add(s.opts.Refused, "550 5.1.1 no such recipient")
	add(s.opts.Later, "450 4.7.1 come back in 300 seconds")
	return b.String()
}

func (s *PostfixServer) masterCF() string {
	var c config
	c.line("%s:%d inet n - n - - smtpd", s.Host, s.ports["submission"])
	c.line("%s:%d inet n - n - - smtpd -o smtpd_tls_wrappermode=yes", s.Host, s.ports["submissions"])
	for _, service := range []string{
		"cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite",
		"bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "error unix - - n - - error", "retry unix - - n - - error",
		"discard unix - - n - - discard", "smtp unix - - n - - smtp", "relay unix - - n - - smtp", "lmtp unix - - n - - lmtp", "anvil unix - - n - 1 anvil",
		"proxymap unix - - n - - proxymap", "scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd",
	} {
		c.line("%s", service)
	}
	return c.String()
}

// start runs the server and waits until both ports can be spoken to.
func (s *PostfixServer) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// The command postfix would put a shell between this process and master.
	p, err := startProcess(exec.Command(filepath.Join(daemons, "master"), "-c", s.dir, "-d"))
	if err != nil {
		return err
	}
	s.process = p
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := s.greeting(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-p.done:
			return err // Close tells why it ended
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err, errors.New(p.log.String()))
		}
	}
}

func (s *PostfixServer) greeting(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr("submission"))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the read below
	defer stop()
	line, err := bufio.NewReader(conn).ReadString('\n')
	err = errors.Join(err, conn.Close())
	if err == nil && !strings.HasPrefix(line, "220 ") {
		err = fmt.Errorf("greeting %q", line)
	}
	return err
}

// Addr returns "host:port" of a service: "submission" speaks STARTTLS, "submissions" TLS from the first octet.
func (s *PostfixServer) Addr(service string) string {
	return net.JoinHostPort(s.Host, strconv.Itoa(s.ports[service]))
}

// Queued returns how many messages the server has taken and not passed on yet.
func (s *PostfixServer) Queued() (int, error) {
	n := 0
	for _, name := range []string{"maildrop", "incoming", "active", "deferred", "hold"} {
		err := filepath.WalkDir(filepath.Join(s.dir, "queue", name), func(_ string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was passed on just now
			}
			if err == nil && entry.Type().IsRegular() {
				n++
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Log returns the last 256 KiB that the server has logged.
func (s *PostfixServer) Log() string {
	if s.process == nil {
		return ""
	}
	return s.process.log.String()
}

// Close ends the server and its Dovecot, and removes all that belongs to them.
func (s *PostfixServer) Close() error {
	var err error
	if s.process != nil {
		err = s.process.kill()
	}
	if s.dovecot != nil {
		err = errors.Join(err, s.dovecot.Close())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
