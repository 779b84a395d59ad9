package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends text to whoever connects and then keeps what it receives.
func echo(t *testing.T, text string) (address string, received <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(l.Close()) })
	got := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
				all, _ := io.ReadAll(c) // a reset ends it as well as EOF
				got <- string(all)
			}()
		}
	}()
	return l.Addr().String(), got
}

func dialled(t *testing.T, address string, faults ...Fault) net.Conn {
	t.Helper()
	c, err := FaultyDial(nil, faults...)(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestReceivingFaults(t *testing.T) {
	const text = "0123456789"
	address, _ := echo(t, text)
	for name, c := range map[string]struct {
		faults []Fault
		want   string
		err    error // nil: it is the text's end that was read
	}{
		"cut":                {[]Fault{CutAfter(4)}, "0123", io.EOF},
		"cut at once":        {[]Fault{CutAfter(0)}, "", io.EOF},
		"reset":              {[]Fault{ResetAfter(7)}, "0123456", syscall.ECONNRESET},
		"corrupt":            {[]Fault{Corrupt(3)}, "0122456789", nil},
		"slow":               {[]Fault{Slow(1)}, text, nil},
		"slow, corrupt, cut": {[]Fault{Slow(2), Corrupt(0), CutAfter(5)}, "11234", io.EOF},
		"none is left":       {[]Fault{First(0, CutAfter(0))}, text, nil},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialled(t, address, c.faults...)
			buf := make([]byte, len(text))
			n, err := 0, error(nil)
			for n < len(buf) && err == nil {
				var k int
				k, err = conn.Read(buf[n:])
				n += k
			}
			if string(buf[:n]) != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q and error %v, want %q and %v", buf[:n], err, c.want, c.err)
			}
			if c.err != nil {
				if _, err := conn.Write([]byte("x")); err == nil {
					t.Error("a line that is dead still takes octets")
				}
			}
		})
	}
}

func TestCutAfterSentDeliversWhatWentBefore(t *testing.T) {
	address, received := echo(t, "")
	c := dialled(t, address, CutAfterSent(5))
	n, err := c.Write([]byte("0123456789"))
	if n != 5 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d octets and error %v, want 5 and ECONNRESET", n, err)
	}
	if got := <-received; got != "01234" {
		t.Errorf("the peer received %q, want %q", got, "01234")
	}
}

func TestFirstHoldsForSoManyConnections(t *testing.T) {
	address, _ := echo(t, "hello")
	dial := FaultyDial(nil, First(2, CutAfter(0)))
	for i, want := range []error{io.EOF, io.EOF, nil} {
		c, err := dial(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 5)); !errors.Is(err, want) {
			t.Errorf("connection %d: got error %v, want %v", i+1, err, want)
		}
		_ = c.Close() // cut already, or done with
	}
}

func TestRefuseDial(t *testing.T) {
	address, _ := echo(t, "hello")
	dial := RefuseDial(nil, 1)
	if _, err := dial(t.Context(), "tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got error %v, want ECONNREFUSED", err)
	}
	c, err := dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("the second dial: %v", err)
	}
	must(c.Close())
	for range 3 {
		if _, err := RefuseDial(nil, -1)(t.Context(), "tcp", address); err == nil {
			t.Error("refused for ever, and dialled")
		}
	}
}

func TestStallEndsOnCloseAndDeadline(t *testing.T) {
	address, _ := echo(t, "0123456789")
	ways := map[string]struct {
		end  func(c net.Conn) error
		want error
	}{
		"close":         {net.Conn.Close, net.ErrClosed},
		"deadline":      {func(c net.Conn) error { return c.SetDeadline(time.Now().Add(10 * time.Millisecond)) }, os.ErrDeadlineExceeded},
		"past deadline": {func(c net.Conn) error { return c.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"one way": {func(c net.Conn) error {
			return errors.Join(c.SetReadDeadline(time.Unix(1, 0)), c.SetWriteDeadline(time.Unix(1, 0)))
		}, os.ErrDeadlineExceeded},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for kind, use := range map[string]func(c net.Conn) (int, error){
				"reading": func(c net.Conn) (int, error) {
					all, err := io.ReadAll(c)
					return len(all), err
				},
				"writing": func(c net.Conn) (int, error) { return c.Write(make([]byte, 10)) },
			} {
				c := dialled(t, address, Stall(3), StallSent(3))
				type result struct {
					n   int
					err error
				}
				ended := make(chan result, 1)
				go func() {
					n, err := use(c)
					ended <- result{n, err}
				}()
				select {
				case r := <-ended:
					t.Fatalf("%s did not stall: %d octets, error %v", kind, r.n, r.err)
				case <-time.After(20 * time.Millisecond):
				}
				if err := way.end(c); err != nil {
					t.Fatal(err)
				}
				select {
				case r := <-ended:
					if r.n != 3 || !errors.Is(r.err, way.want) {
						t.Errorf("%s: got %d octets and error %v, want 3 and %v", kind, r.n, r.err, way.want)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("%s did not end", kind)
				}
			}
		})
	}
}

func TestHTTPFaults(t *testing.T) {
	var requests []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		must(err)
		requests = append(requests, string(body))
		_, err = io.WriteString(w, "0123456789")
		must(err)
	}))
	defer srv.Close()
	for name, c := range map[string]struct {
		fault   HTTPFault
		code    int    // 0: no answer
		body    string // of the answer
		err     error
		reached int // requests that reached the server, of two
	}{
		"status":  {Status(1, 503, "Retry-After: 2"), 503, "", nil, 1},
		"refuse":  {RefuseRequests(1), 0, "", syscall.ECONNREFUSED, 1},
		"lose":    {LoseReplies(1), 0, "", syscall.ECONNRESET, 2},
		"cut":     {CutBody(1, 4), 200, "0123", io.ErrUnexpectedEOF, 2},
		"corrupt": {CorruptBody(1, 4), 200, "0123556789", nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			requests = nil
			client := &http.Client{Transport: FaultyTransport(srv.Client().Transport, c.fault)}
			resp, err := client.Post(srv.URL, "text/plain", bytes.NewReader([]byte("question")))
			var body []byte
			if err == nil {
				if resp.StatusCode != c.code {
					t.Errorf("got status %d, want %d", resp.StatusCode, c.code)
				}
				if c.code == 503 && resp.Header.Get("Retry-After") != "2" {
					t.Errorf("got headers %v, want Retry-After: 2", resp.Header)
				}
				body, err = io.ReadAll(resp.Body)
				must(resp.Body.Close())
			}
			if string(body) != c.body || !errors.Is(err, c.err) {
				t.Errorf("got %q and error %v, want %q and %v", body, err, c.body, c.err)
			}
			resp, err = client.Post(srv.URL, "text/plain", strings.NewReader("again"))
			if err != nil {
				t.Fatalf("the second request, which has no fault: %v", err)
			}
			body, err = io.ReadAll(resp.Body)
			if string(body) != "0123456789" || err != nil {
				t.Errorf("the second request: got %q and error %v", body, err)
			}
			must(resp.Body.Close())
			if len(requests) != c.reached {
				t.Errorf("%d requests reached the server, want %d", len(requests), c.reached)
			}
		})
	}
}

func TestStalledHTTPBodyEndsWithItsContext(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, "0123456789")
		must(err)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: FaultyTransport(srv.Client().Transport, StallBody(-1, 4))}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	body, err := io.ReadAll(resp.Body)
	if string(body) != "0123" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %q and error %v, want 0123 and context.Canceled", body, err)
	}
	must(resp.Body.Close())
}
