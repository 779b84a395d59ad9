package autodiscover_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
)

// A crowd is a server that knows all mailboxes but nobody@, and answers requests for at most so many of them.
type crowd struct {
	t        *testing.T
	most     int
	status   int // of requests for more than one; 0 = 200
	requests []int
}

// crowded returns a Finder for whom only that server exists.
func (c *crowd) crowded(w *world) *autodiscover.Finder {
	return w.finder(func(o *autodiscover.Options) {
		do := o.Do
		o.Do = func(ctx context.Context, r *autodiscover.Request) (*autodiscover.Reply, error) {
			if r.URL.String() != svc("company.test") {
				return do(ctx, r)
			}
			return c.answer(r)
		}
	})
}

func (c *crowd) answer(r *autodiscover.Request) (*autodiscover.Reply, error) {
	users := strings.Split(string(r.Body), "<a:Mailbox>")[1:]
	w := len(users)
	c.requests = append(c.requests, w)
	reply := func(status int, body string) (*autodiscover.Reply, error) {
		return &autodiscover.Reply{Status: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}, nil
	}
	const head, tail = `<Envelope><Body><GetUserSettingsResponseMessage><Response>`, `</Response></GetUserSettingsResponseMessage></Body></Envelope>`
	switch {
	case w > 1 && c.status == http.StatusUnauthorized:
		return nil, &connection.Error{Kind: connection.ErrAuth, Err: errors.New("401")}
	case w > 1 && c.status != 0:
		return reply(c.status, "")
	case w > c.most:
		return reply(200, head+`<ErrorCode>InvalidRequest</ErrorCode><UserResponses/>`+tail)
	}
	var b strings.Builder
	for _, user := range users {
		name, _, _ := strings.Cut(user, "@")
		if name == "nobody" {
			b.WriteString(`<UserResponse><ErrorCode>InvalidUser</ErrorCode></UserResponse>`)
			continue
		}
		b.WriteString(`<UserResponse><ErrorCode>NoError</ErrorCode><UserSettings><UserSetting><Name>ExternalEwsUrl</Name><Value>https://` + name + `.company.test/EWS/Exchange.asmx</Value></UserSetting></UserSettings></UserResponse>`)
	}
	return reply(200, head+`<ErrorCode>NoError</ErrorCode><UserResponses>`+b.String()+`</UserResponses>`+tail)
}

// TestPrepare looks for 120 mailboxes and then finds each in the cache, as its own.
func TestPrepare(t *testing.T) {
	var names []string
	for i := range 120 {
		names = append(names, fmt.Sprintf("user%d@company.test", i))
	}
	names = append(names, "no address", "nobody@company.test")
	for name, tt := range map[string]struct {
		most, status int
		requests     string // of Prepare
		left         bool   // Find has to look for the mailboxes
	}{
		"as many as are asked for": {most: 1000, requests: "[1 50 50 20]"},
		"a few at a time":          {most: 30, requests: "[1 50 25 25 25 25 20]"},
		"one at a time":            {most: 1, requests: "[1 50 25 12 6 3]", left: true},
		"busy":                     {most: 1000, status: 503, requests: "[1 50]", left: true},
		"failing":                  {most: 1000, status: 500, requests: "[1 50 25 12 6 3]", left: true},
		"refused":                  {most: 1000, status: 401, requests: "[1 50]", left: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), &crowd{t: t, most: tt.most, status: tt.status}
			f := c.crowded(w)
			f.Prepare(t.Context(), names)
			if got := fmt.Sprint(c.requests); got != tt.requests {
				t.Errorf("asked for %s mailboxes at once, want %s", got, tt.requests)
			}
			c.requests = nil
			for i, address := range names[:120] {
				got, err := f.Find(t.Context(), address)
				if want := fmt.Sprintf("user%d.company.test", i); err != nil || got.URL.Hostname() != want {
					t.Fatalf("Find(%s): %v, %v", address, got, err)
				}
			}
			if left := len(c.requests) > 0; left != tt.left {
				t.Errorf("Find looked for mailboxes: %t, want %t", left, tt.left)
			}
			if _, err := f.Find(t.Context(), "nobody@company.test"); !errors.Is(err, connection.ErrNotFound) {
				t.Errorf("nobody: %v", err)
			}
			c.requests = nil
			f.Prepare(t.Context(), names[:120])
			if len(c.requests) != 0 {
				t.Errorf("asked again for what is in the cache: %d", c.requests)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := newWorld(t)
	w.finder().Prepare(ctx, names)
	if n := len(w.requests()); n != 0 {
		t.Errorf("%d requests with a context that has ended", n)
	}
}
