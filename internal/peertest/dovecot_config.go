package peertest

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// dovecotVersion returns the first word of `dovecot --version`: "2.3.19.1".
func dovecotVersion(ctx context.Context, binary string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", binary, err)
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	return version, nil
}

// config collects the lines of dovecot.conf.
type config struct{ strings.Builder }

// line adds one line, or several.
func (c *config) line(format string, args ...any) { fmt.Fprintf(&c.Builder, format+"\n", args...) }

// config writes dovecot.conf in the language of the version installed.
func (s *DovecotServer) config() (string, error) {
	var c config
	switch {
	case strings.HasPrefix(s.Version, "2.3."):
		s.settings23(&c)
	case strings.HasPrefix(s.Version, "2.4."):
		s.settings24(&c)
	default:
		return "", fmt.Errorf("version %s: this package writes the configuration of 2.3 and 2.4", s.Version)
	}
	s.settings(&c)
	c.line("%s", s.opts.Settings)
	return c.String(), nil
}

// at returns the path of something that belongs to the server.
func (s *DovecotServer) at(name string) string { return filepath.Join(s.dir, name) }

// settings23 writes what Dovecot 2.3 has its own words for.
func (s *DovecotServer) settings23(c *config) {
	c.line("protocols = %s", strings.Join(s.opts.Protocols, " "))
	if !s.opts.NoTLS {
		c.line("ssl_cert = <%s\nssl_key = <%s", s.at("cert.pem"), s.at("key.pem"))
	}
	c.line("disable_plaintext_auth = no")
	c.line("passdb {\n driver = passwd-file\n args = %s\n}", s.at("passwd"))
	c.line("userdb {\n driver = static\n args = uid=%d gid=%d home=%s/%%u\n}", s.owner.uid, s.owner.gid, s.at("mail"))
	s.mechanismSettings(c)
	c.line("mail_location = maildir:~/Maildir")
	if s.opts.Compress {
		c.line("mail_plugins = zlib\nprotocol imap {\n mail_plugins = zlib imap_zlib\n}")
	}
}

// settings24 writes what Dovecot 2.4 has its own words for. It offers COMPRESS always.
func (s *DovecotServer) settings24(c *config) {
	c.line("dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0") // must be first
	c.line("protocols {")
	for _, p := range s.opts.Protocols {
		c.line(" %s = yes", p)
	}
	c.line("}")
	if !s.opts.NoTLS {
		c.line("ssl_server_cert_file = %s\nssl_server_key_file = %s", s.at("cert.pem"), s.at("key.pem"))
	}
	c.line("auth_allow_cleartext = yes")
	c.line("passdb passwd-file {\n passwd_file_path = %s\n}", s.at("passwd"))
	c.line("userdb static {\n fields {\n  uid = %d\n  gid = %d\n  home = %s/%%{user}\n }\n}", s.owner.uid, s.owner.gid, s.at("mail"))
	c.line("mail_driver = maildir\nmail_path = ~/Maildir")
}

// settings writes what all versions understand.
func (s *DovecotServer) settings(c *config) {
	c.line("listen = %s", s.Host)
	c.line("base_dir = %s\nstate_dir = %s\ninstance_name = %s", s.at("run"), s.at("state"), filepath.Base(s.dir))
	c.line("log_path = /dev/stderr")
	if s.opts.NoTLS {
		c.line("ssl = no")
	} else {
		c.line("ssl = yes")
	}
	c.line("auth_mechanisms = %s", s.mechanisms())
	c.line("first_valid_uid = 1\nfirst_valid_gid = 1") // nobody is a system user
	c.line("namespace inbox {\n inbox = yes\n separator = /")
	for _, special := range []string{"Sent", "Trash", "Drafts", "Junk", "Archive"} {
		c.line(" mailbox %s {\n  special_use = \\%[1]s\n }", special)
	}
	c.line("}")
	c.line("mail_save_crlf = yes") // else an appended message loses its CRs on disk
	c.line("mail_fsync = never")   // the mail is not meant to outlive the machine
	c.line("mail_max_userip_connections = %d", s.opts.MaxPerUser)
	c.line("default_process_limit = 1000\ndefault_client_limit = 4000\ndefault_vsz_limit = 1 G")
	// By default a wrong password costs 2 seconds, and each further one from the same address 6.
	c.line("auth_failure_delay = 0\nservice anvil {\n unix_listener anvil-auth-penalty {\n  mode = 0\n }\n}")
	for _, p := range s.opts.Protocols {
		c.line("service %s-login {", p)
		c.line(" inet_listener %s {\n  port = %d\n }", p, s.ports[p])
		c.line(" inet_listener %ss {\n  port = %d\n  ssl = yes\n }\n}", p, s.ports[p+"s"]) // port 0: none
	}
	if host, port, err := net.SplitHostPort(s.opts.Relay); err == nil {
		c.line("submission_relay_host = %s\nsubmission_relay_port = %s", host, port)
	}
	// Only root may change the root directory, and nothing here needs that protection.
	for _, service := range slices.Concat([]string{"anvil", "stats"}, s.logins()) {
		c.line("service %s {\n chroot =\n}", service)
	}
	if s.owner.name != "" { // not root: all processes run as this user
		c.line("default_internal_user = %s\ndefault_internal_group = %s\ndefault_login_user = %[1]s", s.owner.name, s.owner.group)
		c.line("service auth {\n user = %s\n}\nservice auth-worker {\n user = %[1]s\n}", s.owner.name)
	}
}

// logins names the services that take the protocols' connections.
func (s *DovecotServer) logins() []string {
	var names []string
	for _, p := range s.opts.Protocols {
		names = append(names, p+"-login")
	}
	return names
}
