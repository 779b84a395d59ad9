package ewshttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
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
	if !bytes.HasPrefix(challenge, []byte("NTLMSSP\x00")) {
		return nil, errors.New("it is no NTLM message")
	}
	if c.opts.ChannelBinding && state != nil && len(state.PeerCertificates) > 0 {
		var err error
		if challenge, err = bind(challenge, bindingOf(endPoint(state.PeerCertificates[0]))); err != nil {
			return nil, err
		}
	}
	return ntlmssp.NewAuthenticateMessage(challenge, f.name, c.opts.Password.Reveal(), nil)
}
