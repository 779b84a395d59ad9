package swift_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/swift"
)

// A gateway stands before a cluster and answers in its place: answer gets each request and what the cluster said to it.
type gateway struct {
	answer func(req *http.Request, resp *http.Response) *http.Response
}

// RoundTrip implements http.RoundTripper.
func (g gateway) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return g.answer(req, resp), nil
}

func (g gateway) env() *connection.Env {
	return &connection.Env{HTTPClient: &http.Client{Transport: g}}
}

// says is another answer instead of resp.
func says(resp *http.Response, status int, body string) *http.Response {
	_ = resp.Body.Close() // nobody reads it
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: resp.Request,
	}
}

func isManifest(req *http.Request) bool {
	return req.Method == http.MethodPut && req.URL.Query().Get("multipart-manifest") == "put"
}

// clusters runs test with the fake and with a real Swift.
func clusters(t *testing.T, test func(t *testing.T, settings connection.Settings)) {
	t.Run("fake", func(t *testing.T) { test(t, objecttest.NewSwift(t, nil).Settings()) })
	t.Run("real", func(t *testing.T) { test(t, settingsOf(t, peertest.Swift(t, nil), "mail")) })
}

// patient is how often what is not to fail is tried: a real cluster on a busy machine says 503 now and then.
const patient = 8

func opened(t *testing.T, s connection.Settings, env *connection.Env, attempts int) *swift.Conn {
	t.Helper()
	more := maps.Clone(parts)
	more["max_attempts"] = attempts
	c := open(t, s, env, more)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// E46: a gateway that gave up does not know what the cluster has done. The segments stay: they may be an object's by now.
func TestManifestThatTheGatewayGaveUp(t *testing.T) {
	clusters(t, func(t *testing.T, settings connection.Settings) {
		plain := opened(t, settings, nil, patient)
		put(t, plain, "source", octets(3, 200<<10))
		for name, write := range map[string]func(ctx context.Context, c *swift.Conn, key string, data []byte) error{
			"put": func(ctx context.Context, c *swift.Conn, key string, data []byte) error {
				_, err := c.Put(ctx, key, bytes.NewReader(data), nil)
				return err
			},
			"put if absent": func(ctx context.Context, c *swift.Conn, key string, data []byte) error {
				_, err := c.Put(ctx, key, bytes.NewReader(data), &connection.PutOptions{IfAbsent: true})
				return err
			},
			"copy": func(ctx context.Context, c *swift.Conn, key string, _ []byte) error {
				_, err := c.Copy(ctx, key, "source", nil)
				return err
			},
		} {
			for _, status := range []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout} {
				key, data := strings.ReplaceAll(name, " ", "-")+strconv.Itoa(status), octets(2, 200<<10)
				if name == "copy" {
					data = octets(3, 200<<10)
				}
				if name != "put if absent" {
					put(t, plain, key, octets(1, 200<<10))
				}
				done := false
				c := opened(t, settings, gateway{func(req *http.Request, resp *http.Response) *http.Response {
					switch {
					case isManifest(req) && resp.StatusCode == http.StatusCreated && !done:
						done = true
						return says(resp, status, "<h1>the cluster is slow</h1>")
					case done && !strings.Contains(req.URL.Path, "_segments/"):
						return says(resp, http.StatusServiceUnavailable, "")
					}
					return resp
				}}.env(), 3)
				err := write(t.Context(), c, key, data)
				if !done || connection.KindOf(err) != connection.ErrUncertain {
					t.Errorf("%s, %d: got error %v, want %v", name, status, err, connection.ErrUncertain)
				}
				if got, err := tryGet(t, plain, key); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s, %d: the object has %d octets, error %v", name, status, len(got), err)
				}
			}
		}
	})
}

// A put whose own first try is taken for another's object, since nothing can be looked at, leaves the segments alone.
func TestOwnObjectThatCannotBeLookedAt(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, parts)
	data := octets(1, 200<<10)
	srv.Fail("PutManifest", 1, objecttest.LoseReply())
	srv.Fail("HeadObject", -1, objecttest.Status(http.StatusServiceUnavailable, ""))
	if _, err := c.Put(t.Context(), "key", bytes.NewReader(data), &connection.PutOptions{IfAbsent: true}); err == nil {
		t.Error("put returned nil though nothing could be looked at")
	}
	srv.ClearFaults()
	if got := get(t, c, "key"); !bytes.Equal(got, data) {
		t.Errorf("got %d octets that differ", len(got))
	}
}

// A copy that is called off while its manifest is under way leaves the segments alone.
func TestCopyThatIsCalledOff(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	plain := conn(t, srv, parts)
	data := octets(1, 200<<10)
	put(t, plain, "source", data)
	ctx, cancel := context.WithCancel(t.Context())
	under, obeyed := make(chan struct{}), make(chan struct{})
	srv.Fail("PutManifest", 1, objecttest.Hook(func() { close(under); <-obeyed }))
	srv.Fail("DeleteObject", -1, objecttest.Hook(func() { t.Error("a segment was removed") }))
	srv.Fail("BulkDelete", -1, objecttest.Hook(func() { t.Error("segments were removed") }))
	failed := make(chan error, 1)
	go func() {
		_, err := plain.Copy(ctx, "copy", "source", nil)
		failed <- err
	}()
	<-under
	cancel()
	if err := <-failed; connection.KindOf(err) != connection.ErrUncertain {
		t.Errorf("got error %v, want %v", err, connection.ErrUncertain)
	}
	close(obeyed)
}

func tryGet(t *testing.T, c *swift.Conn, key string) ([]byte, error) {
	t.Helper()
	o, err := c.Get(t.Context(), key, nil)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(o.Body)
	if closed := o.Body.Close(); err == nil {
		err = closed
	}
	return data, err
}

// post sets metadata of an object as other programs do: by version 1 of the identity protocol.
func post(t *testing.T, s connection.Settings, key, name, value string) {
	t.Helper()
	var config struct{ Location, Identity, Credential, Bucket string }
	if err := json.Unmarshal(s.Config, &config); err != nil {
		t.Fatal(err)
	}
	send := func(method, url string, header map[string]string) http.Header {
		req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %s, error %v", method, url, resp.Status, err)
		}
		return resp.Header
	}
	h := send(http.MethodGet, config.Location, map[string]string{"X-Auth-User": config.Identity, "X-Auth-Key": config.Credential})
	send(http.MethodPost, h.Get("X-Storage-Url")+"/"+config.Bucket+"/"+key, map[string]string{"X-Auth-Token": h.Get("X-Auth-Token"), name: value})
}
