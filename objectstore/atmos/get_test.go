package atmos_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// E71, E72, E73 and E75.
func TestGet(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	put(t, c, "k", "0123456789", nil)
	put(t, c, "empty", "", nil)
	for _, tc := range []struct {
		key  string
		opts connection.GetOptions
		want string
	}{
		{"k", connection.GetOptions{Offset: 3, Length: 2}, "34"},
		{"k", connection.GetOptions{Offset: 9}, "9"},
		{"k", connection.GetOptions{Offset: 10}, ""},
		{"k", connection.GetOptions{Offset: 8, Length: 100}, "89"},
		{"empty", connection.GetOptions{}, ""},
		{"empty", connection.GetOptions{Offset: 5, Length: 1}, ""},
	} {
		if got, err := get(t, c, tc.key, &tc.opts); got != tc.want || err != nil {
			t.Errorf("%s %+v: got %q, %v; want %q", tc.key, tc.opts, got, err, tc.want)
		}
	}
	srv.Fail("ReadObject", 2, objecttest.CutReply(3))
	if got, err := get(t, c, "k", nil); got != "0123456789" || err != nil {
		t.Errorf("cut twice: got %q, %v", got, err)
	}
	srv.Damage("k")
	_, err := get(t, c, "k", nil)
	wantKind(t, "a bit that flipped at rest", err, connection.ErrCorrupt)
	srv.Fail("CreateObject", 1, objecttest.FlipRequest(5))
	_, err = c.Put(t.Context(), "k", strings.NewReader("0123456789"), nil)
	wantKind(t, "a bit that flips on the way in", err, connection.ErrCorrupt)
}

// E74: without conditions in the protocol the answer is compared.
func TestReplacedWhileRead(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	put(t, c, "k", strings.Repeat("old", 1000), nil)
	srv.Fail("ReadObject", 1, objecttest.CutReply(100))
	o, err := c.Get(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", strings.Repeat("new", 1000), nil)
	_, err = io.ReadAll(o.Body)
	wantKind(t, "read on", err, connection.ErrChanged)
	if err := o.Body.Close(); err != nil {
		t.Error(err)
	}
}

// E8, E19, E20, E21 and E25.
func TestList(t *testing.T) {
	srv := objecttest.NewAtmos(t, &objecttest.AtmosOptions{PageSize: 7, EmptyPages: true})
	c := open(t, srv, nil, nil)
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprintf("d%d/%02d", i%3, i), fmt.Sprintf("d%d-%d", i%3, i))
	}
	for _, key := range want {
		srv.Add(key, []byte(key))
	}
	srv.Add("foreign name~", []byte("x"))
	want = append(want, "foreign name")
	slices.Sort(want)
	if got := list(t, c, nil); !slices.Equal(got, want) {
		t.Errorf("got %d keys %q\nwant %d %q", len(got), got, len(want), want)
	}
	if got := list(t, c, &connection.ListOptions{Delimiter: "/", Prefix: "d1"}); len(got) != 21 || got[20] != "d1/" {
		t.Errorf("got %q", got)
	}
	srv.ForgetRequests()
	if got := list(t, c, &connection.ListOptions{Prefix: "d2/", After: "d2/30"}); len(got) != 10 {
		t.Errorf("got %q", got)
	}
	for _, r := range srv.Requests() {
		if r.Path != "/rest/namespace/archive/d2/" {
			t.Errorf("read %s for a prefix", r.Path)
		}
	}
}

// A folded directory is not read to its end.
func TestListSkipsWhatItFolds(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	for i := range 10 {
		srv.Add(fmt.Sprintf("big/%d/file", i), nil)
	}
	if got := list(t, c, &connection.ListOptions{Delimiter: "/"}); !slices.Equal(got, []string{"big/"}) {
		t.Errorf("got %q", got)
	}
	if n := len(srv.Requests()); n > 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestPresign(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	put(t, c, "Mails/a b", "content", nil)
	put(t, c, "Mails", "beside", nil)
	for key, want := range map[string]string{"Mails/a b": "content", "Mails": "beside"} {
		url, err := c.Presign(t.Context(), "GET", key, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, skew := range []time.Duration{0, 2 * time.Minute} {
			srv.Skew(skew)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url.Reveal(), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if wanted := skew == 0; (string(got) == want) != wanted || (resp.StatusCode == http.StatusOK) != wanted {
				t.Errorf("%s, %v later: got %d %q", key, skew, resp.StatusCode, got)
			}
		}
		srv.Skew(0)
	}
	_, err := c.Presign(t.Context(), "PUT", "k", time.Minute)
	wantKind(t, "PUT", err, connection.ErrUnsupported)
}

func TestETagOfPutIsThatOfStat(t *testing.T) {
	srv := objecttest.NewAtmos(t, nil)
	c := open(t, srv, nil, nil)
	info := put(t, c, "k", "content", &connection.PutOptions{Meta: map[string]string{"Size": "mine", "mtime": "ours"}})
	stat, err := c.Stat(t.Context(), "k")
	if err != nil || stat.ETag == "" || stat.ETag != info.ETag {
		t.Errorf("got %q and %q, %v", info.ETag, stat.ETag, err)
	}
	if stat.Meta["Size"] != "mine" || stat.Meta["mtime"] != "ours" || stat.Size != 7 {
		t.Errorf("got %+v: the server's names and ours are mixed", stat)
	}
	if _, err := hex.DecodeString(stat.SHA256); err != nil || len(stat.SHA256) != 64 {
		t.Errorf("got digest %q", stat.SHA256)
	}
}
