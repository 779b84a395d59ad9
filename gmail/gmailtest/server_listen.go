package gmailtest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/doubles"
)

// googleHosts are the names under which a server with TLS is found too, so that clients may keep Google's addresses.
func googleHosts() []string {
	return []string{
		"gmail.googleapis.com", "www.googleapis.com", "admin.googleapis.com", "oauth2.googleapis.com", "iamcredentials.googleapis.com",
		"apps-apis.google.com", "accounts.google.com",
	}
}

// A network is what connects a server with its clients.
type network struct {
	url, address string
	caPEM        string
	listener     net.Listener
	memory       *memory // nil: sockets
	server       *http.Server
	done         chan struct{} // closed by close
	accepted     atomic.Int64
	running      sync.WaitGroup // the listener's goroutine, and handlers

	mu     sync.Mutex
	wires  map[*wire]struct{}
	closed bool
}

// listen starts to serve.
func listen(o *Options, handler http.Handler) (*network, error) {
	n := &network{done: make(chan struct{}), wires: make(map[*wire]struct{})}
	var conf *tls.Config
	scheme := "http"
	if o.Protocol != Plain {
		cert, err := doubles.NewCertificate("gmailtest", time.Now().AddDate(0, 6, 0), append(googleHosts(), "localhost", "127.0.0.1", "::1")...)
		if err != nil {
			return nil, err
		}
		conf, n.caPEM, err = doubles.ServerTLS("gmailtest", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		if err != nil {
			return nil, err
		}
		scheme = "https"
	}
	if o.Memory {
		n.memory = &memory{conns: make(chan net.Conn), done: n.done}
		n.listener, n.address = n.memory, "127.0.0.1"
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		n.listener, n.address = l, l.Addr().String()
	}
	n.url = scheme + "://" + n.address
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(o.Protocol == HTTP2)
	n.server = &http.Server{ //nolint:gosec // no timeouts: tests stall on purpose
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !n.enter() {
				panic(http.ErrAbortHandler)
			}
			defer n.running.Done()
			handler.ServeHTTP(w, r)
		}),
		Protocols: &protocols,
		TLSConfig: conf,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // handshakes that clients break off are part of tests
	}
	n.running.Go(func() {
		if conf != nil {
			_ = n.server.ServeTLS(n, "", "") // it ends with the listener
			return
		}
		_ = n.server.Serve(n) // it ends with the listener
	})
	return n, nil
}

// enter counts a handler, unless the server is closed.
func (n *network) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.running.Add(1)
	return true
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	c, err := n.listener.Accept()
	if err != nil {
		return nil, err
	}
	n.accepted.Add(1)
	w := &wire{Conn: c, net: n, done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	n.wires[w] = struct{}{}
	return w, nil
}

// Close implements net.Listener.
func (n *network) Close() error { return n.listener.Close() }

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return n.listener.Addr() }

// close ends all connections, and everything that serves them.
func (n *network) close() {
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		close(n.done)
	}
	n.mu.Unlock()
	_ = n.server.Close() // a listener that is closed already is no harm
	n.cutAll()
	n.running.Wait()
}

func (n *network) cutAll() {
	for _, w := range n.all() {
		_ = w.Close() // it may be closed already
	}
}

func (n *network) freeze() {
	for _, w := range n.all() {
		w.frozen.Store(true)
	}
}

func (n *network) all() []*wire {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]*wire, 0, len(n.wires))
	for w := range n.wires {
		list = append(list, w)
	}
	return list
}

// dial is the way in for clients: the server's own address, and with TLS Google's names. Nothing else is found.
func (n *network) dial(ctx context.Context, proto, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	own := address == n.address || n.memory != nil && (host == n.address || host == "localhost")
	for _, name := range googleHosts() {
		own = own || n.caPEM != "" && strings.EqualFold(host, name)
	}
	if !own {
		return nil, &net.OpError{Op: "dial", Net: proto, Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}
	if n.memory != nil {
		return n.memory.dial(ctx)
	}
	return (&net.Dialer{}).DialContext(ctx, proto, n.address)
}

// Env returns an environment that trusts the server's certificate and dials nothing but the server: its own address, and if
// it has TLS the names of Google's hosts.
func (s *Server) Env() *connection.Env {
	env := doubles.Env(s.net.caPEM)
	env.Dial = s.net.dial
	return env
}

// A wire is one connection, seen from the server.
type wire struct {
	net.Conn
	net    *network
	frozen atomic.Bool
	once   sync.Once
	done   chan struct{} // closed by Close
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.frozen.Load() {
		<-w.done
		return 0, net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if w.frozen.Load() {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.done) })
	w.net.mu.Lock()
	delete(w.net.wires, w)
	w.net.mu.Unlock()
	return w.Conn.Close()
}

// memory listens within the process.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
}

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	err := net.ErrClosed
	select {
	case m.conns <- server:
		return client, nil
	case <-m.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, client.Close(), server.Close())
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; the network's done ends Accept.
func (m *memory) Close() error { return nil }

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
