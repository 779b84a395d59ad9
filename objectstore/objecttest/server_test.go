package objecttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A pigeonhole is the smallest fake: PUT and GET of one body at each path.
type pigeonhole struct {
	Server
	mu    sync.Mutex
	holes map[string][]byte
}

func newPigeonhole(t testing.TB, o ServerOptions) *pigeonhole {
	p := &pigeonhole{holes: make(map[string][]byte)}
	p.startFor(t, o, p)
	return p
}

func (p *pigeonhole) operations() []string { return []string{"PutHole", "GetHole"} }

func (p *pigeonhole) operation(r *http.Request) string {
	return map[string]string{http.MethodPut: "PutHole", http.MethodGet: "GetHole"}[r.Method]
}

func (p *pigeonhole) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.holes[r.URL.Path] = raw
		return
	}
	p.mu.Lock()
	raw, ok := p.holes[r.URL.Path]
	p.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = w.Write(raw)
}

func (p *pigeonhole) hole(path string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holes[path]
}

func clientOf(t testing.TB, env *connection.Env, dial connection.DialFunc) *http.Client {
	tr := &http.Transport{TLSClientConfig: env.TLS, DialContext: dial}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// ask makes one request and reads the answer to its end.
func ask(ctx context.Context, c *http.Client, method, url string, body io.Reader) (status int, raw []byte, header http.Header, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Authorization", "Scheme of-secrets")
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	raw, err = io.ReadAll(resp.Body)
	return resp.StatusCode, raw, resp.Header, errors.Join(err, resp.Body.Close())
}

func TestFaults(t *testing.T) {
	old, body := []byte("old"), bytes.Repeat([]byte("0123456789"), 100_000)
	flipped := bytes.Clone(body)
	flipped[77_777] ^= 1
	hooked := 0
	for _, tt := range []struct {
		name   string
		fault  Fault
		put    bool // the fault is for the PUT, else for the GET behind it
		broken bool // no whole answer
		status int
		stored []byte
		got    []byte // by the GET
	}{
		{name: "none", put: true, status: 200, stored: body},
		{name: "status", fault: Status(503, "slow down", "Retry-After: 7"), put: true, status: 503, stored: old},
		{name: "early status", fault: EarlyStatus(507, "full", "Retry-After: 7"), put: true, status: 507, stored: old},
		{name: "reset", fault: Reset(), put: true, broken: true, stored: old},
		{name: "cut request", fault: CutRequest(500_000), put: true, broken: true, stored: old},
		{name: "cut request at its first octet", fault: CutRequest(0), put: true, broken: true, stored: old},
		{name: "cut request at its last octet", fault: CutRequest(int64(len(body)) - 1), put: true, broken: true, stored: old},
		{name: "cut request behind its end", fault: CutRequest(int64(len(body))), put: true, status: 200, stored: body},
		{name: "lost reply", fault: LoseReply(), put: true, broken: true, stored: body},
		{name: "stall", fault: Stall(), put: true, broken: true, stored: old},
		{name: "stall request", fault: StallRequest(10), put: true, broken: true, stored: old},
		{name: "flip request", fault: FlipRequest(77_777), put: true, status: 200, stored: flipped},
		{name: "slow", fault: Slow(400_000, time.Millisecond), put: true, status: 200, stored: body},
		{name: "hook", fault: Hook(func() { hooked++ }), put: true, status: 200, stored: body},
		{name: "status of GET", fault: Status(429, "slow down"), status: 429, stored: body, got: []byte("slow down")},
		{name: "cut reply", fault: CutReply(123_456), broken: true, status: 200, stored: body, got: body[:123_456]},
		{name: "cut reply at its first octet", fault: CutReply(0), broken: true, status: 200, stored: body},
		{name: "cut reply behind its end", fault: CutReply(int64(len(body))), status: 200, stored: body, got: body},
		{name: "flip reply", fault: FlipReply(77_777), status: 200, stored: body, got: flipped},
		{name: "slow reply", fault: Slow(400_000, time.Millisecond), status: 200, stored: body, got: body},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := newPigeonhole(t, ServerOptions{})
			c := clientOf(t, srv.Env(), nil)
			url := srv.URL() + "/a"
			check := func(method string, send []byte) (raw []byte) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if strings.HasPrefix(tt.name, "stall") {
					time.AfterFunc(20*time.Millisecond, cancel) // the client's patience
				}
				status, raw, header, err := ask(ctx, c, method, url, bytes.NewReader(send))
				if (err != nil) != tt.broken {
					t.Errorf("%s: error %v, want one: %t", method, err, tt.broken)
				}
				if status != tt.status {
					t.Errorf("%s: status %d, want %d", method, status, tt.status)
				}
				if tt.put && status > 500 && (string(raw) == "" || header.Get("Retry-After") != "7") {
					t.Errorf("%s: answer %q with %v", method, raw, header)
				}
				return raw
			}
			if _, _, _, err := ask(t.Context(), c, http.MethodPut, url, bytes.NewReader(old)); err != nil {
				t.Fatal(err)
			}
			if tt.put {
				if tt.fault.act != nil {
					srv.Fail("PutHole", 1, tt.fault)
				}
				check(http.MethodPut, body)
			} else {
				if _, _, _, err := ask(t.Context(), c, http.MethodPut, url, bytes.NewReader(body)); err != nil {
					t.Fatal(err)
				}
				srv.Fail("GetHole", 1, tt.fault)
				if got := check(http.MethodGet, nil); !bytes.Equal(got, tt.got) {
					t.Errorf("got %d octets, want %d", len(got), len(tt.got))
				}
			}
			srv.Close() // and so nothing is under way any more
			if got := srv.hole("/a"); !bytes.Equal(got, tt.stored) {
				t.Errorf("the server holds %d octets, want %d", len(got), len(tt.stored))
			}
			last := srv.Requests()[len(srv.Requests())-1]
			if last.Fault != tt.fault.String() {
				t.Errorf("the log has the fault %q, want %q", last.Fault, tt.fault)
			}
		})
	}
	if hooked != 1 {
		t.Errorf("the hook was called %d times, want once", hooked)
	}
}

func TestStallReply(t *testing.T) {
	srv := newPigeonhole(t, ServerOptions{})
	c := clientOf(t, srv.Env(), nil)
	if _, _, _, err := ask(t.Context(), c, http.MethodPut, srv.URL()+"/a", strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	srv.Fail("GetHole", 1, StallReply(7))
	resp, err := c.Get(srv.URL() + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got := make([]byte, 7)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "0123456" {
		t.Errorf("got %q, error %v", got, err)
	}
	more := make(chan error, 1)
	go func() {
		_, err := resp.Body.Read(make([]byte, 1))
		more <- err
	}()
	select {
	case err := <-more:
		t.Errorf("behind the limit: got error %v, want silence", err)
	case <-time.After(20 * time.Millisecond):
	}
	srv.Close()
	if err := <-more; err == nil {
		t.Error("the reply went on")
	}
}

func TestResetIsOne(t *testing.T) {
	srv := newPigeonhole(t, ServerOptions{})
	srv.Fail("", 1, Reset())
	_, _, _, err := ask(t.Context(), clientOf(t, srv.Env(), nil), http.MethodGet, srv.URL()+"/a", nil)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got error %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestFaultsFollowEachOther(t *testing.T) {
	srv := newPigeonhole(t, ServerOptions{})
	c := clientOf(t, srv.Env(), nil)
	srv.Fail("GetHole", 2, Status(503, ""))
	srv.Fail("", 1, Status(429, ""))
	srv.FailAfter("GetHole", 1, -1, Status(500, ""))
	var got []int
	ask := func(method string) {
		status, _, _, err := ask(t.Context(), c, method, srv.URL()+"/a", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	for range 6 {
		ask(http.MethodGet)
	}
	ask(http.MethodPut)
	srv.ClearFaults()
	ask(http.MethodGet)
	if want := []int{503, 503, 429, 200 + 204, 500, 500, 200, 200}; !slices.Equal(got, want) {
		t.Errorf("got the statuses %v, want %v", got, want)
	}
}

func TestFailOfAnUnknownOperationPanics(t *testing.T) {
	srv := newPigeonhole(t, ServerOptions{})
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "PutHole") {
			t.Errorf("got panic %v, want one that names the operations", p)
		}
	}()
	srv.Fail("PutHoel", 1, Reset())
}

func TestRequestsHideSecrets(t *testing.T) {
	srv := newPigeonhole(t, ServerOptions{})
	c := clientOf(t, srv.Env(), nil)
	if _, _, _, err := ask(t.Context(), c, http.MethodPut, srv.URL()+"/a%2Fb?X-Amz-Signature=of-secrets&x=y", strings.NewReader("12345")); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := ask(t.Context(), c, http.MethodGet, srv.URL()+"/b", nil); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	log := srv.Requests("PutHole")
	if len(log) != 1 {
		t.Fatalf("got %d requests, want 1", len(log))
	}
	r := log[0]
	if r.Method != http.MethodPut || r.Path != "/a%2Fb" || r.Query.Get("x") != "y" || r.Size != 5 || r.Length != 5 {
		t.Errorf("got %+v", r)
	}
	if got := r.Header.Get("Authorization"); got != "Scheme [redacted]" {
		t.Errorf("Authorization is logged as %q", got)
	}
	if got := r.Query.Get("X-Amz-Signature"); got != "[redacted]" {
		t.Errorf("the signature is logged as %q", got)
	}
	if got := srv.Ops(); !slices.Equal(got, []string{"PutHole", "GetHole"}) {
		t.Errorf("got the operations %q", got)
	}
	if got := srv.Requests("GetHole")[0].Status; got != http.StatusNotFound {
		t.Errorf("got status %d", got)
	}
	srv.ForgetRequests()
	if n := len(srv.Requests()); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

func TestSkewAndLag(t *testing.T) {
	srv := newPigeonhole(t, ServerOptions{Lag: time.Hour})
	if srv.settled(time.Now().Add(-time.Minute)) || !srv.settled(time.Now().Add(-2*time.Hour)) {
		t.Error("Lag is not obeyed")
	}
	srv.Lag(0)
	if !srv.settled(time.Now()) {
		t.Error("Lag cannot be ended")
	}
	srv.Skew(-20 * time.Minute)
	_, _, header, err := ask(t.Context(), clientOf(t, srv.Env(), nil), http.MethodGet, srv.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		t.Fatal(err)
	}
	for what, at := range map[string]time.Time{"Date": date, "Now": srv.Now()} {
		if off := time.Until(at); off > -19*time.Minute || off < -21*time.Minute {
			t.Errorf("%s is off by %s, want -20m", what, off)
		}
	}
}

func TestConnectionsEnd(t *testing.T) {
	srv := newPigeonhole(t, ServerOptions{TLS: CertGood})
	conn, err := tls.Dial("tcp", srv.Addr(), &tls.Config{RootCAs: rootsOf(t, srv), MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	srv.CloseConnections()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection lives on behind CloseConnections")
	}
	// Close ends also what is under way.
	srv.Fail("", -1, Stall())
	failed := make(chan error, 1)
	go func() {
		_, _, _, err := ask(context.Background(), clientOf(t, srv.Env(), nil), http.MethodGet, srv.URL(), nil)
		failed <- err
	}()
	for len(srv.Requests()) == 0 {
		runtime.Gosched()
	}
	srv.Close()
	srv.Close()
	if err := <-failed; err == nil {
		t.Error("a request that stalls is answered by Close")
	}
}

func TestServersThatAreNotThere(t *testing.T) {
	if conn, err := net.Dial("tcp", DeadAddr(t)); err == nil {
		t.Errorf("DeadAddr: connected to %s", conn.RemoteAddr())
	}
	conn, err := net.Dial("tcp", BlackHole(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); connection.KindOf(err) != connection.ErrTimeout {
		t.Errorf("BlackHole: got %d octets, error %v", n, err)
	}
}
