package azureblob_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func TestErrorCodes(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	for _, tc := range []struct {
		status int
		code   string
		want   connection.Kind
		hint   string
	}{
		{403, "AuthenticationFailed", connection.ErrAuth, "credential: "},
		{403, "AuthorizationFailure", connection.ErrAuth, "credential: "},
		{400, "InvalidAuthenticationInfo", connection.ErrAuth, "credential: "},
		{403, "AccountIsDisabled", connection.ErrPermission, "identity: "},
		{403, "InsufficientAccountPermissions", connection.ErrPermission, "credential: "},
		{403, "AuthorizationSourceIPMismatch", connection.ErrPermission, "credential: "},
		{403, "KeyBasedAuthenticationNotPermitted", connection.ErrPermission, "credential: "},
		{404, "BlobNotFound", connection.ErrNotFound, ""},
		{404, "ContainerNotFound", connection.ErrConfig, "bucket: "},
		{409, "ContainerBeingDeleted", connection.ErrConfig, "bucket: "},
		{409, "ContainerDisabled", connection.ErrConfig, "bucket: "},
		{400, "InvalidResourceName", connection.ErrConfig, "bucket: "},
		{409, "BlobArchived", connection.ErrArchived, ""},
		{409, "BlobBeingRehydrated", connection.ErrArchived, ""},
		{409, "BlobImmutableDueToPolicy", connection.ErrLocked, ""},
		{409, "BlobImmutableDueToLegalHold", connection.ErrLocked, ""},
		{412, "LeaseIdMissing", connection.ErrLocked, "lease"},
		{412, "ConditionNotMet", connection.ErrChanged, ""},
		{503, "ServerBusy", connection.ErrThrottled, ""},
		{429, "TooManyRequests", connection.ErrThrottled, ""},
		{500, "InternalError", connection.ErrUnavailable, ""},
		{500, "OperationTimedOut", connection.ErrUnavailable, ""},
		{502, "", connection.ErrUnavailable, ""},
		{408, "", connection.ErrTimeout, ""},
		{400, "Md5Mismatch", connection.ErrCorrupt, ""},
		{400, "Crc64Mismatch", connection.ErrCorrupt, ""},
		{413, "RequestBodyTooLarge", connection.ErrTooLarge, ""},
		{400, "MetadataTooLarge", connection.ErrTooLarge, ""},
		{501, "APINotImplemented", connection.ErrUnsupported, ""},
		{400, "InvalidBlobTier", connection.ErrUnsupported, "storage_class: "},
		{409, "FeatureVersionMismatch", connection.ErrUnsupported, ""},
		{409, "SomethingNew", connection.ErrRejected, ""},
		{507, "", connection.ErrQuota, ""},
		{302, "", connection.ErrProtocol, ""},
	} {
		t.Run(fmt.Sprint(tc.status, " ", tc.code), func(t *testing.T) {
			body := fmt.Sprintf("<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>What went wrong.\nRequestId:1\nTime:2</Message></Error>", tc.code)
			srv.ClearFaults()
			srv.ForgetRequests()
			srv.Fail("GetBlob", 1, objecttest.Status(tc.status, body, "x-ms-error-code: "+tc.code, "Retry-After: 7", "Location: http://192.0.2.1/"))
			_, err := c.Get(t.Context(), "key", nil)
			var e *connection.Error
			if !errors.As(err, &e) || e.Kind != tc.want {
				t.Fatalf("got error %v, want kind %q", err, tc.want)
			}
			if e.Op != "get" || e.Driver != "azureblob" || e.Key != "key" || e.Endpoint != srv.Location()+"/mail" {
				t.Errorf("error %+v does not say where it comes from", e)
			}
			if tc.code != "" && e.Code != tc.code || !strings.Contains(e.Hint, tc.hint) {
				t.Errorf("got code %q, hint %q; want code %q, hint %q", e.Code, e.Hint, tc.code, tc.hint)
			}
			if e.RetryAfter != 7*time.Second {
				t.Errorf("RetryAfter %s, want 7s", e.RetryAfter)
			}
			if text := err.Error(); strings.Contains(text, "RequestId") || tc.code != "" && !strings.Contains(text, "What went wrong.") {
				t.Errorf("the text is %q", text)
			}
			if got := srv.Requests("GetBlob"); len(got) != 1 {
				t.Errorf("%d requests, want 1", len(got))
			}
		})
	}
}

// E31: a container that is missing is never a missing object, and no deletion.
func TestMissingContainer(t *testing.T) {
	for name, noCodes := range map[string]bool{"with codes": false, "E32 bare status": true} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, &objecttest.AzureOptions{NoCodes: noCodes})
			c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.Bucket = "none" }, nil)
			ctx := t.Context()
			for verb, err := range map[string]error{
				"put":           putError(ctx, c, nil),
				"put if absent": putError(ctx, c, &connection.PutOptions{IfAbsent: true}),
				"get":           second(c.Get(ctx, "key", nil)),
				"stat":          second(c.Stat(ctx, "key")),
				"delete":        c.Delete(ctx, "key"),
				"copy":          second(c.Copy(ctx, "key", "other", nil)),
				"restore":       c.Restore(ctx, "key", time.Hour),
				"lock":          c.Lock(ctx, "key", connection.Lock{LegalHold: true}),
				"list":          listError(ctx, c),
			} {
				var e *connection.Error
				if !errors.As(err, &e) || e.Kind != connection.ErrConfig || errors.Is(err, connection.ErrNotFound) {
					t.Errorf("%s: got error %v, want one of kind %q", verb, err, connection.ErrConfig)
				} else if !strings.Contains(e.Hint, "bucket: ") {
					t.Errorf("%s: hint %q does not name the bucket", verb, e.Hint)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func putError(ctx context.Context, c *azureblob.Conn, opts *connection.PutOptions) error {
	return second(c.Put(ctx, "key", strings.NewReader("text"), opts))
}

func listError(ctx context.Context, c *azureblob.Conn) error {
	for _, err := range c.List(ctx, nil) {
		if err != nil {
			return err
		}
	}
	return nil
}

// E32: behind a proxy that answers in its own words a listing decides what a 404 was about.
func TestBareStatus(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{NoCodes: true})
	c := openWith(t, srv, nil, nil)
	put(t, c, "key", "text", nil)
	_, err := c.Stat(t.Context(), "missing")
	wants(t, "stat of a missing object", err, connection.ErrNotFound)
	_, err = c.Get(t.Context(), "missing", nil)
	wants(t, "get of a missing object", err, connection.ErrNotFound)
	if err := c.Delete(t.Context(), "missing"); err != nil {
		t.Errorf("delete of a missing object: %v", err)
	}
	wants(t, "put if absent of what is there", putError(t.Context(), c, &connection.PutOptions{IfAbsent: true}), connection.ErrExists)
	_, err = c.Get(t.Context(), "key", &connection.GetOptions{IfMatch: "another"})
	wants(t, "get of another one", err, connection.ErrChanged)
	stranger := openWith(t, srv, func(cfg *azureblob.Config) { cfg.Credential = connection.NewSecret("d3Jvbmcga2V5") }, nil)
	if _, err := stranger.Stat(t.Context(), "key"); err == nil || errors.Is(err, connection.ErrNotFound) {
		t.Errorf("stat by a stranger: got error %v, which must not say that the object is missing", err)
	}
}

// E34: HEAD's refusal has no body; the code is in a header.
func TestWrongKey(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) {
		cfg.Credential = connection.NewSecret("d3Jvbmcga2V5")
		cfg.MaxAttempts = 5
	}, nil)
	for verb, err := range map[string]error{
		"stat": second(c.Stat(t.Context(), "key")), "get": second(c.Get(t.Context(), "key", nil)), "put": putError(t.Context(), c, nil),
		"delete": c.Delete(t.Context(), "key"), "list": listError(t.Context(), c),
	} {
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrAuth || !strings.HasPrefix(e.Hint, "credential: ") {
			t.Errorf("%s: got error %v, want %q with a hint at the credential", verb, err, connection.ErrAuth)
		}
	}
	if got := len(srv.Requests()); got != 5 {
		t.Errorf("%d requests for 5 verbs: a refusal is not to be repeated", got)
	}
}

// E35: a clock that is wrong gives one request, and says by how much.
func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		srv := newFake(t, nil)
		srv.Skew(skew)
		c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.MaxAttempts = 5 }, nil)
		_, err := c.Stat(t.Context(), "key")
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrAuth {
			t.Fatalf("got error %v, want %q", err, connection.ErrAuth)
		}
		side := "behind"
		if skew < 0 {
			side = "ahead of"
		}
		if !strings.Contains(e.Hint, "clock") || !strings.Contains(e.Hint, side) || !strings.Contains(e.Hint, "20m") && !strings.Contains(e.Hint, "19m5") {
			t.Errorf("skew %s: hint %q", skew, e.Hint)
		}
		if got := len(srv.Requests()); got != 1 {
			t.Errorf("%d requests, want 1", got)
		}
	}
}

// An account whose name is misspelt has no host: the setting at fault is the identity, not the location.
func TestUnknownAccount(t *testing.T) {
	cfg := azureblob.Config{Settings: settings("nosuchaccount", "", "mail"), Tuning: quick}
	c := open(t, cfg, &connection.Env{Dial: noSuchHost})
	_, err := c.Stat(t.Context(), "key")
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrNetwork || !strings.HasPrefix(e.Hint, "identity: ") {
		t.Errorf("got error %v, want %q with a hint at the identity", err, connection.ErrNetwork)
	}
}

// E37: a redirect is not followed, wherever it leads.
func TestRedirect(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	srv.Fail("GetBlob", 1, objecttest.Status(http.StatusTemporaryRedirect, "", "Location: "+srv.Location()+"/mail/other"))
	srv.Add("other", []byte("text"))
	_, err := c.Get(t.Context(), "key", nil)
	wants(t, "get that is redirected", err, connection.ErrProtocol)
	if got := len(srv.Requests()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

// The service does not know whether a put that has timed out was obeyed: a look decides.
func TestTimedOutPut(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	timedOut := objecttest.Status(500, "", "x-ms-error-code: OperationTimedOut")
	srv.Fail("PutBlob", 1, timedOut)
	wants(t, "put of which nothing was stored", putError(t.Context(), c, nil), connection.ErrUncertain)
	put(t, c, "key", "text", nil)
	srv.Fail("PutBlob", 1, timedOut)
	if err := putError(t.Context(), c, nil); err != nil {
		t.Errorf("put of what is there: %v", err)
	}
}

// A page of somebody else's, though it says 200, is not taken for a listing.
func TestSomebodyElsesPage(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	srv.Fail("ListBlobs", 1, objecttest.Status(200, "<html><body>Please log in to this network</body></html>", "Content-Type: text/html"))
	var e *connection.Error
	if err := listError(t.Context(), c); !errors.As(err, &e) || e.Kind != connection.ErrProtocol || !strings.HasPrefix(e.Hint, "location: ") {
		t.Errorf("got error %v, want %q with a hint at the location", err, connection.ErrProtocol)
	}
}

// A part of an object that does not say which it is could be any.
func TestPartOfNoKnownPlace(t *testing.T) {
	srv := newFake(t, nil)
	put(t, openWith(t, srv, nil, nil), "key", "text", nil)
	c := openWith(t, srv, nil, misreported(func(r *http.Request) bool { return r.Method == http.MethodGet }, func(resp *http.Response) {
		resp.StatusCode = http.StatusPartialContent
		resp.Header.Del("Content-Range")
	}))
	for _, opts := range []*connection.GetOptions{{Offset: 2}, {Length: 2}, nil} {
		wants(t, "get", second(c.Get(t.Context(), "key", opts)), connection.ErrProtocol)
	}
}

// The library makes a text of each error, with a line for every bracket of JSON. A server must not use it to fill the memory.
func TestNestedError(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	srv.Fail("GetBlob", -1, objecttest.Status(400, strings.Repeat("[", 1<<20), "Content-Type: application/json"))
	used := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := c.Get(b.Context(), "key", nil)
			wants(b, "get", err, connection.ErrRejected)
		}
	})
	if got := used.AllocedBytesPerOp(); got > 4<<20 {
		t.Errorf("%d octets of memory for one error", got)
	}
}
