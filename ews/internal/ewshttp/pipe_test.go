package ewshttp_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

// pipes lets a client and a server speak without a network, so that testing/synctest knows when all of them wait.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// newPipeServer starts a server in a bubble of testing/synctest. The client's options must allow http.
func newPipeServer(t testing.TB, set func(*server)) (*server, *connection.Env) {
	s := &server{t: t, users: map[string]string{user: password}, base: "http://ews.corp.test"}
	if set != nil {
		set(s)
	}
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	hs := &http.Server{Handler: s, ConnContext: s.connContext}
	done := make(chan error)
	go func() { done <- hs.Serve(p) }()
	t.Cleanup(func() {
		closeIt(t, hs)
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s, &connection.Env{Dial: p.dial}
}

// inBubble runs f with a server and a client of it in a bubble of testing/synctest, where net/http's own timers cannot decide
// whether a connection is used again.
func inBubble(t *testing.T, set func(*server), f func(t *testing.T, s *server, c *ewshttp.Client), options ...func(*ewshttp.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, set)
		f(t, s, s.client(env, append([]func(*ewshttp.Options){clear}, options...)...))
	})
}

func clear(o *ewshttp.Options) {
	o.Mode, o.AllowPlaintextAuth, o.TLS = connection.ModeInsecure, true, nil
}

// dial connects to the server whatever the name.
func (s *server) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, s.endpoint().Host)
}
