// Package netx connects the drivers of mail servers: names and addresses, the connect and no-data timeouts, contexts,
// TLS from the start or by an upgrade, and errors that name the setting at fault. It knows no protocol.
package netx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Peer is a server as the settings describe it. Its fields are not changed once it is in use; it may then be used by
// several goroutines at once.
type Peer struct {
	Driver   string // for errors: "imap"
	ID       string // of the connection, for events; "" = Driver
	Host     string
	Port     int
	Ports    string // the protocol's usual ports, for hints: "993 with mode tls, 143 with the other modes"
	Settings *connection.NetworkSettings
	Env      *connection.Env // may be nil

	lookup func(ctx context.Context, host string) ([]netip.Addr, error) // nil: the system's resolver; tests replace it
}

// Endpoint returns "host:port".
func (p *Peer) Endpoint() string { return net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) }

// Errorf returns an error of the kind that names the peer. The format may wrap causes with %w.
func (p *Peer) Errorf(kind connection.Kind, hint, format string, args ...any) *connection.Error {
	return &connection.Error{Op: "connect", Driver: p.Driver, Endpoint: p.Endpoint(), Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// WithConnectTimeout returns a context that ends with ctx or after the settings' connect_timeout. [Peer.Ended] tells
// the two apart.
func (p *Peer) WithConnectTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	d := p.Settings.ConnectTimeout.D()
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	e := p.Errorf(connection.ErrTimeout, "server and mode: is this the right host and port for the mode ("+p.Ports+")? "+
		"If the server is only slow, raise connect_timeout", "no connection ready within connect_timeout (%s): %w", d, os.ErrDeadlineExceeded)
	e.Code = "connect"
	return context.WithTimeoutCause(ctx, d, e)
}

// Ended returns the error of a context that is done: the connect timeout's if that is what ended it, else one that
// holds ctx.Err().
func (p *Peer) Ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	var e *connection.Error
	if errors.As(cause, &e) && e.Code == "connect" {
		return e
	}
	if errors.Is(cause, ctx.Err()) {
		return p.Errorf(connection.KindOf(ctx.Err()), "", "%w", ctx.Err())
	}
	return p.Errorf(connection.KindOf(ctx.Err()), "", "%w: %w", ctx.Err(), cause)
}

// Addresses resolves the host and returns "address:port" of each of its addresses, IPv6 before IPv4. With Env.Dial it
// returns the endpoint alone: the host program's dialer resolves names in its own way.
func (p *Peer) Addresses(ctx context.Context) ([]string, error) {
	if p.Env != nil && p.Env.Dial != nil {
		return []string{p.Endpoint()}, nil
	}
	if addr, err := netip.ParseAddr(p.Host); err == nil {
		return []string{netip.AddrPortFrom(addr, uint16(p.Port)).String()}, nil
	}
	lookup := p.lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	found, err := lookup(ctx, p.Host)
	var dnsErr *net.DNSError
	switch {
	case ctx.Err() != nil:
		return nil, p.Ended(ctx)
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound, err == nil && len(found) == 0:
		return nil, p.Errorf(connection.ErrNetwork, "server: check the spelling of "+strconv.Quote(p.Host)+"; the name service knows no such host", "unknown host %q", p.Host)
	case err != nil:
		return nil, p.Errorf(connection.ErrNetwork, "server: the name service of this machine did not answer for "+strconv.Quote(p.Host), "resolve %q: %w", p.Host, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return cmp.Compare(b.BitLen(), a.BitLen()) })
	var addrs []string
	for _, addr := range slices.Compact(found) {
		addrs = append(addrs, netip.AddrPortFrom(addr, uint16(p.Port)).String())
	}
	return addrs, nil
}

// patience is how long one address of several is tried when no timeout says so: a black hole behind one of them must
// not hide the others.
const patience = 10 * time.Second

// Dial connects to the first address that answers, in their order. Each gets its share of what is left until ctx's
// deadline. The error names every address that was tried. The Conn that is returned is under the no-data timeout.
func (p *Peer) Dial(ctx context.Context, addrs []string) (*Conn, error) {
	dial := (&net.Dialer{}).DialContext
	if p.Env != nil && p.Env.Dial != nil {
		dial = p.Env.Dial
	}
	var failed []error
	for i, addr := range addrs {
		conn, err := p.dialOne(ctx, dial, addr, len(addrs)-i)
		if err == nil {
			return newConn(p, conn), nil
		}
		if ctx.Err() != nil {
			return nil, p.Ended(ctx)
		}
		failed = append(failed, fmt.Errorf("%s: %w", addr, cause(err)))
	}
	return nil, p.dialError(failed)
}

func (p *Peer) dialOne(ctx context.Context, dial connection.DialFunc, addr string, left int) (net.Conn, error) {
	if left > 1 {
		share := patience
		if deadline, ok := ctx.Deadline(); ok {
			share = time.Until(deadline) / time.Duration(left)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	conn, err := dial(ctx, "tcp", addr)
	if err == nil && conn == nil {
		err = errors.New("the dialer returned no connection")
	}
	return conn, err
}

// cause strips what net.OpError repeats: the network and the address.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

func (p *Peer) dialError(failed []error) error {
	texts := make([]string, len(failed))
	refused, timeouts := 0, 0
	for i, err := range failed {
		texts[i] = err.Error()
		var netErr net.Error
		switch {
		case errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(texts[i], "refused"): // Windows words it otherwise, and so may Env.Dial
			refused++
		case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
			timeouts++
		}
	}
	kind, hint := connection.ErrNetwork, "server: check host and port, and that this machine may reach them"
	switch {
	case len(failed) == 0:
		return p.Errorf(kind, hint, "no address to connect to")
	case refused == len(failed):
		hint = fmt.Sprintf("server: nothing listens on port %d, or a firewall refuses it; usual ports: %s", p.Port, p.Ports)
	case timeouts == len(failed):
		kind = connection.ErrTimeout
	}
	e := p.Errorf(kind, hint, "connect to %s", strings.Join(texts, "; "))
	e.Err = &dialFailure{text: e.Err.Error(), causes: failed}
	return e
}

// dialFailure is one line for people that keeps its causes for errors.Is.
type dialFailure struct {
	text   string
	causes []error
}

func (d *dialFailure) Error() string   { return d.text }
func (d *dialFailure) Unwrap() []error { return d.causes }
