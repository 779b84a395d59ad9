package filestore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

func open(tb testing.TB, dir string) *filestore.Conn {
	tb.Helper()
	c, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: dir}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

func put(tb testing.TB, c connection.Putter, key, content string, opts *connection.PutOptions) connection.ObjectInfo {
	tb.Helper()
	info, err := c.Put(tb.Context(), key, strings.NewReader(content), opts)
	if err != nil {
		tb.Fatalf("put %q: %v", key, err)
	}
	return info
}

func get(tb testing.TB, c connection.Getter, key string, opts *connection.GetOptions) string {
	tb.Helper()
	data, err := tryGet(tb.Context(), c, key, opts)
	if err != nil {
		tb.Fatalf("get %q: %v", key, err)
	}
	return data
}

func tryGet(ctx context.Context, c connection.Getter, key string, opts *connection.GetOptions) (string, error) {
	o, err := c.Get(ctx, key, opts)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(o.Body)
	return string(data), errors.Join(err, o.Body.Close())
}

func list(tb testing.TB, c connection.ObjectStore, opts *connection.ListOptions) []string {
	tb.Helper()
	var keys []string
	for info, err := range c.List(tb.Context(), opts) {
		if err != nil {
			tb.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

func addressed(content string) string {
	s := sum(content)
	return "messages/" + s[:2] + "/" + s[2:4] + "/" + s + ".eml"
}

// files returns the regular files below dir, slash-separated and sorted, without lock files.
func files(tb testing.TB, dir string) []string {
	tb.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), "lock-") {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		all = append(all, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func wantKind(tb testing.TB, err error, want connection.Kind, words ...string) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("got error %v, want %v", err, want)
	}
	var e *connection.Error
	if !errors.As(err, &e) || e.Driver != "file" || e.Op == "" || e.Endpoint == "" {
		tb.Errorf("error %v: want an *Error with Op, Driver and Endpoint", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestContentAddressedObjectIsOnePlainFile(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	key := addressed("a message")
	info := put(t, c, key, "a message", &connection.PutOptions{IfAbsent: true, Size: 9})
	if info.Size != 9 || info.SHA256 != sum("a message") || info.ETag == "" || info.Key != key || info.Modified.IsZero() {
		t.Errorf("got info %+v", info)
	}
	if got := files(t, dir); !slices.Equal(got, []string{key}) {
		t.Errorf("got files %v, want %s alone", got, key)
	}
	stat, err := c.Stat(t.Context(), key)
	if err != nil || stat.ETag != info.ETag || stat.SHA256 != info.SHA256 || !stat.Modified.Equal(info.Modified) {
		t.Errorf("stat: got %+v, %v; put said %+v", stat, err, info)
	}
	if got := get(t, c, key, nil); got != "a message" {
		t.Errorf("got %q", got)
	}
}

func TestObjectKeepsItsMetadata(t *testing.T) {
	c := open(t, t.TempDir())
	meta := map[string]string{"Folder": "Entwürfe/été", "received": "2026-01-02"}
	for _, key := range []string{"plain.txt", addressed("x"), "a/b/manifest"} {
		put(t, c, key, "x", &connection.PutOptions{Meta: meta, ContentType: "message/rfc822"})
		o, err := c.Get(t.Context(), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(o.Meta, meta) || o.ContentType != "message/rfc822" || o.SHA256 != sum("x") {
			t.Errorf("%s: got %+v", key, o.ObjectInfo)
		}
		if err := o.Body.Close(); err != nil {
			t.Error(err)
		}
		put(t, c, key, "x", nil) // metadata belongs to a version
		if info, err := c.Stat(t.Context(), key); err != nil || len(info.Meta) != 0 || info.ContentType != "" {
			t.Errorf("%s after a put without metadata: got %+v, %v", key, info, err)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	damage := map[string]func([]byte) []byte{
		"flipped":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"emptied":   func([]byte) []byte { return nil },
		"longer":    func(b []byte) []byte { return append(b, 'x') },
	}
	long := strings.Repeat("line of a message\r\n", 40_000)
	for name, harm := range damage {
		for _, key := range []string{addressed(long), "other/key"} {
			t.Run(name+"/"+key[:5], func(t *testing.T) {
				dir := t.TempDir()
				c := open(t, dir)
				put(t, c, key, long, nil)
				path := filepath.Join(dir, filepath.FromSlash(key))
				if key == "other/key" {
					path += "%f"
				}
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, harm(data), 0o600); err != nil {
					t.Fatal(err)
				}
				_, err = tryGet(t.Context(), c, key, nil)
				wantKind(t, err, connection.ErrCorrupt)
			})
		}
	}
}

func TestNameThatIsNotTheDigest(t *testing.T) {
	c := open(t, t.TempDir())
	key := addressed("one")
	put(t, c, key, "another", nil)
	if got := get(t, c, key, nil); got != "another" {
		t.Errorf("got %q", got)
	}
	if info, err := c.Stat(t.Context(), key); err != nil || info.SHA256 != sum("another") {
		t.Errorf("got %+v, %v", info, err)
	}
	put(t, c, key, "one", nil)
	if got := get(t, c, key, nil); got != "one" {
		t.Errorf("got %q", got)
	}
}

func TestPutIsAllOrNothing(t *testing.T) {
	broken := errors.New("the line broke")
	big := strings.Repeat("0123456789", 100_000)
	cancelled, cancel := context.WithCancel(t.Context())
	cases := []struct {
		name string
		ctx  context.Context
		r    io.Reader
		opts connection.PutOptions
		want error
	}{
		{"reader fails", t.Context(), io.MultiReader(strings.NewReader(big), iotestErr{broken}), connection.PutOptions{}, broken},
		{"too short", t.Context(), strings.NewReader("ab"), connection.PutOptions{Size: 3}, io.ErrUnexpectedEOF},
		{"too long", t.Context(), strings.NewReader("abcd"), connection.PutOptions{Size: 3}, connection.ErrInvalid},
		{"wrong digest", t.Context(), strings.NewReader("abcd"), connection.PutOptions{SHA256: sum("x")}, connection.ErrCorrupt},
		{"cancelled", cancelled, io.MultiReader(strings.NewReader(big), readerFunc(func([]byte) (int, error) { cancel(); return 1, nil }), strings.NewReader("rest")), connection.PutOptions{}, context.Canceled},
		{"class", t.Context(), strings.NewReader("x"), connection.PutOptions{Class: "COLD"}, connection.ErrUnsupported},
		{"meta too large", t.Context(), strings.NewReader("x"), connection.PutOptions{Meta: map[string]string{"a": big}}, connection.ErrTooLarge},
		{"meta with newline", t.Context(), strings.NewReader("x"), connection.PutOptions{Meta: map[string]string{"a": "b\nc"}}, connection.ErrInvalid},
		{"no reader", t.Context(), nil, connection.PutOptions{}, connection.ErrInvalid},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			c := open(t, dir)
			put(t, c, "dir/key", "before", &connection.PutOptions{Meta: map[string]string{"v": "1"}})
			before := files(t, dir)
			for _, key := range []string{"dir/key", "dir/new"} {
				_, err := c.Put(tc.ctx, key, tc.r, &tc.opts)
				if err == nil {
					t.Fatalf("put %s: got no error", key)
				}
				if key == "dir/key" {
					wantKind(t, err, connection.KindOf(err))
					if !errors.Is(err, tc.want) {
						t.Errorf("got error %v, want %v", err, tc.want)
					}
				}
			}
			if got := files(t, dir); !slices.Equal(got, before) {
				t.Errorf("files changed from %v to %v", before, got)
			}
			if info, err := c.Stat(t.Context(), "dir/key"); err != nil || info.Meta["v"] != "1" {
				t.Errorf("metadata: got %+v, %v", info, err)
			}
			if got := get(t, c, "dir/key", nil); got != "before" {
				t.Errorf("got %q", got)
			}
		})
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestIfAbsentHasOneWinner(t *testing.T) {
	for _, kind := range []string{"plain", "sidecar"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			for round := range 20 {
				content := fmt.Sprintf("message %d", round)
				key := addressed(content)
				if kind == "sidecar" {
					key = fmt.Sprintf("keys/%d", round)
				}
				var won atomic.Int32
				var winner atomic.Value
				var wg sync.WaitGroup
				for i := range 16 {
					c := open(t, dir)
					wg.Go(func() {
						data := content
						if kind == "sidecar" {
							data = fmt.Sprintf("%s by %d", content, i)
						}
						_, err := c.Put(t.Context(), key, strings.NewReader(data), &connection.PutOptions{IfAbsent: true})
						switch {
						case err == nil:
							won.Add(1)
							winner.Store(data)
						case !errors.Is(err, connection.ErrExists):
							t.Errorf("got error %v, want ErrExists", err)
						}
					})
				}
				wg.Wait()
				if won.Load() != 1 {
					t.Fatalf("got %d winners, want 1", won.Load())
				}
				if got := get(t, open(t, dir), key, nil); got != winner.Load() {
					t.Errorf("got %q, the winner put %q", got, winner.Load())
				}
			}
		})
	}
}

func TestReadersSeeOldOrNewWhole(t *testing.T) {
	dir := t.TempDir()
	writer, reader := open(t, dir), open(t, dir)
	version := func(i int) (string, map[string]string) {
		return strings.Repeat(fmt.Sprintf("%06d\n", i), 5000), map[string]string{"v": fmt.Sprintf("%06d", i)}
	}
	content, meta := version(0)
	put(t, writer, "k", content, &connection.PutOptions{Meta: meta})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				o, err := reader.Get(t.Context(), "k", nil)
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				data, err := io.ReadAll(o.Body)
				if err := errors.Join(err, o.Body.Close()); err != nil {
					t.Errorf("read: %v", err)
					return
				}
				if v := string(data[:6]); o.Meta["v"] != v || o.SHA256 != sum(string(data)) {
					t.Errorf("data of version %s with metadata %v", v, o.Meta)
					return
				}
			}
		})
	}
	for i := 1; i <= 100; i++ {
		content, meta := version(i)
		put(t, writer, "k", content, &connection.PutOptions{Meta: meta})
	}
	close(done)
	wg.Wait()
}

func TestRanges(t *testing.T) {
	c := open(t, t.TempDir())
	put(t, c, "k", "0123456789", nil)
	put(t, c, "empty", "", nil)
	cases := []struct {
		key  string
		opts connection.GetOptions
		want string
	}{
		{"k", connection.GetOptions{}, "0123456789"},
		{"k", connection.GetOptions{Offset: 3}, "3456789"},
		{"k", connection.GetOptions{Offset: 3, Length: 2}, "34"},
		{"k", connection.GetOptions{Offset: 9}, "9"},
		{"k", connection.GetOptions{Offset: 10}, ""},
		{"k", connection.GetOptions{Offset: 1 << 60, Length: 1 << 62}, ""},
		{"k", connection.GetOptions{Offset: 8, Length: 1<<63 - 1}, "89"},
		{"empty", connection.GetOptions{}, ""},
		{"empty", connection.GetOptions{Offset: 5, Length: 5}, ""},
	}
	for _, tc := range cases {
		if got := get(t, c, tc.key, &tc.opts); got != tc.want {
			t.Errorf("%s %+v: got %q, want %q", tc.key, tc.opts, got, tc.want)
		}
	}
	_, err := c.Get(t.Context(), "k", &connection.GetOptions{Offset: -1})
	wantKind(t, err, connection.ErrInvalid)
	_, err = c.Get(t.Context(), "k", &connection.GetOptions{IfMatch: "other"})
	wantKind(t, err, connection.ErrChanged)
	info, err := c.Stat(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "k", &connection.GetOptions{IfMatch: info.ETag, Offset: 9}); got != "9" {
		t.Errorf("got %q", got)
	}
	put(t, c, "k", "0123456789", nil)
	_, err = c.Get(t.Context(), "k", &connection.GetOptions{IfMatch: info.ETag})
	wantKind(t, err, connection.ErrChanged)
}

func TestBodyOutlivesReplacement(t *testing.T) {
	c := open(t, t.TempDir())
	put(t, c, "k", "old content", nil)
	o, err := c.Get(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", "new", nil)
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(o.Body)
	if err := errors.Join(err, o.Body.Close()); err != nil || string(data) != "old content" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := o.Body.Read(make([]byte, 1)); !errors.Is(err, connection.ErrClosed) {
		t.Errorf("read after close: got %v", err)
	}
}

func TestConcurrentPutAndDeleteInOneDirectory(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 4 {
		c := open(t, dir)
		wg.Go(func() {
			for n := range 50 {
				key := fmt.Sprintf("a/b/%d-%d", i, n%3)
				if _, err := c.Put(t.Context(), key, strings.NewReader(key), nil); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				if got, err := tryGet(t.Context(), c, key, nil); err != nil || got != key {
					t.Errorf("get: %q, %v", got, err)
					return
				}
				if err := c.Delete(t.Context(), key); err != nil {
					t.Errorf("delete: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files left: %v", got)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	c := open(t, t.TempDir())
	put(t, c, "k", strings.Repeat("x", 1000), nil)
	o, err := c.Get(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	reading := make(chan struct{})
	result := make(chan error)
	go func() {
		var once sync.Once
		_, err := c.Put(t.Context(), "slow", readerFunc(func(p []byte) (int, error) { once.Do(func() { close(reading) }); return len(p), nil }), nil)
		result <- err
	}()
	<-reading
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-result, connection.ErrClosed)
	_, err = io.ReadAll(o.Body)
	wantKind(t, err, connection.ErrClosed)
	if err := o.Body.Close(); err != nil {
		t.Error(err)
	}
	_, err = c.Put(t.Context(), "k", bytes.NewReader(nil), nil)
	wantKind(t, err, connection.ErrClosed)
	_, err = c.Stat(t.Context(), "k")
	wantKind(t, err, connection.ErrClosed)
	for _, err := range c.List(t.Context(), nil) {
		wantKind(t, err, connection.ErrClosed)
	}
	wantKind(t, c.Delete(t.Context(), "k"), connection.ErrClosed)
	report, err := c.Test(t.Context(), nil)
	wantKind(t, err, connection.ErrClosed)
	if report.OK() {
		t.Error("the report of a closed store is ok")
	}
}
