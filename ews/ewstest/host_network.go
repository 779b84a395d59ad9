package ewstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Host is how one name of the network behaves. The zero Host is the server itself.
type Host struct {
	// Unknown is a name that DNS does not have.
	Unknown bool
	// Refuse refuses connections, RefuseTLS and RefusePlain those to port 443 and to port 80.
	Refuse, RefuseTLS, RefusePlain bool
	// Drop is a firewall that drops packets: no connection is ever made, and none is refused.
	Drop bool
	// Silent takes connections and never says a word.
	Silent bool
	// Certificate is what is wrong with the certificate.
	Certificate Certificate
	// MaxTLS is the newest version of TLS, as in crypto/tls; 0 = the newest there is.
	MaxTLS uint16
	// HTTP2 offers HTTP/2, and refuses every request over it with HTTP_1_1_REQUIRED, as IIS does for NTLM.
	HTTP2 bool
	// Hostile must never be sent a credential: if it is, the test fails, and [Server.Leaks] tells of it.
	Hostile bool
	// PlainRedirect is where a GET of /autodiscover/autodiscover.xml on port 80 leads; "" is nowhere. PlainStatus is the
	// answer's; 0 = 302.
	PlainRedirect string
	PlainStatus   int
	// Handler answers in place of the server.
	Handler http.Handler
}

// A conn is one connection, of either port. Its handlers run one after the other.
type conn struct {
	id     int
	secure bool // over TLS
	net    net.Conn

	ntlm ntlmState
}

// tls returns the state of TLS, nil in the clear.
func (c *conn) tls() *tls.ConnectionState {
	t, ok := c.net.(*tls.Conn)
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	return &state
}

type connKey struct{}

// connOf returns the connection of a request.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// A network is the world of a Server's clients: every host name leads to it, on ports 443 and 80.
type network struct {
	ca            *authority
	host          func(name string) Host
	secure, plain net.Listener
	servers       []*http.Server
	running       sync.WaitGroup
	conns         atomic.Int64

	mu     sync.Mutex
	open   map[net.Conn]struct{} // of Silent hosts
	alive  map[net.Conn]struct{} // of all others
	dials  []string
	read   ReadSize
	closed bool
}

// ReadSize limits what one Read of a client's connection returns, beneath TLS: 0 = as it comes, 1 = octet by octet, and
// so on; a negative size is a limit at random up to its amount.
type ReadSize int

// listen starts a network on the loopback. host says how a name behaves; first sees every request, handler answers those of
// hosts without a Handler.
func listen(host func(name string) Host, first http.HandlerFunc, handler http.Handler) (*network, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	n := &network{ca: ca, host: host, open: make(map[net.Conn]struct{}), alive: make(map[net.Conn]struct{})}
	if n.secure, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if n.plain, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, n.secure.Close())
	}
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first(w, r)
		if h := n.host(hostName(r)); h.Handler != nil {
			h.Handler.ServeHTTP(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	})
	n.serve(n.secure, front, &tls.Config{MinVersion: tls.VersionTLS10, GetConfigForClient: n.tlsConfig, NextProtos: []string{"http/1.1"}})
	n.serve(n.plain, front, nil)
	return n, nil
}

func (n *network) serve(l net.Listener, handler http.Handler, conf *tls.Config) {
	server := &http.Server{ //nolint:gosec // no timeouts: tests stall on purpose
		Handler:  handler,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // handshakes that clients break off are part of tests
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, &conn{id: int(n.conns.Add(1)), secure: conf != nil, net: c})
		},
		ConnState:    n.track,
		TLSConfig:    conf,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": refuseHTTP2},
	}
	n.servers = append(n.servers, server)
	n.running.Go(func() {
		if conf != nil {
			_ = server.ServeTLS(l, "", "") // it ends with the listener
			return
		}
		_ = server.Serve(l) // it ends with the listener
	})
}

// track knows which connections there are.
func (n *network) track(c net.Conn, state http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch state {
	case http.StateNew:
		n.alive[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(n.alive, c)
	case http.StateActive, http.StateIdle:
	}
}

// cutAll ends all connections that are there, over TLS without a word.
func (n *network) cutAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.alive {
		_ = tcpOf(c).Close() // it may be closed already
	}
}

// tcpOf returns the connection beneath TLS.
func tcpOf(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// hostName returns the name that a request is for.
func hostName(r *http.Request) string {
	name := strings.ToLower(r.Host)
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return strings.Trim(name, "[]")
}

// tlsConfig is the configuration for the host that a client names.
func (n *network) tlsConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	h := n.host(tlsName(hello.ServerName))
	cert, err := n.certificate(hello.ServerName)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: h.MaxTLS, Certificates: []tls.Certificate{*cert}, NextProtos: []string{"http/1.1"}}
	if h.HTTP2 {
		conf.NextProtos = []string{"h2", "http/1.1"}
	}
	return conf, nil
}

// tlsName is the host that a name sent in TLS means.
func tlsName(sent string) string {
	if sent == "" { // an address is not sent
		return "127.0.0.1"
	}
	return strings.ToLower(sent)
}

// certificate returns what is shown to clients that send a name in TLS.
func (n *network) certificate(sent string) (*tls.Certificate, error) {
	name := tlsName(sent)
	return n.ca.certificate(name, n.host(name).Certificate)
}

// dial is the client's way in: any name, port 443 or 80. It also takes the addresses of the listeners themselves.
func (n *network) dial(ctx context.Context, proto, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: proto, Err: err}
	}
	n.mu.Lock()
	n.dials = append(n.dials, address)
	n.mu.Unlock()
	h := n.host(strings.ToLower(host))
	secure, plain := n.secure.Addr().String(), n.plain.Addr().String()
	target := ""
	switch {
	case h.Unknown:
		return fail(&net.DNSError{Err: "no such host", Name: host, IsNotFound: true})
	case h.Drop:
		<-ctx.Done()
		return fail(ctx.Err())
	case h.Refuse:
	case (port == "443" || address == secure) && !h.RefuseTLS:
		target = secure
	case (port == "80" || address == plain) && !h.RefusePlain:
		target = plain
	}
	if target == "" {
		return fail(syscall.ECONNREFUSED)
	}
	if h.Silent {
		return n.silence(), nil
	}
	c, err := (&net.Dialer{}).DialContext(ctx, proto, target)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.read != 0 {
		c = &slowConn{Conn: c, size: int(n.read)}
	}
	return c, nil
}

// silence returns a connection to somebody who takes everything and says nothing.
func (n *network) silence() net.Conn {
	client, server := net.Pipe()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = server.Close() // a pipe
		return client
	}
	n.open[server] = struct{}{}
	n.running.Go(func() {
		_, _ = io.Copy(io.Discard, server) // it ends with the connection
	})
	return client
}

// A slowConn returns few octets at each Read.
type slowConn struct {
	net.Conn
	size int
}

func (c *slowConn) Read(p []byte) (int, error) {
	size := c.size
	if size < 0 {
		size = 1 + rand.IntN(-size) //nolint:gosec // it decides how a test's input is cut
	}
	return c.Conn.Read(p[:min(len(p), size)])
}

// dialled returns the addresses that clients dialled, in order.
func (n *network) dialled() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dials)
}

// close ends all connections, and everything that serves them.
func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	for c := range n.open {
		_ = c.Close() // a pipe
	}
	clear(n.open)
	n.mu.Unlock()
	for _, s := range n.servers {
		_ = s.Close() // a listener that is closed already is no harm
	}
	n.running.Wait()
}

// url is the address of a listener, for clients that do not dial through the network.
func (n *network) url(secure bool) string {
	if secure {
		return "https://" + n.secure.Addr().String()
	}
	return "http://" + n.plain.Addr().String()
}

// An SRV is one answer of DNS (RFC 2782).
type SRV struct {
	Target           string // "." says that there is no such service
	Port             uint16
	Priority, Weight uint16
}

// lookupSRV answers from records, by names such as "_autodiscover._tcp.corp.test". Unlike Go's resolver it does not sort:
// the order is as given.
func lookupSRV(records map[string][]SRV, service, proto, name string) (string, []*net.SRV, error) {
	full := name
	if service != "" || proto != "" {
		full = fmt.Sprintf("_%s._%s.%s", service, proto, name)
	}
	var found []*net.SRV
	for key, list := range records {
		if !strings.EqualFold(strings.TrimSuffix(key, "."), strings.TrimSuffix(full, ".")) {
			continue
		}
		for _, r := range list {
			found = append(found, &net.SRV{Target: r.Target, Port: r.Port, Priority: r.Priority, Weight: r.Weight})
		}
	}
	if len(found) == 0 {
		return "", nil, &net.DNSError{Err: "no such host", Name: full, IsNotFound: true}
	}
	return strings.TrimSuffix(full, ".") + ".", found, nil
}
