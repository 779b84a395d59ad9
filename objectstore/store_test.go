package objectstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

var (
	network   = fault{err: kind(connection.ErrNetwork, "Reset")}
	throttled = fault{err: kind(connection.ErrThrottled, "SlowDown")}
	lostReply = fault{err: kind(connection.ErrUncertain, "LostReply"), acted: true}
)

func newStore(b objectstore.Backend, env *connection.Env) *objectstore.Store {
	return objectstore.New(b, objectstore.Options{
		Driver: "mem", Endpoint: "mem:1", Features: objectstore.Features{IfAbsent: true, Meta: true},
		Tuning: objectstore.Tuning{NoDataTimeout: connection.Duration(time.Minute)},
	}, env)
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// onlyReader cannot seek.
type onlyReader struct{ io.Reader }

func TestPut(t *testing.T) {
	exists := func(m *memory) { m.set("k", "other", &objectstore.PutRequest{SHA256: sum("other")}) }
	cases := []struct {
		name   string
		before func(*memory)
		faults []fault
		opts   connection.PutOptions
		want   connection.Kind // 0 = success
		puts   int
		held   string
	}{
		{name: "at once", puts: 1, held: "content"},
		{name: "third attempt", faults: []fault{network, throttled}, puts: 3, held: "content"},
		{name: "never", faults: []fault{network, network, network, network, throttled}, want: connection.ErrThrottled, puts: 5},
		{name: "refused", faults: []fault{{err: kind(connection.ErrPermission, "Denied")}}, want: connection.ErrPermission, puts: 1},
		{name: "tls", faults: []fault{{err: kind(connection.ErrTLS, "Cert")}}, want: connection.ErrTLS, puts: 1},
		{name: "lost reply, repeated", faults: []fault{lostReply}, puts: 2, held: "content"},
		{name: "lost reply for ever", faults: []fault{lostReply, lostReply, lostReply, lostReply, lostReply}, puts: 5, held: "content"},
		{name: "lost request for ever", faults: slices.Repeat([]fault{{err: kind(connection.ErrUncertain, "Lost")}}, 5), want: connection.ErrUncertain, puts: 5},
		{name: "absent, lost reply", faults: []fault{lostReply}, opts: connection.PutOptions{IfAbsent: true}, puts: 2, held: "content"},
		{name: "absent, taken", before: exists, opts: connection.PutOptions{IfAbsent: true}, want: connection.ErrExists, puts: 1, held: "other"},
		{name: "absent, cut, taken", before: exists, faults: []fault{network}, opts: connection.PutOptions{IfAbsent: true}, want: connection.ErrExists, puts: 2, held: "other"},
		{name: "size and digest", opts: connection.PutOptions{Size: 7, SHA256: sum("content")}, puts: 1, held: "content"},
		{name: "too short", opts: connection.PutOptions{Size: 8}, want: connection.ErrInvalid},
		{name: "too long", opts: connection.PutOptions{Size: 6}, want: connection.ErrInvalid},
		{name: "wrong digest", opts: connection.PutOptions{SHA256: sum("x")}, want: connection.ErrCorrupt},
		{name: "no classes here", opts: connection.PutOptions{Class: "COLD"}, want: connection.ErrUnsupported},
		{name: "no locks here", opts: connection.PutOptions{Lock: connection.Lock{LegalHold: true}}, want: connection.ErrUnsupported},
		{name: "stalled once", faults: []fault{{mute: true}}, puts: 2, held: "content"},
	}
	for _, tc := range cases {
		for _, source := range []string{"seeker", "stream"} {
			t.Run(tc.name+"/"+source, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMemory()
					if tc.before != nil {
						tc.before(m)
					}
					m.fail("put", tc.faults...)
					s := newStore(m, nil)
					var r io.Reader = strings.NewReader("xxcontent")
					if _, err := io.CopyN(io.Discard, r, 2); err != nil {
						t.Fatal(err)
					}
					if source == "stream" {
						r = onlyReader{r}
					}
					info, err := s.Put(t.Context(), "k", r, &tc.opts)
					puts := 0
					for _, q := range m.requests {
						if q == "put k" {
							puts++
						}
					}
					if puts != tc.puts {
						t.Errorf("got %d puts, want %d", puts, tc.puts)
					}
					if got := string(m.objects["k"].data); got != tc.held {
						t.Errorf("the key holds %q, want %q", got, tc.held)
					}
					if tc.want == 0 {
						if err != nil || info.Key != "k" || info.Size != 7 || info.SHA256 != sum("content") {
							t.Errorf("got %+v, %v", info, err)
						}
						return
					}
					var e *connection.Error
					if !errors.As(err, &e) || e.Kind != tc.want || e.Op != "put" || e.Driver != "mem" || e.Endpoint != "mem:1" || e.Key != "k" {
						t.Errorf("got %v, want %v with everything filled in", err, tc.want)
					}
					if tc.puts == 5 && !strings.Contains(err.Error(), "after 5 attempts") {
						t.Errorf("got %v: it does not tell the attempts", err)
					}
				})
			})
		}
	}
}

func TestPutKeepsLargeStreamsInAFile(t *testing.T) {
	dir := t.TempDir()
	m := newMemory()
	s := objectstore.New(m, objectstore.Options{Driver: "mem", Tuning: objectstore.Tuning{SinglePutLimit: 10}, TempDir: dir}, nil)
	content := strings.Repeat("0123456789", 1000)
	if _, err := s.Put(t.Context(), "k", onlyReader{strings.NewReader(content)}, nil); err != nil {
		t.Fatal(err)
	}
	if got := string(m.objects["k"].data); got != content {
		t.Errorf("got %d octets, want %d", len(got), len(content))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
	broken := objectstore.New(m, objectstore.Options{Driver: "mem", Tuning: objectstore.Tuning{SinglePutLimit: 10}, TempDir: dir + "/none"}, nil)
	if _, err := broken.Put(t.Context(), "k", onlyReader{strings.NewReader(content)}, nil); err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("got %v, want an error that names the folder for temporary files", err)
	}
}

func TestPutReportsItsReader(t *testing.T) {
	broken := errors.New("the line broke")
	m := newMemory()
	s := newStore(m, nil)
	_, err := s.Put(t.Context(), "k", io.MultiReader(strings.NewReader("abc"), readerFunc(func([]byte) (int, error) { return 0, broken })), nil)
	if !errors.Is(err, broken) || len(m.requests) > 0 {
		t.Errorf("got %v and requests %v, want the reader's error and none", err, m.requests)
	}
	changing := bytes.NewReader([]byte("abc"))
	m.fail("put", fault{hook: func(string) { changing.Reset([]byte("a")) }})
	_, err = s.Put(t.Context(), "k", changing, nil)
	if !errors.Is(err, connection.ErrChanged) || len(m.objects) > 0 {
		t.Errorf("got %v, want ErrChanged and nothing stored", err)
	}
}

func TestRetryWaitsAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.set("k", "x", nil)
		m.fail("stat", fault{err: &connection.Error{Kind: connection.ErrThrottled, RetryAfter: 30 * time.Second}})
		var events []connection.Event
		s := newStore(m, &connection.Env{Observe: func(e connection.Event) { events = append(events, e) }})
		began := time.Now()
		if _, err := s.Stat(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 34*time.Second {
			t.Errorf("waited %s, the server asked for 30s", took)
		}
		if len(events) != 2 || events[0].Kind != connection.EventRetry || events[0].Err == nil {
			t.Fatalf("got events %+v, want a retry and the operation", events)
		}
		if e := events[1]; e.Kind != connection.EventOperation || e.Detail != "stat" || e.Key != "k" || e.Count != 2 || e.Err != nil || e.Elapsed < 30*time.Second {
			t.Errorf("got %+v, want the operation with its two requests", e)
		}
		m.fail("stat", fault{err: &connection.Error{Kind: connection.ErrThrottled, RetryAfter: time.Hour}})
		began = time.Now()
		if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, connection.ErrThrottled) || connection.RetryAfter(err) != time.Hour {
			t.Errorf("got %v, want ErrThrottled with its RetryAfter", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("waited %s for nothing: the wait is longer than the budget", took)
		}
	})
}

func TestContextAndCloseEndEverything(t *testing.T) {
	verbs := map[string]func(context.Context, *objectstore.Store) error{
		"put": func(ctx context.Context, s *objectstore.Store) error {
			_, err := s.Put(ctx, "k", strings.NewReader("x"), nil)
			return err
		},
		"get":  func(ctx context.Context, s *objectstore.Store) error { _, err := read(ctx, s, "k", nil); return err },
		"stat": func(ctx context.Context, s *objectstore.Store) error { _, err := s.Stat(ctx, "k"); return err },
		"list": func(ctx context.Context, s *objectstore.Store) error {
			for _, err := range s.List(ctx, nil) {
				return err
			}
			return nil
		},
		"delete": func(ctx context.Context, s *objectstore.Store) error { return s.Delete(ctx, "k", "l") },
		"body":   func(ctx context.Context, s *objectstore.Store) error { _, err := read(ctx, s, "cut", nil); return err },
	}
	for name, verb := range verbs {
		for _, how := range []string{"cancel", "close", "wait"} {
			t.Run(name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMemory()
					m.set("cut", "abc", nil)
					s := newStore(m, nil)
					for _, op := range []string{"put", "stat", "list", "delete"} {
						f := fault{mute: true}
						if how == "wait" {
							f = throttled
						}
						m.fail(op, f, f)
					}
					switch {
					case name == "body" && how == "wait":
						m.fail("get", fault{cut: 1}, throttled, throttled)
					case name == "body":
						m.fail("get", fault{cut: 1, acted: true})
					case how == "wait":
						m.fail("get", throttled)
					default:
						m.fail("get", fault{mute: true})
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					result := make(chan error, 1)
					go func() { result <- verb(ctx, s) }()
					synctest.Wait()
					began := time.Now()
					want := error(context.Canceled)
					if how == "close" {
						want = connection.ErrClosed
						if err := s.Close(); err != nil {
							t.Error(err)
						}
					} else {
						cancel()
					}
					err := <-result
					if !errors.Is(err, want) || time.Since(began) != 0 {
						t.Errorf("got %v after %s, want %v at once", err, time.Since(began), want)
					}
					if k := connection.KindOf(err); name != "put" && k != connection.KindOf(want) {
						t.Errorf("got kind %v, want %v", k, connection.KindOf(want))
					}
					if err := errors.Join(s.Close(), s.Close()); err != nil {
						t.Error(err)
					}
					if err := verb(t.Context(), s); !errors.Is(err, connection.ErrClosed) {
						t.Errorf("after Close: got %v, want ErrClosed", err)
					}
				})
			})
		}
	}
}

func TestList(t *testing.T) {
	m := newMemory()
	var want []string
	for i := range 1105 {
		key := fmt.Sprintf("d/%04d", i)
		want = append(want, key)
		m.set(key, "x", nil)
	}
	for _, size := range []int{1, 500, 1105, 2000} {
		for _, empty := range []bool{false, true} {
			m.pageSize, m.emptyPages = size, empty
			s := newStore(m, nil)
			if got := keys(t, s, nil); !slices.Equal(got, want) {
				t.Errorf("pages of %d, empty ones %v: got %d keys, want %d in order", size, empty, len(got), len(want))
			}
			if got := keys(t, s, &connection.ListOptions{Delimiter: "/"}); !slices.Equal(got, []string{"d/"}) {
				t.Errorf("pages of %d: a prefix that page borders cut comes as %q", size, got)
			}
			if got := keys(t, s, &connection.ListOptions{After: "d/0003", Limit: 2}); !slices.Equal(got, want[4:6]) {
				t.Errorf("got %q, want two after the fourth", got)
			}
		}
	}
}

func keys(t *testing.T, s *objectstore.Store, opts *connection.ListOptions) []string {
	t.Helper()
	var got []string
	for info, err := range s.List(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	return got
}

// badLister answers every page alike.
type badLister struct {
	*memory
	page objectstore.Page
}

func (b badLister) List(context.Context, *objectstore.ListRequest) (*objectstore.Page, error) {
	return &b.page, nil
}

func TestListOfABadServerEnds(t *testing.T) {
	for name, page := range map[string]objectstore.Page{
		"same token": {Token: "x"},
		"disorder":   {Entries: []connection.ObjectInfo{{Key: "b"}, {Key: "a"}}},
	} {
		var last error
		for _, err := range newStore(badLister{newMemory(), page}, nil).List(t.Context(), nil) {
			last = err
		}
		if !errors.Is(last, connection.ErrProtocol) {
			t.Errorf("%s: got %v, want ErrProtocol", name, last)
		}
	}
}

func TestDelete(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			var names []string
			for i := range 35 {
				names = append(names, fmt.Sprint("k", i))
				m.set(names[i], "x", nil)
			}
			var b objectstore.Backend = m
			m.fail("delete", network, fault{err: kind(connection.ErrLocked, "Held")}, throttled)
			if bulk {
				b = bulkMemory{m}
				m.fail("bulk", network)
			}
			err := newStore(b, nil).Delete(t.Context(), append(names, "missing", "../bad")...)
			var failed []string
			for e := range connection.Errors(err) {
				failed = append(failed, fmt.Sprint(e.Key, ": ", e.Kind, " ", e.Op))
			}
			if len(failed) != 2 || len(m.objects) != 1 {
				t.Fatalf("bulk %v: got failures %v and %d objects left, want the locked and the invalid", bulk, failed, len(m.objects))
			}
			for key := range m.objects {
				if want := key + ": " + connection.ErrLocked.Error() + " delete"; !slices.Contains(failed, want) {
					t.Errorf("got %v, want %q among them", failed, want)
				}
			}
		})
	}
}

func TestTuningValidate(t *testing.T) {
	for field, tuning := range map[string]objectstore.Tuning{
		"workers": {Workers: -1}, "max_attempts": {MaxAttempts: -1}, "max_elapsed": {MaxElapsed: -1}, "no_data_timeout": {NoDataTimeout: -1}, "single_put_limit": {SinglePutLimit: -1},
	} {
		if err := tuning.Validate(); err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("got %v, want an error that names %s", err, field)
		}
	}
	if err := new(objectstore.Tuning).Validate(); err != nil {
		t.Error(err)
	}
}
