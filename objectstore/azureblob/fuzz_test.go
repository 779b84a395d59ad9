package azureblob

import (
	"regexp"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// What is kept with an object comes back as it was, although HTTP changes the case of names.
func FuzzMetadata(f *testing.F) {
	for _, seed := range [][2]string{{"Subject", "Grüße"}, {"_41", "=?utf-8?b?eA==?="}, {"9.x-y", " a  b "}, {"mailconn_sha256", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if objectstore.CheckMeta(map[string]string{name: value}) != nil {
			t.Skip("not what may be put")
		}
		stored := metadata(map[string]string{name: value}, strings.Repeat("0", 64))
		if len(stored) != 2 {
			t.Fatalf("stored as %v", stored)
		}
		shouted := make(map[string]*string)
		for n, v := range stored {
			if !identifier.MatchString(n) {
				t.Errorf("%q is stored under %q, which is no identifier", name, n)
			}
			if strings.TrimSpace(*v) != *v || *v == "" || strings.ContainsFunc(*v, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q is stored as %q, which is not for a header", value, *v)
			}
			shouted[strings.ToUpper(n)] = v
		}
		var info connection.ObjectInfo
		setMeta(&info, shouted)
		if got, ok := info.Meta[name]; !ok || got != value || len(info.Meta) != 1 || len(info.SHA256) != 64 {
			t.Errorf("%q: %q comes back as %q", name, value, info.Meta)
		}
	})
}

// Names that others have given are not read as what they are not: what decodes encodes to the same.
func FuzzForeignName(f *testing.F) {
	for _, seed := range []string{"foo_bar", "a_2db", "_", "_5f", "__5f", "_30", "a_61", "_ff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		stored = strings.ToLower(stored)
		if name := decodeName(stored); name != stored && encodeName(name) != stored {
			t.Errorf("%q is read as %q, which is written as %q", stored, name, encodeName(name))
		}
	})
}

func FuzzLocation(f *testing.F) {
	for _, seed := range []string{"", "azureblob", "https://user:hunter2@host/?sig=hunter2", "http://[::1]:10000/acct/mail", "blob.core.windows.net", "acct.dfs.core.windows.net", "https://%zz", "//x", "?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, location string) {
		cfg := Config{Settings: objectstore.Settings{Identity: "acct", Location: location, Bucket: "mail"}}
		e, err := cfg.endpoint()
		if err != nil {
			return
		}
		if u := e.base; u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/acct" {
			t.Errorf("%q is understood as %q", location, u)
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 5-9/20", "bytes 0-0/*", "bytes */5", "bytes 9-5/2", "", "bytes -1-2/3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		offset, size, err := parseRange(text)
		if err == nil && (offset < 0 || size < -1 || size >= 0 && size < offset) {
			t.Errorf("%q is read as %d of %d", text, offset, size)
		}
	})
}
