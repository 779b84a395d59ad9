package ewshttp

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // RFC 4121, section 4.1.1.2 has it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/Azure/go-ntlmssp"

	"github.com/mailconn/mailconn/connection"
)

// A session is one connection and whom the server takes it for: NTLM authenticates the connection, not the request. It is used
// by one request at a time.
type session struct {
	key  string
	wire *wire
	live bool // the server has accepted the credential on its connection, as far as we know
}

// sessions hold those that no request uses.
type sessions struct {
	mu     sync.Mutex
	idle   map[string][]*session
	closed bool
}

// session returns one that nobody uses, or a new one.
func (c *Client) session(u *url.URL) (*session, error) {
	key := u.Scheme + "://" + endpointOf(u)
	p := &c.sessions
	p.mu.Lock()
	defer p.mu.Unlock()
	if idle := p.idle[key]; len(idle) > 0 {
		s := idle[len(idle)-1]
		p.idle[key] = idle[:len(idle)-1]
		return s, nil
	}
	w, err := c.wires.make(c, c.isServer(u))
	if err != nil {
		return nil, err
	}
	w.std.MaxConnsPerHost, w.std.MaxIdleConnsPerHost = 1, 1
	return &session{key: key, wire: w}, nil
}

// put gives a session back. One whose connection is of no more use is closed.
func (c *Client) put(s *session, reusable bool) {
	p := &c.sessions
	p.mu.Lock()
	keep := reusable && s.live && !p.closed && len(p.idle[s.key]) < c.opts.MaxConnections+writers
	if keep {
		if p.idle == nil {
			p.idle = make(map[string][]*session)
		}
		p.idle[s.key] = append(p.idle[s.key], s)
	}
	p.mu.Unlock()
	if !keep {
		s.wire.close()
	}
}

func (p *sessions) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, list := range idle {
		for _, s := range list {
			s.wire.close()
		}
	}
}

// maxRestarts is how often a handshake is begun anew since its connection was closed between the messages.
const maxRestarts = 2

// overSession sends the request over a session.
func (x *exchange) overSession(ctx context.Context, sch scheme) (t *trip, s *session, err error) {
	if s, err = x.c.session(x.url); err != nil {
		return nil, nil, x.c.config("%w", err)
	}
	defer func() {
		if err != nil {
			x.c.put(s, false)
			s = nil
		}
	}()
	if s.live {
		t, err = x.send(ctx, s.wire, &leg{body: x.r.Body, pinned: true})
		switch {
		case errors.Is(err, errMoved):
		case err != nil || t.resp.StatusCode != http.StatusUnauthorized:
			return t, s, err
		default: // the server has forgotten who we are, or never says no otherwise when it is busy
			t.text()
			t.done()
			x.c.jars.drop(x.r.jar())
		}
		s.live = false
	}
	tick, err := x.c.login.enter(ctx, x.endpoint, sch)
	if err != nil {
		return nil, s, err
	}
	defer tick.leave()
	forms := x.c.forms(sch)
	for {
		t, said, err := x.handshake(ctx, s, sch, forms[min(tick.form, len(forms)-1)])
		if err != nil {
			return nil, s, err
		}
		if !said || t.resp.StatusCode != http.StatusUnauthorized {
			if said && decided(t.resp.StatusCode) {
				s.live = true
				tick.accepted(sch)
			}
			return t, s, nil
		}
		refusal := x.refusal(t, sch)
		refusal.forms = len(forms)
		if err := x.again(ctx, tick, refusal); err != nil {
			return nil, s, err
		}
	}
}

// handshake authenticates a session's connection ([MS-NTHT]) and sends the request with its last message. said is false if the
// server has answered the first one otherwise than with a challenge, and that is the answer.
func (x *exchange) handshake(ctx context.Context, s *session, sch scheme, f form) (t *trip, said bool, err error) {
	for range maxRestarts + 1 {
		hello, err := ntlmssp.NewNegotiateMessage("", "") // the client machine's domain and name, not the user's
		if err != nil {
			return nil, false, x.c.fail(connection.ErrUnsupported, x.endpoint, "", "ntlm: %w", err)
		}
		t, err := x.send(ctx, s.wire, &leg{auth: authorization(sch, hello), scheme: sch, safe: true})
		if err != nil {
			return nil, false, err
		}
		if t.resp.StatusCode != http.StatusUnauthorized {
			return x.withoutLogin(ctx, s, t)
		}
		list, state := offers(t.resp.Header), t.resp.TLS
		t.text()
		t.done()
		challenge, ok := challengeOf(list, sch)
		if !ok {
			return nil, false, x.unchallenged(sch, list)
		}
		message, err := x.c.answer(challenge, f, state)
		if err != nil {
			return nil, false, x.problem(err)
		}
		t, err = x.send(ctx, s.wire, &leg{body: x.r.Body, auth: authorization(sch, message), scheme: sch, pinned: true, once: true})
		if !errors.Is(err, errMoved) {
			return t, true, err
		}
	}
	return nil, false, x.c.fail(connection.ErrNetwork, x.endpoint, "auth: ntlm needs one connection for a whole login; a proxy or balancer on the way may not keep it",
		"the connection was closed between the messages of the login, %d times", maxRestarts+1)
}

// withoutLogin goes on after a server that answers the first message as if it were a request: it may want no login at all.
func (x *exchange) withoutLogin(ctx context.Context, s *session, t *trip) (*trip, bool, error) {
	switch t.resp.StatusCode {
	case http.StatusOK, http.StatusBadRequest, http.StatusLengthRequired, http.StatusInternalServerError:
	default:
		return t, false, nil
	}
	if x.r.Body == nil {
		return t, false, nil
	}
	t.done()
	t, err := x.send(ctx, s.wire, &leg{body: x.r.Body})
	if err == nil && t.resp.StatusCode == http.StatusUnauthorized {
		return nil, false, x.refusal(t, schemeNone).why
	}
	return t, false, err
}

func authorization(sch scheme, message []byte) string {
	return sch.String() + " " + base64.StdEncoding.EncodeToString(message)
}

// maxChallenge is the longest challenge that is looked at; real ones have a few hundred octets.
const maxChallenge = 16 << 10

// challengeOf returns the server's message.
func challengeOf(list []offer, sch scheme) ([]byte, bool) {
	for _, o := range list {
		if strings.EqualFold(o.name, sch.String()) && o.token != "" && len(o.token) <= maxChallenge {
			message, err := base64.StdEncoding.DecodeString(o.token)
			return message, err == nil
		}
	}
	return nil, false
}

// problem is an error of a challenge that cannot be answered.
func (x *exchange) problem(err error) error {
	kind, text := connection.ErrProtocol, err.Error() // an io.EOF in it is not the connection's
	if strings.Contains(text, "not supported") || strings.Contains(text, "only NTLM v2") {
		kind = connection.ErrUnsupported
	}
	return x.c.fail(kind, x.endpoint, "auth: use basic or oauth with this server; only NTLM version 2 without key exchange is known here", "the challenge cannot be answered: %s", text)
}

// answer makes the message that answers a challenge.
func (c *Client) answer(challenge []byte, f form, state *tls.ConnectionState) ([]byte, error) {
	if !bytes.HasPrefix(challenge, []byte(ntlmSignature)) {
		return nil, errors.New("it is no NTLM message")
	}
	if c.opts.ChannelBinding && state != nil && len(state.PeerCertificates) > 0 {
		var err error
		if challenge, err = bind(challenge, bindingOf(state.PeerCertificates[0])); err != nil {
			return nil, err
		}
	}
	return ntlmssp.NewAuthenticateMessage(challenge, f.name, c.opts.Password.Reveal(), nil)
}

const (
	ntlmSignature = "NTLMSSP\x00"
	avEOL         = 0
	avBindings    = 0x000a // MsvAvChannelBindings
	infoField     = 40     // where TargetInfo is described: length, space, offset ([MS-NLMP], 2.2.1.2)
	infoEnd       = infoField + 8
)

// bindingOf returns the MD5 of the gss_channel_bindings structure of a certificate: RFC 5929, section 4 (tls-server-end-point)
// in RFC 4121, section 4.1.1.2, as [MS-NLMP], 3.1.5.1.2 wants it.
func bindingOf(cert *x509.Certificate) [md5.Size]byte {
	data := "tls-server-end-point:" + string(endPoint(cert))
	var b []byte
	b = append(b, make([]byte, 16)...) // no addresses
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return md5.Sum(append(b, data...))
}

// endPoint hashes a certificate with the hash of its signature, or SHA-256 where that is weaker (RFC 5929, section 4.1).
func endPoint(cert *x509.Certificate) []byte {
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		sum := sha512.Sum384(cert.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		sum := sha512.Sum512(cert.Raw)
		return sum[:]
	}
	sum := sha256.Sum256(cert.Raw)
	return sum[:]
}

// bind puts a channel binding into a challenge's target information, from where it gets into the answer and under its proof.
func bind(challenge []byte, binding [md5.Size]byte) ([]byte, error) {
	if len(challenge) < infoEnd {
		return nil, errors.New("the challenge is cut")
	}
	size := int(binary.LittleEndian.Uint16(challenge[infoField:]))
	offset := uint64(binary.LittleEndian.Uint32(challenge[infoField+4:]))
	if size > 0 && offset+uint64(size) > uint64(len(challenge)) {
		return nil, errors.New("the challenge's target information lies outside of it")
	}
	var info []byte
	if size > 0 {
		pairs := challenge[offset : offset+uint64(size)]
		for {
			if len(pairs) < 4 {
				return nil, errors.New("the challenge's target information has no end")
			}
			id, length := binary.LittleEndian.Uint16(pairs), int(binary.LittleEndian.Uint16(pairs[2:]))
			if id == avEOL {
				break
			}
			if len(pairs) < 4+length {
				return nil, errors.New("the challenge's target information is cut")
			}
			if id != avBindings {
				info = append(info, pairs[:4+length]...)
			}
			pairs = pairs[4+length:]
		}
	}
	info = binary.LittleEndian.AppendUint16(info, avBindings)
	info = binary.LittleEndian.AppendUint16(info, md5.Size)
	info = append(info, binding[:]...)
	info = append(info, 0, 0, 0, 0)
	if len(info) > 0xffff {
		return nil, errors.New("the challenge's target information is too long")
	}
	out := append(bytes.Clone(challenge), info...)
	binary.LittleEndian.PutUint16(out[infoField:], uint16(len(info)))
	binary.LittleEndian.PutUint16(out[infoField+2:], uint16(len(info)))
	binary.LittleEndian.PutUint32(out[infoField+4:], uint32(len(challenge)))
	return out, nil
}
