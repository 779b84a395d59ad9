package swift

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

const (
	// maxBulk is how many names go into one bulk delete. Servers take 10,000, but remove them one or two at a time, and
	// may be silent until that is done.
	maxBulk = 100
	// maxLine is the longest line of a bulk delete: one of more than 2,564 octets spoils the whole list.
	maxLine = 2048
)

// Delete implements objectstore.Backend. The segments of a large object go with it.
func (b *backend) Delete(ctx context.Context, key string) error {
	large, err := b.mayBeLarge(ctx)
	if err != nil {
		return err
	}
	if large {
		h, err := b.head(ctx, key, newest())
		if err != nil {
			return gone(b.missing(ctx, err))
		}
		large = isLarge(h)
	}
	if large {
		return b.deleteLarge(ctx, key)
	}
	return gone(b.missing(ctx, b.deleteOne(ctx, b.place.container, key)))
}

// gone drops the error of what is not there.
func gone(err error) error {
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil
	}
	return err
}

func (b *backend) deleteOne(ctx context.Context, container, name string) error {
	a, err := b.send(ctx, &request{method: http.MethodDelete, container: container, object: name})
	if err != nil {
		return kindFor(err, "409", connection.ErrUnavailable)
	}
	a.discard()
	return nil
}

// notLarge is what the middleware slo says of an object that is none of its own.
const notLarge = "Not an SLO manifest"

// deleteLarge removes a large object with its segments.
func (b *backend) deleteLarge(ctx context.Context, key string) error {
	a, err := b.send(ctx, &request{
		method: http.MethodDelete, container: b.place.container, object: key,
		query: url.Values{"multipart-manifest": {"delete"}}, header: swift.Headers{"Accept": "application/json"},
	})
	if err != nil {
		return gone(b.missing(ctx, err))
	}
	defer a.discard()
	var said result
	if err := decode(ctx, a.body, maxManifest, &said); err != nil {
		return err
	}
	if strings.Contains(said.Body, notLarge) || slices.ContainsFunc(said.Errors, func(e [2]string) bool { return strings.Contains(e[1], notLarge) }) {
		// It was replaced by a small one since.
		return gone(b.missing(ctx, b.deleteOne(ctx, b.place.container, key)))
	}
	return said.err()
}

// A result is what the middlewares bulk and slo say in the body of a 200.
type result struct {
	Status   string      `json:"Response Status"`
	Body     string      `json:"Response Body"`
	Errors   [][2]string // the path, escaped, and the status
	Deleted  int         `json:"Number Deleted"`
	NotFound int         `json:"Number Not Found"`
}

// outcome reads a result that may not be one: a server that has nothing to say says nothing.
func outcome(body []byte) *result {
	var r result
	if json.Unmarshal(body, &r) != nil {
		for line := range strings.Lines(string(body)) {
			if status, ok := strings.CutPrefix(line, "Response Status: "); ok {
				r.Status = strings.TrimSpace(status)
			}
		}
	}
	return &r
}

// err returns the failure that the result tells of as a whole: that of the first error, if there is one.
func (r *result) err() error {
	if len(r.Errors) > 0 {
		return lineError(r.Errors[0][1], r.Body)
	}
	if r.Status == "" || strings.HasPrefix(r.Status, "2") {
		return nil
	}
	return lineError(r.Status, r.Body)
}

// lineError makes the error of a status line, "401 Unauthorized".
func lineError(line, text string) error {
	number, reason, _ := strings.Cut(line, " ")
	status, err := strconv.Atoi(number)
	if err != nil {
		return &connection.Error{Kind: connection.ErrCorrupt, Err: errors.New(httpx.Clean(line + " " + text))} // "Etag Mismatch"
	}
	e := statusError(status, http.Header{}, reason+" "+text)
	if e.Kind == connection.ErrAuth {
		// The token has ended under the request. The next one finds that out at its head, where it is healed.
		e.Kind, e.Hint = connection.ErrUnavailable, ""
	}
	return e
}

// MaxDelete implements objectstore.BulkDeleter.
func (b *backend) MaxDelete() int { return maxBulk }

// DeleteMany implements objectstore.BulkDeleter. Large objects among the keys are removed one by one.
func (b *backend) DeleteMany(ctx context.Context, keys []string) ([]error, error) {
	each := make([]error, len(keys))
	small := make([]int, 0, len(keys))
	mayBe, err := b.mayBeLarge(ctx)
	if err != nil {
		return nil, err
	}
	if mayBe {
		large := make([]bool, len(keys))
		b.abreast(len(keys), func(i int) {
			var h http.Header
			if h, each[i] = b.head(ctx, keys[i], newest()); each[i] == nil && isLarge(h) {
				large[i] = true
				each[i] = b.deleteLarge(ctx, keys[i])
			}
			objectstore.Progress(ctx)
		})
		for i, done := range large {
			if !done && each[i] == nil {
				small = append(small, i)
			}
		}
	} else {
		for i := range keys {
			small = append(small, i)
		}
	}
	names := make([]string, len(small))
	for j, i := range small {
		names[j] = keys[i]
	}
	done, missing, err := b.deleteNames(ctx, b.place.container, names)
	if err != nil {
		return nil, err
	}
	for j, i := range small {
		each[i] = done[j]
	}
	for i, err := range each {
		if connection.KindOf(err) == connection.ErrNotFound {
			missing, each[i] = missing+1, nil
		}
	}
	if missing > 0 {
		// A container that is not there holds none of them either.
		err = gone(b.missing(ctx, &connection.Error{Kind: connection.ErrNotFound}))
	}
	return each, err
}

// abreast calls f for 0 to n-1, as many at once as the setting workers says.
func (b *backend) abreast(n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(n, b.workers) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// deleteNames removes objects of a container that are no large objects, by one request where that can be, else one by one.
// It returns what each met, and how many are missing besides those that are said to be.
func (b *backend) deleteNames(ctx context.Context, container string, names []string) (each []error, missing int, err error) {
	each = make([]error, len(names))
	single := make([]bool, len(names))
	var short []string
	for i, name := range names {
		if single[i] = len(escaped(container, name)) > maxLine; !single[i] {
			short = append(short, name)
		}
	}
	var said *result
	if len(short) > 1 && !b.noBulk.Load() {
		if said, err = b.deleteBulk(ctx, container, short); err != nil {
			return nil, 0, err
		}
		b.noBulk.Store(said == nil)
	}
	if said != nil {
		missing = said.NotFound
	}
	failed, whole := said.failed(container, len(short))
	b.abreast(len(names), func(i int) {
		if refused := failed[names[i]]; refused != nil {
			each[i] = refused
		} else if single[i] || !whole {
			each[i] = b.deleteOne(ctx, container, names[i])
			objectstore.Progress(ctx)
		}
	})
	return each, missing, nil
}

// escaped returns a path as URLs and the lines of a bulk delete hold it.
func escaped(container, name string) string {
	u := url.URL{Path: "/" + container + "/" + name}
	return u.EscapedPath()
}

// deleteBulk makes a request of the middleware bulk. The result is nil if the server has none.
func (b *backend) deleteBulk(ctx context.Context, container string, names []string) (*result, error) {
	var list bytes.Buffer
	for _, name := range names {
		list.WriteString(escaped(container, name) + "\n")
	}
	a, err := b.send(ctx, &request{
		method: http.MethodPost, query: url.Values{"bulk-delete": {"true"}}, body: bytes.NewReader(list.Bytes()), size: int64(list.Len()),
		header: swift.Headers{"Content-Type": "text/plain", "Accept": "application/json"},
	})
	switch connection.KindOf(err) {
	case connection.ErrPermission, connection.ErrUnsupported, connection.ErrNotFound, connection.ErrRejected, connection.ErrChanged:
		return nil, nil // one by one they get the true answer
	}
	if err != nil {
		return nil, err
	}
	defer a.discard()
	if a.status == http.StatusNoContent {
		return nil, nil // it took the request for one that sets metadata, of which there is none
	}
	var said result
	if err := decode(ctx, a.body, maxManifest, &said); err != nil {
		return nil, err
	}
	switch {
	case said.Status == "":
		return nil, nil
	case len(said.Errors) == 0 && !strings.HasPrefix(said.Status, "400"):
		return &said, said.err()
	}
	return &said, nil
}

// failed returns the errors of a bulk delete by name, and whether it accounts for all of n names: those that it does not may
// still be there. A nil result accounts for none.
func (r *result) failed(container string, n int) (failed map[string]error, whole bool) {
	if r == nil {
		return nil, false
	}
	failed = make(map[string]error, len(r.Errors))
	for _, e := range r.Errors {
		if path, err := url.PathUnescape(e[0]); err == nil {
			failed[strings.TrimPrefix(strings.TrimPrefix(path, "/"), container+"/")] = lineError(e[1], "")
		}
	}
	return failed, r.Deleted+r.NotFound+len(r.Errors) >= n
}
