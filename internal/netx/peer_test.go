package netx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func newPeer(host string, port int) *Peer {
	return &Peer{Driver: "imap", Host: host, Port: port, Ports: "993 with mode tls, 143 with the others", Settings: &connection.NetworkSettings{}}
}

func TestAddressesIPv6First(t *testing.T) {
	p := newPeer("mail.example.org", 993)
	p.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "mail.example.org" {
			t.Errorf("looked up %q", host)
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::1")}, nil
	}
	got, err := p.Addresses(t.Context())
	want := []string{"[2001:db8::1]:993", "192.0.2.1:993", "192.0.2.2:993"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
}

func TestAddressesWithoutAName(t *testing.T) {
	p := newPeer("2001:db8::1", 143)
	p.lookup = func(context.Context, string) ([]netip.Addr, error) {
		t.Error("looked up an address")
		return nil, nil
	}
	if got, err := p.Addresses(t.Context()); err != nil || !slices.Equal(got, []string{"[2001:db8::1]:143"}) {
		t.Errorf("IP address: got %v and %v", got, err)
	}
	p.Host = "only.the.proxy.knows"
	p.Env = &connection.Env{Dial: (&net.Dialer{}).DialContext}
	if got, err := p.Addresses(t.Context()); err != nil || !slices.Equal(got, []string{"only.the.proxy.knows:143"}) {
		t.Errorf("Env.Dial: got %v and %v", got, err)
	}
}

func TestUnknownHostNamesTheSetting(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		hint string
	}{
		{"no such host", &net.DNSError{Err: "no such host", Name: "mial.example.org", IsNotFound: true}, "check the spelling"},
		{"no address", nil, "check the spelling"},
		{"name service down", &net.DNSError{Err: "server misbehaving", Name: "mial.example.org", IsTemporary: true}, "did not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer("mial.example.org", 993)
			p.lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, tt.err }
			_, err := p.Addresses(t.Context())
			var e *connection.Error
			if !errors.As(err, &e) || e.Kind != connection.ErrNetwork || e.Driver != "imap" || e.Endpoint != "mial.example.org:993" {
				t.Fatalf("got %v, want ErrNetwork of the driver and endpoint", err)
			}
			if !strings.HasPrefix(e.Hint, "server: ") || !strings.Contains(e.Hint, tt.hint) || !strings.Contains(err.Error(), "mial.example.org") {
				t.Errorf("got %q with hint %q, want the setting, the host and %q", err, e.Hint, tt.hint)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := newPeer("mail.example.org", 993)
	p.lookup = func(ctx context.Context, _ string) ([]netip.Addr, error) { return nil, ctx.Err() }
	if _, err := p.Addresses(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
}

// closedPort returns an address of this machine on which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestRefusedPortNamesAddressAndSetting(t *testing.T) {
	addr := closedPort(t)
	port := int(netip.MustParseAddrPort(addr).Port())
	_, err := newPeer("localhost", port).Dial(t.Context(), []string{addr})
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrNetwork || !strings.Contains(err.Error(), addr+": ") ||
		!strings.HasPrefix(e.Hint, "server: nothing listens on port") || !strings.Contains(e.Hint, "993 with mode tls") {
		t.Errorf("got %v, want ErrNetwork, the address, and a hint at server and the usual ports", err)
	}
}

func TestDialGoesOnToTheNextAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	bad := closedPort(t)
	c, err := newPeer("localhost", 1).Dial(t.Context(), []string{bad, l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != l.Addr().String() {
		t.Errorf("connected to %s, want %s", got, l.Addr())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	_, err = newPeer("localhost", 1).Dial(t.Context(), nil)
	if !errors.Is(err, connection.ErrNetwork) {
		t.Errorf("no address: got %v", err)
	}
}

// blackHole is a network on which nothing ever answers, but for one address.
func blackHole(answers string) connection.DialFunc {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr == answers {
			near, _ := net.Pipe()
			return near, nil
		}
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
}

func TestBlackHoleTakesItsShareOnly(t *testing.T) {
	for _, tt := range []struct {
		name           string
		connectTimeout time.Duration
		want           time.Duration
	}{{"of the connect timeout", 30 * time.Second, 15 * time.Second}, {"without a timeout", 0, patience}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer("mail.example.org", 993)
				p.Settings.ConnectTimeout = connection.Duration(tt.connectTimeout)
				p.Env = &connection.Env{Dial: blackHole("192.0.2.1:993")}
				ctx, cancel := p.WithConnectTimeout(t.Context())
				defer cancel()
				start := time.Now()
				c, err := p.Dial(ctx, []string{"[2001:db8::1]:993", "192.0.2.1:993"})
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != tt.want {
					t.Errorf("the second address was tried after %v, want %v", got, tt.want)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestConnectTimeoutAndContextAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("mail.example.org", 993)
		p.Settings.ConnectTimeout = connection.Duration(5 * time.Second)
		p.Env = &connection.Env{Dial: blackHole("")}
		ctx, cancel := p.WithConnectTimeout(t.Context())
		defer cancel()
		start := time.Now()
		_, err := p.Dial(ctx, []string{p.Endpoint()})
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrTimeout || e.Code != "connect" || !strings.Contains(err.Error(), "connect_timeout") || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want ErrTimeout [connect] after 5s that names connect_timeout", err, time.Since(start))
		}

		parent, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		ctx, cancel = p.WithConnectTimeout(parent)
		defer cancel()
		_, err = p.Dial(ctx, []string{p.Endpoint()})
		if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "connect_timeout") {
			t.Errorf("the caller's deadline: got %v, want ctx.Err() and no word of connect_timeout", err)
		}
	})
}

func TestAllAddressesAreNamed(t *testing.T) {
	p := newPeer("mail.example.org", 993)
	down := errors.New("network is down")
	p.Env = &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, down }}
	_, err := p.Dial(t.Context(), []string{"[2001:db8::1]:993", "192.0.2.1:993"})
	for _, want := range []string{"[2001:db8::1]:993: network is down", "192.0.2.1:993: network is down"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if !errors.Is(err, down) {
		t.Errorf("%v does not hold its cause", err)
	}
	p.Env.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	if _, err := p.Dial(t.Context(), []string{"a"}); !errors.Is(err, connection.ErrNetwork) {
		t.Errorf("a dialer without an answer: got %v, want ErrNetwork", err)
	}
}
