package objecttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// withoutParts are a driver's that sends all by one request.
type withoutParts struct{ objectstore.Backend }

var plants = []planted{
	{
		bug: "stores an empty object in parts", rule: "E1-empty-object",
		harness: onStore(func(s connection.ObjectStore) connection.ObjectStore {
			b := &bentStore{toyStore: s.(*toyStore)}
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				raw, err := io.ReadAll(r)
				if err == nil && len(raw) == 0 {
					_, err = (&toyBackend{b.toyStore}).Begin(ctx, key, &objectstore.PutRequest{})
				}
				if err != nil {
					return connection.ObjectInfo{}, err
				}
				return b.toyStore.Put(ctx, key, bytes.NewReader(raw), &o)
			}
			return b
		}),
	},
	{
		bug: "takes the end of an empty object for an error", rule: "E1-empty-object",
		bent: bent{err: func(_ string, err error) error {
			if errors.Is(err, objectstore.ErrRange) {
				return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("416")}
			}
			return err
		}},
	},
	{bug: "escapes keys as forms do", rule: "E2-keys-escaped", bent: bent{escape: formEscape}},
	{bug: "unescapes listings as forms do", rule: "E2-keys-escaped", flaws: flaws{plusIsSpace: true}},
	{bug: "asks the server about bad keys", rule: "E3-E7-bad-keys", bent: tuned(func(t *objectstore.Tuning) { t.AllowAnyKey = true })},
	{bug: "changes keys that a setting permits", rule: "E5-any-key", bent: bent{escape: func(key string) string { return formEscape(strings.ReplaceAll(key, `\`, "/")) }}},
	{bug: "cuts long keys", rule: "E6-long-keys", flaws: flaws{shortName: true}},
	{
		bug: "fails at keys of others", rule: "E8-foreign-keys",
		bent: backend(func(b *bentBackend) {
			b.list = func(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
				page, err := b.toyBackend.List(ctx, req)
				if err == nil {
					for _, e := range page.Entries {
						if objectstore.CheckKey(e.Key) != nil {
							return nil, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("what a key")}
						}
					}
				}
				return page, err
			}
		}),
	},
	{
		bug: "sends large objects by one request", rule: "E11-sizes",
		bent: bent{wrap: func(b objectstore.Backend) objectstore.Backend { return withoutParts{b} }},
	},
	{bug: "counts the limit of one request wrongly", rule: "E11-sizes", bent: tuned(func(t *objectstore.Tuning) { t.SinglePutLimit-- })},
	{
		bug: "sends a huge object by one request", rule: "E12-huge-object",
		bent: bent{wrap: func(b objectstore.Backend) objectstore.Backend { return withoutParts{b} }},
	},
	{
		bug: "forgets the rest of what it has no size of", rule: "E13-unknown-size",
		harness: onStore(func(s connection.ObjectStore) connection.ObjectStore {
			b := &bentStore{toyStore: s.(*toyStore)}
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				if _, ok := r.(io.Seeker); !ok {
					r = io.LimitReader(r, 512<<10)
				}
				return b.toyStore.Put(ctx, key, r, &o)
			}
			return b
		}),
	},
	{bug: "does not look at the size announced", rule: "E14-wrong-size", harness: onPut(func(_ string, o *connection.PutOptions) { o.Size = 0 })},
	{
		bug: "stores what it has when its source fails", rule: "E15-source-fails",
		harness: onStore(func(s connection.ObjectStore) connection.ObjectStore {
			b := &bentStore{toyStore: s.(*toyStore)}
			b.put = func(ctx context.Context, key string, r io.Reader, o connection.PutOptions) (connection.ObjectInfo, error) {
				raw, err := io.ReadAll(r)
				if err != nil {
					o.Size = 0
				}
				return b.toyStore.Put(ctx, key, bytes.NewReader(raw), &o)
			}
			return b
		}),
	},
	{bug: "forgets to abort when its source fails", rule: "E15-source-fails", bent: bent{noAbort: true}},
	{bug: "forgets to abort when it is canceled", rule: "E16-canceled", bent: bent{noAbort: true}},
	{bug: "forgets to abort when the line is cut", rule: "E15-cut-upload", bent: bent{noAbort: true}},
	{bug: "shows the first part before the rest", rule: "E15-cut-upload", flaws: flaws{visibleParts: true}},
	{bug: "does not repeat a put", rule: "E15-cut-upload", bent: tuned(func(t *objectstore.Tuning) { t.MaxAttempts = 1 })},
	{
		bug: "waits for its answer when it is canceled", rule: "E16-canceled",
		bent: backend(func(b *bentBackend) {
			b.put = func(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
				info, err := b.toyBackend.Put(ctx, key, body, req)
				if ctx.Err() != nil {
					<-time.After(1500 * time.Millisecond)
				}
				return info, err
			}
		}),
	},
	{bug: "does not list what is left behind", rule: "E17-leftovers", flaws: flaws{noOldUploads: true}},
	{bug: "aborts what has just begun", rule: "E17-leftovers", flaws: flaws{abortsAll: true}},
	{bug: "shows the first part of an overwrite", rule: "E18-overwrite-fails", flaws: flaws{visibleParts: true}},
	{
		bug: "deletes before it overwrites", rule: "E18-overwrite-fails",
		bent: backend(func(b *bentBackend) {
			b.put = func(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
				if err := b.toyBackend.Delete(ctx, key); err != nil {
					return connection.ObjectInfo{}, err
				}
				return b.toyBackend.Put(ctx, key, body, req)
			}
		}),
	},
	{bug: "tells no progress", rule: "progress", harness: onPut(func(_ string, o *connection.PutOptions) { o.Progress = nil })},
	{
		bug: "stops at a page", rule: "E19-many-keys",
		bent: backend(func(b *bentBackend) {
			b.list = func(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
				page, err := b.toyBackend.List(ctx, req)
				return &objectstore.Page{Entries: page.Entries}, err
			}
		}),
	},
	{
		bug: "takes an empty page for the last", rule: "E19-many-keys", flaws: flaws{emptyPages: true},
		bent: backend(func(b *bentBackend) {
			b.list = func(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
				page, err := b.toyBackend.List(ctx, req)
				if err == nil && len(page.Entries) == 0 {
					page.Token = ""
				}
				return page, err
			}
		}),
	},
	{
		bug: "passes keys behind a prefix at a page border", rule: "E21-delimiter-pages",
		bent: backend(func(b *bentBackend) {
			b.list = func(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
				page, err := b.toyBackend.List(ctx, req)
				if err == nil && req.Delimiter != "" {
					for i, e := range page.Entries {
						if e.Prefix {
							page.Entries = page.Entries[:i+1]
							break
						}
					}
				}
				return page, err
			}
		}),
	},
	{
		bug: "lists without looking at its context", rule: "E23-list-interrupted",
		harness: onStore(func(s connection.ObjectStore) connection.ObjectStore { return &deafLister{s.(*toyStore)} }),
	},
	{bug: "finds by listing", rule: "E24-listing-lags", flaws: flaws{slowToShow: true}},
	{
		bug: "deletes nothing when one key is bad", rule: "E27-delete-some-fail",
		harness: onStore(func(s connection.ObjectStore) connection.ObjectStore { return &strictDeleter{s.(*toyStore), 0} }),
	},
	{
		bug: "deletes a thousand keys and forgets the rest", rule: "E28-delete-many",
		harness: onStore(func(s connection.ObjectStore) connection.ObjectStore { return &strictDeleter{s.(*toyStore), 1000} }),
	},
	{
		bug: "takes a missing bucket for a missing object", rule: "E31-no-bucket", bent: asKind(connection.ErrConfig, connection.ErrNotFound),
	},
	{
		bug: "deletes in a missing bucket", rule: "E31-no-bucket",
		bent: backend(func(b *bentBackend) {
			b.remove = func(ctx context.Context, key string) error {
				if err := b.toyBackend.Delete(ctx, key); connection.KindOf(err) != connection.ErrConfig {
					return err
				}
				return nil
			}
		}),
	},
	{bug: "blames nobody for a missing bucket", rule: "E31-no-bucket", bent: bent{hint: "try something else"}},
	{bug: "says that a refusal is temporary", rule: "E33-denied", bent: asKind(connection.ErrPermission, connection.ErrUnavailable)},
	{bug: "asks again who was denied", rule: "E33-denied", bent: bent{err: func(_ string, err error) error { return err }, transport: func(next http.RoundTripper) http.RoundTripper {
		return next
	}}, harness: func(h *Harness) {
		denied := h.Denied
		h.Denied = func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			transport := env.HTTPClient.Transport
			env.HTTPClient = &http.Client{Transport: &resend{transport, func(resp *http.Response, _ error) bool {
				return resp != nil && resp.StatusCode == http.StatusForbidden
			}, tuning.MaxAttempts}}
			return denied(t, env, tuning)
		}
	}},
	{bug: "takes a stranger for a denial", rule: "E34-strangers", bent: asKind(connection.ErrAuth, connection.ErrPermission)},
	{bug: "blames nobody for a wrong password", rule: "E34-strangers", bent: bent{hint: "try something else"}},
	{bug: "repeats TLS errors at a port that speaks http", rule: "E40-wrong-scheme", bent: asKind(connection.ErrTLS, connection.ErrNetwork)},
	{bug: "repeats TLS errors", rule: "E41-certificates", bent: repeats(2, func(_ *http.Response, err error) bool { return connection.KindOf(err) == connection.ErrTLS })},
	{bug: "gives up at the first refusal", rule: "E42-dead-endpoint", bent: tuned(func(t *objectstore.Tuning) { t.MaxAttempts = 1 })},
	{
		bug: "does not tell why", rule: "E42-dead-endpoint",
		bent: bent{err: func(_ string, err error) error {
			return &connection.Error{Kind: connection.KindOf(err), Err: errors.New("it did not work")}
		}},
	},
	{bug: "waits for ever", rule: "E79-black-hole", bent: tuned(func(t *objectstore.Tuning) { t.NoDataTimeout = connection.Duration(10 * time.Second) })},
	{bug: "does not ask again when told to wait", rule: "E43-throttled", bent: asKind(connection.ErrUnavailable, connection.ErrRejected)},
	{
		bug: "comes back too soon", rule: "E43-throttled",
		bent: bent{err: func(_ string, err error) error {
			var e *connection.Error
			if errors.As(err, &e) {
				e.RetryAfter = 0
			}
			return err
		}},
	},
	{bug: "hammers a server that is busy", rule: "E43-throttled-for-ever", bent: repeats(20, func(resp *http.Response, _ error) bool { return resp != nil && resp.StatusCode == 503 })},
	{bug: "says that a put whose answer was lost failed", rule: "E46-lost-reply", bent: asKind(connection.ErrUncertain, connection.ErrRejected)},
	{bug: "takes its own object for another's", rule: "E47-lost-reply-if-absent", bent: backend(func(b *bentBackend) {
		b.stat = func(ctx context.Context, key string) (connection.ObjectInfo, error) {
			info, err := b.toyBackend.Stat(ctx, key)
			info.SHA256 = ""
			return info, err
		}
	})},
	{bug: "takes another's object for its own", rule: "E47-lost-reply-if-absent", bent: asKind(connection.ErrExists, connection.ErrUncertain), flaws: flaws{dropsCondition: true}},
	{bug: "drops the condition on large puts", rule: "E49-if-absent-large", flaws: flaws{overwritesOnComplete: true}},
	{
		bug: "has no condition and says nothing", rule: "E50-no-if-absent", bent: bent{features: func(f *objectstore.Features) { f.IfAbsent = false }},
		harness: onPut(func(_ string, o *connection.PutOptions) { o.IfAbsent = false }),
	},
	{bug: "asks again who was refused in the middle", rule: "E51-early-refusal", bent: asKind(connection.ErrPermission, connection.ErrUnavailable)},
	{bug: "ignores options that it has not", rule: "E66-lacking-options", harness: onPut(func(_ string, o *connection.PutOptions) { o.Class = "" })},
	{bug: "does not hold what is locked", rule: "E67-retained", flaws: flaws{unlocked: true}},
	{bug: "forgets the lock of a put", rule: "E67-retained", harness: onPut(func(_ string, o *connection.PutOptions) { o.Lock = connection.Lock{} })},
	{
		bug: "adds offset and length up", rule: "E71-ranges",
		harness: onGet(func(o *connection.GetOptions) {
			if end := o.Offset + o.Length; end < 0 {
				o.Length = 1
			}
		}),
	},
	{bug: "takes the whole for the range", rule: "E72-range-ignored", harness: careless},
	{bug: "returns short bodies", rule: "E73-cut-download", harness: careless},
	{bug: "returns short bodies when all is cut", rule: "E73-cut-for-ever", harness: careless},
	{
		bug: "goes on with another object", rule: "E74-replaced-while-read",
		bent: bent{
			reply:   func(r *objectstore.Reply) { r.ETag = "always" },
			request: func(_ string, r *http.Request) { r.Header.Del("If-Match") },
		},
		harness: onGet(func(o *connection.GetOptions) { o.NoVerify = true }),
	},
	{bug: "does not verify what it reads", rule: "E75-flipped-download", harness: onGet(func(o *connection.GetOptions) { o.NoVerify = true })},
	{bug: "does not check what comes in", rule: "E75-flipped-upload", flaws: flaws{noChecks: true}},
	{bug: "does not verify what was stored", rule: "E75-damaged-at-rest", harness: onGet(func(o *connection.GetOptions) { o.NoVerify = true })},
	{bug: "lets net/http unpack", rule: "E77-gzip", bent: bent{request: func(_ string, r *http.Request) { r.Header.Del("Accept-Encoding") }}},
	{
		bug: "keeps ASCII only", rule: "E78-metadata",
		bent: backend(func(b *bentBackend) {
			b.put = func(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
				for name, value := range req.Meta {
					req.Meta[name] = strings.TrimSpace(strings.ReplaceAll(value, "ü", "?"))
				}
				return b.toyBackend.Put(ctx, key, body, req)
			}
		}),
	},
	{bug: "waits for ever for an answer", rule: "E79-stall", bent: tuned(func(t *objectstore.Tuning) { t.NoDataTimeout = connection.Duration(20 * time.Second) })},
	{bug: "has a timeout for the whole", rule: "E80-slow", bent: bent{transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(r.Context(), 700*time.Millisecond)
			context.AfterFunc(ctx, cancel)
			return next.RoundTrip(r.WithContext(ctx))
		})
	}}},
	{bug: "reads answers to their end", rule: "E83-endless-answer", bent: bent{unlimited: true}},
	{bug: "ends nothing on Close", rule: "E84-close-in-the-middle", bent: bent{closeOpen: true}},
	{bug: "presigns for every method", rule: "presigned-urls", flaws: flaws{anyMethod: true}},
	{bug: "leaves a goroutine", rule: "E1-empty-object", bent: bent{leak: true}},
	{bug: "logs the secret", rule: "E1-empty-object", bent: bent{printSecret: true}},
}

// roundTripper is a transport made of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A deafLister lists to the end.
type deafLister struct{ *toyStore }

func (d *deafLister) List(ctx context.Context, opts *connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
	return d.toyStore.List(context.WithoutCancel(ctx), opts)
}

// A strictDeleter deletes nothing if a key is bad, and at most so many.
type strictDeleter struct {
	*toyStore
	most int
}

func (d *strictDeleter) Delete(ctx context.Context, keys ...string) error {
	if d.most > 0 {
		return d.toyStore.Delete(ctx, keys[:min(d.most, len(keys))]...)
	}
	for _, key := range keys {
		if err := objectstore.CheckKey(key); err != nil {
			return &connection.Error{Op: "delete", Driver: "toy", Key: key, Kind: connection.ErrUnsupported, Err: err}
		}
	}
	return d.toyStore.Delete(ctx, keys...)
}
