package atmos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/atmos"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func put(t testing.TB, c *atmos.Conn, key, content string, opts *connection.PutOptions) connection.ObjectInfo {
	t.Helper()
	info, err := c.Put(t.Context(), key, strings.NewReader(content), opts)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func get(t testing.TB, c *atmos.Conn, key string, opts *connection.GetOptions) (string, error) {
	t.Helper()
	o, err := c.Get(t.Context(), key, opts)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(o.Body)
	return string(got), errors.Join(err, o.Body.Close())
}

func wantKind(t testing.TB, what string, err error, want connection.Kind) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func list(t testing.TB, c *atmos.Conn, opts *connection.ListOptions) []string {
	t.Helper()
	var keys []string
	for info, err := range c.List(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// refusal is an error as the server writes it.
func refusal(status, code int) objecttest.Fault {
	return objecttest.Status(status, fmt.Sprintf("<Error><Code>%d</Code><Message>of the test</Message></Error>", code))
}

// E7 and E87: what is sent is only what everybody signs alike.
func TestPathsAreUnreserved(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	put(t, c, "Mails/a b+é~/%41?#", "x", nil)
	for _, r := range srv.Requests() {
		if i := strings.IndexFunc(r.Path, func(r rune) bool {
			return !strings.ContainsRune("/-_.~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}); i >= 0 {
			t.Errorf("the path %s holds %q", r.Path, r.Path[i])
		}
	}
	if got := slices.Collect(maps.Keys(srv.Objects())); !slices.Equal(got, []string{"Mails/a~20b~2B~C3~A9~7E/~2541~3F~23"}) {
		t.Errorf("stored under %q", got)
	}
}

// E9, and what the wire has of it.
func TestKeyThatIsADirectory(t *testing.T) {
	for _, order := range [][]string{{"a", "a/b"}, {"a/b", "a"}, {"x/y", "x", "x/y/z"}} {
		srv := objecttest.NewAtmos(t, nil)
		c := open(t, srv, nil, nil)
		for _, key := range order {
			put(t, c, key, "of "+key, nil)
		}
		for _, key := range order {
			if got, err := get(t, c, key, nil); got != "of "+key {
				t.Errorf("%q: %s holds %q, %v", order, key, got, err)
			}
			_, err := c.Put(t.Context(), key, strings.NewReader("new"), &connection.PutOptions{IfAbsent: true})
			wantKind(t, "put of what is there", err, connection.ErrExists)
			put(t, c, key, "again "+key, nil)
		}
		if got, want := list(t, c, nil), slices.Sorted(slices.Values(order)); !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
		for i, key := range order {
			if err := c.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
			if n := len(srv.Objects()); n != len(order)-i-1 {
				t.Errorf("%q: after the deletion of %s there are %d files", order, key, n)
			}
		}
	}
}

// E16, E17 and E18: a key never holds a part, and what a broken put leaves behind can be found and removed.
func TestPutThatBreaks(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, map[string]any{"max_attempts": 1})
	put(t, c, "k", "old", nil)
	for _, tc := range []struct {
		op    string
		fault objecttest.Fault
		want  connection.Kind
		held  string
		left  int
	}{
		{"CreateObject", objecttest.CutRequest(2), connection.ErrNetwork, "old", 0},
		{"CreateObject", objecttest.LoseReply(), connection.ErrNetwork, "old", 0},
		{"CreateObject", refusal(500, 1040), connection.ErrThrottled, "old", 0},
		{"CreateObject", objecttest.Status(504, ""), connection.ErrNetwork, "old", 0},
		{"Rename", objecttest.Reset(), connection.ErrUncertain, "old", 1},
		{"Rename", objecttest.Status(504, "<html>nobody answers</html>"), connection.ErrUncertain, "old", 1},
		{"Rename", refusal(500, 1001), connection.ErrUncertain, "old", 1},
		{"Rename", refusal(500, 1040), connection.ErrThrottled, "old", 0},
		{"Rename", refusal(403, 1033), connection.ErrAuth, "old", 0},
	} {
		srv.Fail(tc.op, 1, tc.fault)
		_, err := c.Put(t.Context(), "k", strings.NewReader("new content"), nil)
		wantKind(t, tc.op+" "+tc.fault.String(), err, tc.want)
		srv.ClearFaults()
		if got, err := get(t, c, "k", nil); got != tc.held {
			t.Errorf("%s, %s: the key holds %q, %v; want %q", tc.op, tc.fault, got, err, tc.held)
		}
		left := 0
		for one, err := range c.Incomplete(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if left++; one.Size != 11 || one.Started.IsZero() {
				t.Errorf("left behind: %+v", one)
			}
		}
		if left != tc.left {
			t.Errorf("%s, %s: %d files left behind, want %d", tc.op, tc.fault, left, tc.left)
		}
		if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
			t.Errorf("removed %d young ones, %v", n, err)
		}
		if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); n != tc.left || err != nil {
			t.Errorf("removed %d, %v; want %d", n, err, tc.left)
		}
	}
	if got := list(t, c, nil); !slices.Equal(got, []string{"k"}) {
		t.Errorf("listed %q", got)
	}
}

// E46 and E47: the answer to the rename is lost, and the object is there.
func TestLostReplyIsFoundOut(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	srv.Fail("Rename", 1, objecttest.LoseReply())
	put(t, c, "k", "content", &connection.PutOptions{IfAbsent: true})
	srv.Fail("Rename", 1, objecttest.LoseReply())
	put(t, c, "k", "other", nil)
	if got, err := get(t, c, "k", nil); got != "other" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A gateway that gives up does not know what the server behind it has done. A look decides.
func TestGatewayTrouble(t *testing.T) {
	for _, status := range []int{500, 502, 504} {
		srv := objecttest.NewAtmos(t, nil)
		env := &connection.Env{HTTPClient: &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err == nil && r.URL.RawQuery == "rename" {
				resp.StatusCode = status
			}
			return resp, err
		})}}
		c := open(t, srv, env, map[string]any{"max_attempts": 1})
		put(t, c, "k", "content", &connection.PutOptions{IfAbsent: true})
		if got, err := get(t, c, "k", nil); got != "content" {
			t.Errorf("%d: got %q, %v", status, got, err)
		}
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Some servers finish a replacement in the background. Put waits for it.
func TestReplacementThatIsLate(t *testing.T) {
	srv := objecttest.NewAtmos(t, &objecttest.AtmosOptions{LateReplace: 100 * time.Millisecond})
	c := open(t, srv, nil, nil)
	put(t, c, "k", "old", nil)
	info := put(t, c, "k", "new", nil)
	if got, err := get(t, c, "k", &connection.GetOptions{IfMatch: info.ETag}); got != "new" {
		t.Errorf("right after Put the key holds %q, %v", got, err)
	}
}

// E31: the bucket is never made, and its absence is never that of an object.
func TestMissingBucket(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, map[string]any{"bucket": "none"})
	_, putErr := c.Put(t.Context(), "k", strings.NewReader("x"), nil)
	_, getErr := get(t, c, "k", nil)
	_, statErr := c.Stat(t.Context(), "k")
	var listErr error
	for _, listErr = range c.List(t.Context(), &connection.ListOptions{Prefix: "a/"}) {
	}
	for verb, err := range map[string]error{"put": putErr, "get": getErr, "stat": statErr, "list": listErr, "delete": c.Delete(t.Context(), "k"), "lock": c.Lock(t.Context(), "k", connection.Lock{RetainUntil: time.Now().Add(time.Hour)})} {
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrConfig || !strings.HasPrefix(e.Hint, "bucket: ") {
			t.Errorf("%s: got %v, want ErrConfig with a hint about the bucket", verb, err)
		}
	}
	if slices.Contains(srv.Ops(), "CreateObject") {
		t.Error("something was written, which makes the directory")
	}
}

// E33, E34 and E43.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		status, code int
		want         connection.Kind
		requests     int
		hint         string
	}{
		{403, 1032, connection.ErrAuth, 1, "credential"},
		{403, 1033, connection.ErrAuth, 1, "identity"},
		{403, 1020, connection.ErrPermission, 1, ""},
		{500, 1040, connection.ErrThrottled, 3, ""},
		{500, 1001, connection.ErrUnavailable, 3, ""},
		{409, 1006, connection.ErrUnavailable, 3, ""},
		{501, 0, connection.ErrUnsupported, 1, ""},
	} {
		srv := objecttest.NewAtmos(t, nil)
		c := open(t, srv, nil, map[string]any{"max_attempts": 3})
		srv.Fail("ListDirectory", -1, refusal(tc.status, tc.code))
		var err error
		for _, err = range c.List(t.Context(), nil) {
		}
		wantKind(t, fmt.Sprint(tc.code), err, tc.want)
		var e *connection.Error
		if errors.As(err, &e) && !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%d: got hint %q, want %q in it", tc.code, e.Hint, tc.hint)
		}
		if n := len(srv.Requests()); n != tc.requests {
			t.Errorf("%d: %d requests, want %d", tc.code, n, tc.requests)
		}
		if wait := connection.RetryAfter(err); (wait == 300*time.Millisecond) != (tc.code == 1040) {
			t.Errorf("%d: asks for %s", tc.code, wait)
		}
	}
}

// E34: HEAD has no body, so a refused one asks again where the answer has.
func TestHeadThatIsRefused(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, map[string]any{"credential": "d3Jvbmc="})
	_, err := c.Stat(t.Context(), "k")
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrAuth || e.Code != "1032" || !strings.Contains(e.Hint, "credential") {
		t.Errorf("got %v, want ErrAuth with the server's code", err)
	}
	if ops := srv.Ops(); !slices.Equal(ops, []string{"GetMetadata", "ServiceInformation"}) {
		t.Errorf("asked %q", ops)
	}
}

// E35: a clock that is wrong is named, and nothing repeats.
func TestSkewedClock(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	srv.Skew(-20 * time.Minute)
	c := open(t, srv, nil, nil)
	err := c.Delete(t.Context(), "k")
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrAuth || !strings.Contains(e.Hint, "-20m") {
		t.Errorf("got %v, want ErrAuth with the skew in the hint", err)
	}
	if n := len(srv.Requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// E62 and E79: cancelled and silent servers.
func TestContextEndsEverything(t *testing.T) {
	verbs := map[string]func(ctx context.Context, c *atmos.Conn) error{
		"CreateObject": func(ctx context.Context, c *atmos.Conn) error {
			_, err := c.Put(ctx, "new", bytes.NewReader([]byte("x")), nil)
			return err
		},
		"Rename": func(ctx context.Context, c *atmos.Conn) error {
			_, err := c.Put(ctx, "new", bytes.NewReader([]byte("x")), nil)
			return err
		},
		"GetMetadata":  func(ctx context.Context, c *atmos.Conn) error { _, err := c.Stat(ctx, "k"); return err },
		"DeleteObject": func(ctx context.Context, c *atmos.Conn) error { return c.Delete(ctx, "k") },
		"ListDirectory": func(ctx context.Context, c *atmos.Conn) error {
			for _, err := range c.List(ctx, nil) {
				return err
			}
			return nil
		},
	}
	for op, verb := range verbs {
		srv := objecttest.NewAtmos(t, nil)
		c := open(t, srv, nil, map[string]any{"no_data_timeout": "0"})
		put(t, c, "k", "x", nil)
		srv.ForgetRequests()
		ctx, cancel := context.WithCancel(t.Context())
		srv.Fail("", -1, objecttest.Stall())
		if op == "Rename" {
			srv.ClearFaults()
			srv.Fail(op, -1, objecttest.Stall())
			srv.Fail("DeleteObject", -1, objecttest.Stall())
		}
		done := make(chan error, 1)
		go func() { done <- verb(ctx, c) }()
		for !slices.Contains(srv.Ops(), op) {
			select {
			case err := <-done:
				t.Fatalf("%s: ended by itself: %v", op, err)
			default:
			}
		}
		began := time.Now()
		cancel()
		err := <-done
		if took := time.Since(began); took > 10*time.Second || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v after %s", op, err, took)
		}
	}
}

// E82: nothing that signs is in an error, a report or a log.
func TestReportNamesTheSettings(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	var steps []string
	for _, s := range report.Steps {
		steps = append(steps, s.Name+" "+string(s.Status))
	}
	want := []string{"resolve ok", "connect ok", "tls ok", "auth ok", "open ok", "read ok", "write ok", "remove ok"}
	if !slices.Equal(steps, want) {
		t.Errorf("got %q, want %q", steps, want)
	}
	if len(srv.Objects()) > 0 {
		t.Errorf("left behind: %v", srv.Objects())
	}
	for field, change := range map[string]map[string]any{
		"credential": {"credential": "d3Jvbmc="},
		"identity":   {"identity": "nobody"},
		"bucket: ":   {"bucket": "none"},
	} {
		report, err := open(t, srv, nil, change).Test(t.Context(), nil)
		if err == nil || !strings.Contains(report.String(), "Hint: "+field) {
			t.Errorf("%s: got %v\n%s", field, err, report)
		}
	}
	srv.Skew(10 * time.Minute)
	if report, err := c.Test(t.Context(), nil); err != nil || !strings.Contains(report.String(), "set the clock") {
		t.Errorf("a clock 10 minutes off: %v\n%s", err, report)
	}
}
