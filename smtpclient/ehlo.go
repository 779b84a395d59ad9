package smtpclient

import (
	"context"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/netx"
)

// extensions are what a server offers (RFC 5321, 4.1.1.1). The zero value offers nothing.
type extensions struct {
	words   []string // as told
	size    int64    // the largest message; 0: not told
	hasSize bool     // SIZE may be sent with MAIL (RFC 1870)
	auth    []string // mechanisms (RFC 4954)

	startTLS, pipelining, eightBit, binary, chunking, utf8, dsn, requireTLS bool
}

// parseExtensions reads the lines behind the first one. Keywords are in any case, and may come twice; what is not known
// is passed over.
func parseExtensions(lines []string) extensions {
	var x extensions
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue // smtp-sink ends with an empty line
		}
		x.words = append(x.words, strings.Join(fields, " "))
		keyword, args := strings.ToUpper(fields[0]), fields[1:]
		if old, ok := strings.CutPrefix(keyword, "AUTH="); ok { // before RFC 2554 was final
			keyword = "AUTH"
			if old != "" {
				args = append([]string{old}, args...)
			}
		}
		x.add(keyword, args)
	}
	return x
}

func (x *extensions) add(keyword string, args []string) {
	switch keyword {
	case "STARTTLS":
		x.startTLS = true
	case "PIPELINING":
		x.pipelining = true
	case "8BITMIME":
		x.eightBit = true
	case "BINARYMIME":
		x.binary = true
	case "CHUNKING":
		x.chunking = true
	case "SMTPUTF8":
		x.utf8 = true
	case "DSN":
		x.dsn = true
	case "REQUIRETLS":
		x.requireTLS = true
	case "SIZE":
		x.hasSize = true
		if len(args) > 0 {
			if n, err := strconv.ParseInt(args[0], 10, 64); err == nil && n > 0 {
				x.size = n
			}
		}
	case "AUTH":
		for _, name := range args {
			if name = strings.ToUpper(name); !slices.Contains(x.auth, name) {
				x.auth = append(x.auth, name)
			}
		}
	}
}

// hello says EHLO, or LHLO to an LMTP server, and takes what is offered. A server that does not know EHLO is told HELO.
func (s *session) hello() error {
	verb := "EHLO "
	if s.cfg.LMTP {
		verb = "LHLO "
	}
	name := s.cfg.EHLOName
	if name == "" {
		name = ownName(s.conn.LocalAddr())
	}
	r, err := s.command(verb + name)
	if err != nil {
		return err
	}
	if (r.code == 500 || r.code == 502) && !s.cfg.LMTP {
		// RFC 5321, 3.2. Without EHLO there is neither STARTTLS nor AUTH, and who wants those ends further down.
		if r, err = s.command("HELO " + name); err != nil {
			return err
		}
		r.lines = r.lines[:1]
	}
	if !r.positive() {
		hint := "ehlo_name: the server does not accept " + strconv.Quote(name)
		if s.cfg.LMTP && r.code/10 == 50 {
			hint = "lmtp: the server does not speak LMTP; is it an SMTP server?"
		}
		return s.refusal(stageHello, r, hint)
	}
	s.ext = parseExtensions(r.lines[1:])
	return nil
}

// ownName returns what to call this machine: its name if it is a whole one, else its address. "localhost" says nothing,
// and some servers refuse it (RFC 5321, 4.1.3 and 4.1.4).
func ownName(local net.Addr) string {
	name, err := os.Hostname()
	if err == nil && name != "" && !strings.HasPrefix(strings.ToLower(name), "localhost") && validateEHLOName(name) == nil {
		return name
	}
	tcp, ok := local.(*net.TCPAddr)
	switch {
	case !ok:
		return "[127.0.0.1]"
	case tcp.IP.To4() == nil:
		return "[IPv6:" + tcp.IP.String() + "]"
	}
	return "[" + tcp.IP.String() + "]"
}

// tlsPolicy obeys the mode on a connection that is in the clear: see [connection.Mode]. Before TLS nothing but EHLO and
// STARTTLS is sent.
func (s *session) tlsPolicy(ctx context.Context, m *tlsMemory) error {
	began, mode := time.Now(), s.cfg.Mode.Or()
	if mode != connection.ModeInsecure {
		if err := s.hello(); err != nil {
			s.way.Report("tls", began, "", "", err)
			return err
		}
		if s.ext.startTLS {
			return s.startTLS(ctx)
		}
	}
	return s.way.WithoutTLS(ctx, began, mode, m.seen.Load())
}

// startTLS upgrades (RFC 3207). Once offered, whatever goes wrong is an error.
func (s *session) startTLS(ctx context.Context) error {
	began := time.Now()
	r, err := s.command("STARTTLS")
	if err == nil && r.code != 220 {
		err = s.way.UpgradeRefused(s.said(r))
	}
	if err != nil {
		s.way.Report("tls", began, "", "", err)
		return err
	}
	return s.secure(func() (*netx.Secured, error) { return s.conn.Upgrade(ctx, s.br) })
}
