package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mailconn/mailconn/internal/peertest"
)

// mbsync is isync's program, set up to do the row's work: new messages from the server into a Maildir.
func mbsync(srv *peertest.DovecotServer, address string, work imapWork, check func(string, []byte) error) contender {
	c := contender{name: "mbsync", role: peer, check: check}
	program, err := exec.LookPath("mbsync")
	if err != nil {
		c.missing = "not installed (Debian package isync)"
		return c
	}
	c.command = func(ctx context.Context, target string) (*job, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		// What is no message begins with a dot, so that it is not counted as one.
		rc, ca := filepath.Join(target, ".mbsyncrc"), filepath.Join(target, ".ca.pem")
		ssl, sync := "None", "no"
		if work.tls {
			ssl, host = "IMAPS", "localhost" // it does not look for addresses in certificates
		}
		if work.sync {
			sync = "yes"
		}
		text := fmt.Sprintf(`FSync %s

IMAPAccount bench
Host %s
Port %s
User %s
Pass %s
AuthMechs LOGIN
SSLType %s
SystemCertificates no
CertificateFile %s

IMAPStore server
Account bench

MaildirStore files
Path %[8]s/
Inbox %[8]s/INBOX

Channel bench
Far :server:
Near :files:
Patterns INBOX
Sync Pull New
Create Near
SyncState %[8]s/.state-
`, sync, host, port, srv.User, srv.Password, ssl, ca, target)
		if err := os.WriteFile(ca, []byte(srv.CAPEM), 0o600); err != nil {
			return nil, err
		}
		if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, program, "-q", "-c", rc, "bench")
		cmd.Env = append(os.Environ(), "HOME="+target)
		return &job{cmd: cmd}, nil
	}
	return c
}
