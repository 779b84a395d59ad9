package b2_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/b2"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// small are the smallest parts that there are.
var small = map[string]any{"part_size": 5_000_000, "single_put_limit": 5_000_000, "max_attempts": 2}

func large(n int) []byte {
	p := make([]byte, n)
	for i := 0; i < n; i += 1000 {
		p[i] = byte(i / 1000)
	}
	return p
}

// leaveUnfinished begins a large file that is not finished, as a program does that is killed.
func leaveUnfinished(t testing.TB, srv *objecttest.B2, c *b2.Conn, key string) {
	t.Helper()
	srv.Fail("b2_upload_part", -1, refusal(403, "access_denied", "no"))
	srv.Fail("b2_cancel_large_file", -1, refusal(403, "access_denied", "no"))
	if _, err := c.Put(t.Context(), key, bytes.NewReader(large(20<<20)), nil); err == nil {
		t.Fatal("the put has worked")
	}
	srv.ClearFaults()
}

// E11 and E13: the sizes around the limits. No large file has less than two parts.
func TestLargeFiles(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, small)
	for _, tc := range []struct{ size, parts int }{
		{5_000_000, 0}, {5_000_001, 2}, {10_000_000, 2}, {10_000_001, 3},
	} {
		srv.ForgetRequests()
		content := large(tc.size)
		meta := map[string]string{"folder": "INBOX"}
		info, err := c.Put(t.Context(), "k", io.MultiReader(bytes.NewReader(content)), &connection.PutOptions{Meta: meta, ContentType: "message/rfc822"})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(srv)["b2_upload_part"]; n != tc.parts {
			t.Errorf("%d octets: %d parts, want %d", tc.size, n, tc.parts)
		}
		o, err := c.Get(t.Context(), "k", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o.Body)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d octets: got %d, %v", tc.size, len(got), err)
		}
		if err := o.Body.Close(); err != nil {
			t.Error(err)
		}
		if o.ETag != info.ETag || o.Meta["folder"] != "INBOX" || o.ContentType != "message/rfc822" || len(o.SHA256) != 64 {
			t.Errorf("%d octets: put as %+v, got as %+v", tc.size, info, o.ObjectInfo)
		}
		sum := sha1.Sum(content)
		if kept := srv.Versions("k")[0].Info["large_file_sha1"]; tc.parts > 0 && kept != hex.EncodeToString(sum[:]) {
			t.Errorf("%d octets: large_file_sha1 is %q", tc.size, kept)
		}
	}
	if n := srv.Unfinished(); n != 0 {
		t.Errorf("%d unfinished", n)
	}
}

// With the settings' defaults, too, a large object has two parts.
func TestDefaultPartSizes(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"defaults":        {},
		"large parts":     {"part_size": 1 << 30}, // which must not raise single_put_limit: so much would be kept in memory
		"small parts":     {"part_size": 5_000_000},
		"tiny single put": {"single_put_limit": 1000},
	} {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, change)
		for _, size := range []int{1001, 8<<20 + 1, 9<<20 + 1} {
			srv.ForgetRequests()
			if _, err := c.Put(t.Context(), "k", bytes.NewReader(large(size)), nil); err != nil {
				t.Errorf("%s, %d octets: %v", name, size, err)
			}
			if n := count(srv)["b2_upload_part"]; n != 0 && n < 2 || n == 0 && size > 8<<20 {
				t.Errorf("%s, %d octets: %d parts", name, size, n)
			}
		}
	}
}

// Parts that fail are repeated, by other URLs; what fails for good leaves nothing.
func TestPartsThatFail(t *testing.T) {
	content := large(12 << 20)
	for name, tc := range map[string]struct {
		op    string
		fault objecttest.Fault
		want  connection.Kind // 0 = success
	}{
		"part, 503":         {"b2_upload_part", refusal(503, "service_unavailable", "busy"), 0},
		"part, cut":         {"b2_upload_part", objecttest.CutRequest(1000), 0},
		"part, lost answer": {"b2_upload_part", objecttest.LoseReply(), 0},
		"part, busy URL":    {"b2_upload_part", refusal(400, "bad_request", "more than one upload using auth token"), 0},
		"part, flipped":     {"b2_upload_part", objecttest.FlipRequest(1000), connection.ErrCorrupt},
		"part, cap":         {"b2_upload_part", refusal(403, "storage_cap_exceeded", ""), connection.ErrQuota},
		"start, 500":        {"b2_start_large_file", refusal(500, "internal_error", ""), 0},
		"finish, 503":       {"b2_finish_large_file", refusal(503, "service_unavailable", ""), 0},
		"finish, refused":   {"b2_finish_large_file", refusal(400, "bad_request", "no"), connection.ErrRejected},
	} {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, small)
		put(t, c, "k", "old", nil)
		srv.Fail(tc.op, 1, tc.fault)
		_, err := c.Put(t.Context(), "k", bytes.NewReader(content), nil)
		held := []byte("old")
		if tc.want == 0 {
			held = content
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			wantKind(t, name, err, tc.want)
		}
		if !bytes.Equal(srv.Objects()["k"], held) {
			t.Errorf("%s: the key holds %d octets, want %d", name, len(srv.Objects()["k"]), len(held))
		}
		if n := srv.Unfinished(); n != 0 {
			t.Errorf("%s: %d unfinished", name, n)
		}
	}
}

// E46: the answer to the last request is lost, and the upload is no more.
func TestLostReplyToFinish(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, small)
	srv.Fail("b2_finish_large_file", 1, objecttest.LoseReply())
	if _, err := c.Put(t.Context(), "k", bytes.NewReader(large(6_000_000)), nil); err != nil {
		t.Fatal(err)
	}
	if n := len(srv.Versions("k")); n != 1 {
		t.Errorf("%d versions", n)
	}
}

// A refusal does not always mean that nothing was done: the upload is no more then.
func TestFinishThatWasDoneAllTheSame(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	lies := 1
	env := &connection.Env{HTTPClient: &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && strings.HasSuffix(r.URL.Path, "b2_finish_large_file") && lies > 0 {
			lies--
			resp.StatusCode = http.StatusServiceUnavailable
		}
		return resp, err
	})}}
	if _, err := open(t, srv, env, small).Put(t.Context(), "k", bytes.NewReader(large(6_000_000)), nil); err != nil {
		t.Fatal(err)
	}
	if n := len(srv.Versions("k")); n != 1 {
		t.Errorf("%d versions", n)
	}
}

// A gateway that gives up does not know what the service behind it has done. A look decides, and where it cannot, the doubt
// is told.
func TestGatewayTrouble(t *testing.T) {
	for op, do := range map[string]func(c *b2.Conn) error{
		"b2_upload_file": func(c *b2.Conn) error {
			_, err := c.Put(t.Context(), "k", strings.NewReader("content"), nil)
			return err
		},
		"b2_finish_large_file": func(c *b2.Conn) error {
			_, err := c.Put(t.Context(), "k", bytes.NewReader(large(6_000_000)), nil)
			return err
		},
		"b2_copy_file": func(c *b2.Conn) error {
			_, err := c.Copy(t.Context(), "k", "from", nil)
			return err
		},
	} {
		for _, status := range []int{500, 502, 504} {
			srv := objecttest.NewB2(t, nil)
			once := map[string]any{"part_size": 5_000_000, "single_put_limit": 5_000_000, "max_attempts": 1}
			put(t, open(t, srv, nil, nil), "from", "content", nil)
			env := &connection.Env{HTTPClient: &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err == nil && strings.Contains(r.URL.Path, "/"+op) {
					resp.StatusCode = status
				}
				return resp, err
			})}}
			if err := do(open(t, srv, env, once)); err != nil {
				t.Errorf("%s, %d, but done: %v", op, status, err)
			}

			srv = objecttest.NewB2(t, nil)
			c := open(t, srv, nil, once)
			put(t, c, "from", "content", nil)
			srv.Fail(op, -1, objecttest.Status(status, "<html>nobody answers</html>"))
			wantKind(t, op, do(c), connection.ErrUncertain)
		}
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// E53 in the middle of a large file.
func TestTokenExpiresBetweenParts(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, small)
	srv.FailAfter("b2_upload_part", 1, 1, objecttest.Hook(func() { srv.ExpireTokens(); srv.ExpireUploads() }))
	if _, err := c.Put(t.Context(), "k", bytes.NewReader(large(22_000_000)), nil); err != nil {
		t.Fatal(err)
	}
	if n := count(srv)["b2_authorize_account"]; n != 2 {
		t.Errorf("%d authorizations, want 2", n)
	}
}

// E17.
func TestIncomplete(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{PageSize: 1})
	c := open(t, srv, nil, map[string]any{"max_attempts": 1})
	leaveUnfinished(t, srv, c, "a")
	leaveUnfinished(t, srv, c, "b")
	var keys []string
	for one, err := range c.Incomplete(t.Context()) {
		if err != nil || one.ID == "" || one.Started.IsZero() {
			t.Errorf("got %+v, %v", one, err)
		}
		keys = append(keys, one.Key)
	}
	if slices.Sort(keys); !slices.Equal(keys, []string{"a", "b"}) {
		t.Errorf("got %q", keys)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("removed %d young ones, %v", n, err)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); n != 2 || err != nil || srv.Unfinished() != 0 {
		t.Errorf("removed %d, %v; %d left", n, err, srv.Unfinished())
	}
}
