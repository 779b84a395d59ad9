package netx

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/mailconn/mailconn/connection"
)

// A Secured is a TLS session and what it was found to be.
type Secured struct {
	*tls.Conn
	State               tls.ConnectionState
	ClientCertRequested bool // the server asked for a client certificate
	Trusted             bool // the server's certificate or key was verified

	peer *Peer
}

// Handshake makes c a TLS client connection, as the settings say. It ends with ctx and by the no-data timeout. The
// error has a Hint that names the setting at fault, as [Secured.Explain] finds it; for a refused certificate it shows the names and the pin
// of what the server presented, so that an administrator can pin it. c is closed on error.
//
// With accept_any_certificate it warns, each time.
func (c *Conn) Handshake(ctx context.Context) (*Secured, error) {
	p := c.peer
	var base *tls.Config
	if p.Env != nil {
		base = p.Env.TLS
	}
	conf, err := p.Settings.Client(p.Host, base)
	if err != nil {
		return nil, errors.Join(p.Errorf(connection.ErrConfig, "", "config: %w", err), c.Close())
	}
	s := &Secured{peer: p, Trusted: !conf.InsecureSkipVerify || len(p.Settings.PinSHA256) > 0 || conf.VerifyConnection != nil || conf.VerifyPeerCertificate != nil}
	noteClientCert(conf, &s.ClientCertRequested)
	s.Conn = tls.Client(c, conf)
	if err := s.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = p.Ended(ctx)
		} else if c.Err() != nil {
			err = c.Err()
		} else {
			err = s.Explain(err)
		}
		c.Fail(err)
		return nil, err
	}
	s.State = s.ConnectionState()
	if !s.Trusted {
		p.Insecure(ctx, "the server's certificate is not verified", "accept_any_certificate: anybody on the path can read and change everything; set pin_sha256 to "+Pin(s.State.PeerCertificates)+" instead")
	}
	return s, nil
}

// Upgrade is Handshake for a connection that has agreed on TLS in the clear (STARTTLS, STLS). br is the reader of the
// clear stream: if it holds octets that arrived behind the server's consent, somebody injected them, and the error is
// ErrTLS.
func (c *Conn) Upgrade(ctx context.Context, br *bufio.Reader) (*Secured, error) {
	if n := br.Buffered(); n > 0 {
		err := c.peer.Errorf(connection.ErrTLS, "somebody on the path, or a broken server, sent text behind its consent to TLS; use mode tls if the server has a port for it",
			"plaintext injected behind STARTTLS (%d octets)", n)
		c.Fail(err)
		return nil, err
	}
	return c.Handshake(ctx)
}

// Insecure tells the host that a connection without verified TLS is in use, and why.
func (p *Peer) Insecure(ctx context.Context, what, hint string) {
	p.Env.Log().LogAttrs(ctx, slog.LevelWarn, "insecure connection", slog.String("endpoint", p.Endpoint()), slog.String("reason", what), slog.String("hint", hint))
	id := p.ID
	if id == "" {
		id = p.Driver
	}
	p.Env.Emit(connection.Event{Kind: connection.EventInsecure, Connection: id, Detail: what})
}

// noteClientCert sets asked when the server asks for a client certificate.
func noteClientCert(conf *tls.Config, asked *bool) {
	choose, certs := conf.GetClientCertificate, conf.Certificates
	conf.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		*asked = true
		if choose != nil {
			return choose(info)
		}
		for i := range certs {
			if info.SupportsCertificate(&certs[i]) == nil {
				return &certs[i], nil
			}
		}
		if len(certs) > 0 {
			return &certs[0], nil // the server's list of authorities is often wrong; let it decide
		}
		return new(tls.Certificate), nil
	}
}

// Describe returns the facts of a TLS session in one line: version, cipher suite, whose certificate, until when.
func (s *Secured) Describe() string {
	text := tls.VersionName(s.State.Version) + ", " + tls.CipherSuiteName(s.State.CipherSuite)
	if chain := s.State.PeerCertificates; len(chain) > 0 {
		text += ", certificate " + describe(chain) + ", valid until " + chain[0].NotAfter.UTC().Format(time.DateOnly)
	}
	if s.ClientCertRequested {
		text += ", client certificate requested"
	}
	return text
}

// How many names of a certificate are shown, and how much of each.
const (
	maxNames      = 5
	maxNameLength = 100
)

// describe names a certificate. Whoever made it chose its texts: they are shown without what would harm a terminal.
func describe(chain []*x509.Certificate) string {
	cert := chain[0]
	names := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = []string{"CN=" + cert.Subject.CommonName + " (no names)"}
	}
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames:maxNames], fmt.Sprintf("and %d more", more))
	}
	for i, name := range names {
		names[i] = shown(name)
	}
	issuer := cert.Issuer.CommonName
	if issuer == "" {
		issuer = cert.Issuer.String()
	}
	return fmt.Sprintf("for %s by %q", strings.Join(names, ", "), shown(issuer))
}

// shown returns the beginning of a certificate's text, harmless to a terminal.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > maxNameLength {
		text = strings.ToValidUTF8(text[:maxNameLength], "") + "…"
	}
	return text
}

// Pin returns the first certificate's key as pin_sha256 takes it.
func Pin(chain []*x509.Certificate) string {
	digest := connection.SPKI(chain)
	return base64.StdEncoding.EncodeToString(digest[:])
}

// Explain classifies an error of the handshake, or of the first read after it: a TLS 1.3 server refuses a client
// certificate only then. A connection that ends in the handshake is ErrNetwork, since that may pass; all else is ErrTLS.
func (s *Secured) Explain(err error) error {
	var (
		e        *connection.Error
		verify   *tls.CertificateVerificationError
		hostname x509.HostnameError
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
	)
	p, chain := s.peer, s.ConnectionState().PeerCertificates
	if errors.As(err, &verify) && len(chain) == 0 {
		chain = verify.UnverifiedCertificates
	}
	what, pin := "", ""
	if len(chain) > 0 {
		what = "; it is " + describe(chain)
		pin = "pin_sha256 " + Pin(chain)
	}
	hint, text, began := "", err.Error(), ""
	switch {
	case errors.As(err, &e) && e.Kind != connection.ErrNetwork:
		return err
	case e != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return p.Errorf(connection.ErrNetwork, "mode: if this happens each time, the port may not speak TLS (usual: "+p.Ports+")", "the connection was closed in the TLS handshake: %w", err)
	case errors.As(err, &hostname):
		hint = "server_name: the certificate is not for " + p.name() + what + "; if that is the right server, set server_name to one of these names, or " + pin
	case errors.As(err, &unknown):
		hint = "ca_pem: the certificate's issuer is not trusted" + what + "; if it is the right server, put its authority into ca_pem, or set " + pin
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "the server's certificate has expired or is not valid yet (check this machine's clock)" + what + "; the server's administrator must renew it; until then " + pin + " would trust its key"
	case errors.As(err, &verify), strings.HasPrefix(text, "pin_sha256:"):
		hint = "pin_sha256: the server's certificate is refused" + what + "; if it is the right server, set " + pin
	case errors.As(err, &record):
		hint = "mode: this port does not speak TLS from the first octet; set mode to starttls, or use the TLS port (" + p.Ports + ")"
		if first := strings.TrimSpace(printable(record.RecordHeader[:])); first != "" {
			began = fmt.Sprintf("it began with %q: ", first)
		}
	case strings.Contains(text, "protocol version"): // crypto/tls has no type for it
		hint = "min_tls: the server and these settings have no TLS version in common; an old server needs a lower min_tls"
	case s.ClientCertRequested:
		hint = "client_cert_pem: the server asks for a client certificate that it accepts"
	default:
		hint = "mode: the TLS handshake failed; check that the port speaks TLS (" + p.Ports + ")"
	}
	return p.Errorf(connection.ErrTLS, hint, "%s%w", began, err)
}

func (p *Peer) name() string {
	if p.Settings.ServerName != "" {
		return p.Settings.ServerName
	}
	return p.Host
}

// printable keeps the octets that can be shown.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
}
