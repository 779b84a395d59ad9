package azureblob_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func keys(t testing.TB, c *azureblob.Conn, opts *connection.ListOptions) (all []string) {
	t.Helper()
	for info, err := range c.List(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

// E8: keys that our rules forbid, put there by others, are listed as they are.
func TestForeignKeys(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{PageSize: 2})
	foreign := []string{"/lead", "a//b", "a/../b", "back\\slash", "bell\x07", "line\nbreak", "per%41cent", "plus+", "tab\t", "trail/", "ü€😀", "\x01", "\ufffe"}
	slices.Sort(foreign)
	for _, key := range foreign {
		srv.Add(key, []byte(key))
	}
	c := openWith(t, srv, nil, nil)
	if got := keys(t, c, nil); !slices.Equal(got, foreign) {
		t.Errorf("list gives\n%q, want\n%q", got, foreign)
	}
}

// Accounts with a hierarchical namespace list their folders as if they were objects of no octets.
func TestFoldersAreNoObjects(t *testing.T) {
	srv := newFake(t, nil)
	srv.AddFolder("folder")
	srv.Add("folder/key", nil)
	c := openWith(t, srv, nil, nil)
	if got := keys(t, c, nil); !slices.Equal(got, []string{"folder/key"}) {
		t.Errorf("list gives %q", got)
	}
	for one, err := range c.Incomplete(t.Context()) {
		t.Errorf("incomplete gives %+v, error %v", one, err)
	}
}

// A delimiter of several characters is cut at on our side: Azurite and others know but one.
func TestLongDelimiter(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{PageSize: 2})
	for _, key := range []string{"a", "a--b", "a--c", "a-d", "b--c--d", "e"} {
		srv.Add(key, nil)
	}
	c := openWith(t, srv, nil, nil)
	if got, want := keys(t, c, &connection.ListOptions{Delimiter: "--"}), []string{"a", "a--", "a-d", "b--", "e"}; !slices.Equal(got, want) {
		t.Errorf("list gives %q, want %q", got, want)
	}
	for _, r := range srv.Requests("ListBlobs") {
		if r.Query.Has("delimiter") {
			t.Errorf("asked with %v", r.Query)
		}
	}
}

// What a listing tells of an object is what Stat tells.
func TestListTellsWhatStatTells(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	put(t, c, "key", "text", &connection.PutOptions{ContentType: "message/rfc822", Meta: map[string]string{"Subject": "Grüße"}, Class: "Cool"})
	want, err := c.Stat(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	for got, err := range c.List(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("list tells\n%+v, stat\n%+v", got, want)
		}
	}
}

// E78: names are identifiers of C# on the wire, values printable ASCII; what comes back is what was put.
func TestMetadata(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.SinglePutLimit, cfg.PartSize = 10, 10 }, nil)
	meta := map[string]string{
		"subject": "plain", "Subject": "another", "SUBJECT": "a third", "message-id": "<a@b>", "x.y": "dot", "under_score": "1", "_41": "looks encoded",
		"1st": "digit first", "9": "9", "mailconn_sha256": "not ours", "umlaut": "Grüße 😀", "empty": "", "space": " around ", "spaces": "a  b",
		"word": "=?utf-8?q?x?=", "quote": `"a\b"`, "comma": "a, b",
	}
	for key, text := range map[string]string{"one request": "text", "parts": "more than one part holds"} {
		put(t, c, key, text, &connection.PutOptions{Meta: meta, ContentType: "message/rfc822; charset=utf-8"})
		info, err := c.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(info.Meta, meta) {
			t.Errorf("%s: stat gives\n%q, want\n%q", key, info.Meta, meta)
		}
		if info.ContentType != "message/rfc822; charset=utf-8" || len(info.SHA256) != 64 {
			t.Errorf("%s: content type %q, sha256 %q", key, info.ContentType, info.SHA256)
		}
		holds(t, c, key, text)
	}
	_, err := c.Put(t.Context(), "key", strings.NewReader(""), &connection.PutOptions{ContentType: "text/plän"})
	wants(t, "put of a content type that no header holds", err, connection.ErrInvalid)
}

// Metadata that others have written comes back as it is, in lower case as HTTP leaves it.
func TestForeignMetadata(t *testing.T) {
	srv := newFake(t, nil)
	srv.AddMeta("key", []byte("text"), map[string]string{"foo_bar": "1", "a_2": "2", "b_zz": "3", "c_61": "4", "plain": "=?utf-8?b?%%%?="})
	c := openWith(t, srv, nil, nil)
	want := map[string]string{"foo_bar": "1", "a_2": "2", "b_zz": "3", "c_61": "4", "plain": "=?utf-8?b?%%%?="}
	if info, err := c.Stat(t.Context(), "key"); err != nil || !maps.Equal(info.Meta, want) {
		t.Errorf("stat gives %q, error %v; want %q", info.Meta, err, want)
	}
	holds(t, c, "key", "text")
}

// The service's digest of the content is there for other programs, also of an object that came in parts; and everything
// is written under the encryption scope of the settings.
func TestWhatIsWritten(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) {
		cfg.SinglePutLimit, cfg.PartSize, cfg.EncryptionScope = 10, 10, "archive-scope"
	}, nil)
	put(t, c, "one", "text", nil)
	put(t, c, "parts", "more than one part holds", nil)
	if _, err := c.Copy(t.Context(), "copy", "parts", nil); err != nil {
		t.Fatal(err)
	}
	holds(t, c, "copy", "more than one part holds")
	for _, op := range []string{"PutBlob", "PutBlock", "PutBlockFromURL", "PutBlockList"} {
		all := srv.Requests(op)
		if len(all) == 0 {
			t.Errorf("no request %s in %v", op, srv.Ops())
		}
		for _, r := range all {
			if got := r.Header.Get("X-Ms-Encryption-Scope"); got != "archive-scope" {
				t.Errorf("%s is sent with the encryption scope %q", op, got)
			}
			if op == "PutBlockList" && r.Header.Get("X-Ms-Blob-Content-Md5") == "" || (op == "PutBlob" || op == "PutBlock") && r.Header.Get("Content-Md5") == "" {
				t.Errorf("%s is sent without a digest", op)
			}
		}
	}
}
