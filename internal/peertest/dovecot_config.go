package peertest

import (
	"context"
	"errors"
	"fmt"
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

// config writes dovecot.conf.
func (s *DovecotServer) config() (string, error) {
	if strings.HasPrefix(s.Version, "2.3.") {
		return s.config23(), nil
	}
	return "", errors.New("version " + s.Version + " has another configuration language than 2.3, which this package writes")
}

// config23 writes the configuration of Dovecot 2.3.
func (s *DovecotServer) config23() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	at := func(name string) string { return filepath.Join(s.dir, name) }
	line("protocols = %s", strings.Join(s.opts.Protocols, " "))
	line("listen = %s", s.Host)
	line("base_dir = %s", at("run"))
	line("state_dir = %s", at("state"))
	line("instance_name = %s", filepath.Base(s.dir))
	line("log_path = /dev/stderr")
	if s.opts.NoTLS {
		line("ssl = no")
	} else {
		line("ssl = yes\nssl_cert = <%s\nssl_key = <%s", at("cert.pem"), at("key.pem"))
	}
	line("disable_plaintext_auth = no")
	line("auth_mechanisms = %s", s.opts.Mechanisms)
	line("passdb {\n driver = passwd-file\n args = %s\n}", at("passwd"))
	line("userdb {\n driver = static\n args = uid=%d gid=%d home=%s/%%u\n}", s.owner.uid, s.owner.gid, at("mail"))
	line("first_valid_uid = 1\nfirst_valid_gid = 1") // nobody is a system user
	line("mail_location = maildir:~/Maildir")
	line("namespace inbox {\n inbox = yes\n separator = /")
	for _, special := range []string{"Sent", "Trash", "Drafts", "Junk", "Archive"} {
		line(" mailbox %s {\n  special_use = \\%[1]s\n }", special)
	}
	line("}")
	line("mail_save_crlf = yes") // else an appended message loses its CRs on disk
	line("mail_fsync = never")   // the mail is not meant to outlive the machine
	line("mail_max_userip_connections = %d", s.opts.MaxPerUser)
	line("default_process_limit = 1000\ndefault_client_limit = 4000\ndefault_vsz_limit = 1 G")
	// By default a wrong password costs 2 seconds, and each further one from the same address 6.
	line("auth_failure_delay = 0\nservice anvil {\n unix_listener anvil-auth-penalty {\n  mode = 0\n }\n}")
	if s.opts.Compress {
		line("mail_plugins = zlib\nprotocol imap {\n mail_plugins = zlib imap_zlib\n}")
	}
	for _, p := range s.opts.Protocols {
		line("service %s-login {\n inet_listener %[1]s {\n  port = %[2]d\n }\n inet_listener %[1]ss {\n  port = %[3]d\n  ssl = yes\n }\n}", p, s.ports[p], s.ports[p+"s"])
	}
	for _, service := range s.chrooted() {
		line("service %s {\n chroot =\n}", service)
	}
	if s.owner.name != "" { // not root: all processes run as this user
		line("default_internal_user = %s\ndefault_internal_group = %s\ndefault_login_user = %[1]s", s.owner.name, s.owner.group)
		line("service auth {\n user = %s\n}\nservice auth-worker {\n user = %[1]s\n}", s.owner.name)
	}
	line("%s", s.opts.Settings)
	return b.String()
}

// chrooted names the services whose chroot the configuration takes away: only root can enter one.
func (s *DovecotServer) chrooted() []string {
	names := []string{"anvil", "stats"}
	for _, p := range slices.Sorted(slices.Values(s.opts.Protocols)) {
		names = append(names, p+"-login")
	}
	return names
}
