package imapclient_test

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// TestBrands reads INBOX of well-known servers, whose transcripts say what is odd about them.
func TestBrands(t *testing.T) {
	const one, two = "Subject: one\r\n\r\nfirst body\r\n", "Subject: two\r\n\r\nsecond body\r\n"
	id := func(c *imapclient.Config) { c.SendID = imapclient.IDBeforeLogin }
	for _, test := range []struct {
		file string
		cfg  func(*imapclient.Config)
		want []string
		ids  []string
	}{
		{"microsoft365.txt", nil, []string{one, two}, []string{"14:70", "14:76"}},
		{"gmail.txt", nil, []string{one, two}, []string{"1:3", "1:8"}},
		{"icloud.txt", nil, []string{one, two}, []string{"1431234567:3", "1431234567:8"}},
		{"dovecot.txt", nil, []string{two}, []string{"1752480000:2"}},
		{"courier.txt", nil, []string{one, two}, []string{"1200000000:3", "1200000000:8"}},
		{"netease.txt", nil, []string{one, two}, []string{"1:3", "1:8"}},
		{"netease.txt", id, []string{one, two}, []string{"1:3", "1:8"}},
	} {
		t.Run(test.file, func(t *testing.T) {
			srv := imaptest.Replay(t, nil, os.DirFS("imaptest/testdata/brands"), test.file)
			cfg := srv.Config()
			if test.cfg != nil {
				test.cfg(&cfg)
			}
			all := collect(t, open(t, cfg, srv.Env()), nil)
			slices.SortFunc(all, func(a, b fetched) int { return a.Message.Received.Compare(b.Message.Received) })
			if got := bodies(t, all); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			var ids []string
			for _, f := range all {
				ids = append(ids, f.Ref.ID)
			}
			if !slices.Equal(ids, test.ids) {
				t.Errorf("got the ids %q, want %q", ids, test.ids)
			}
		})
	}
}

// TestBrandsRefuse: what these servers say instead of serving is classified, with the wait that they ask for.
func TestBrandsRefuse(t *testing.T) {
	for _, test := range []struct {
		file  string
		cfg   func(*imapclient.Config)
		kind  connection.Kind
		after time.Duration
	}{
		{"microsoft365-throttled.txt", nil, connection.ErrThrottled, 12345 * time.Millisecond},
		{"microsoft365-not-connected.txt", nil, connection.ErrThrottled, 0},
		{"gmail-bandwidth.txt", nil, connection.ErrThrottled, 0},
		{"netease-unsafe.txt", func(c *imapclient.Config) { c.SendID = imapclient.IDOff }, connection.ErrNotFound, 0},
	} {
		t.Run(test.file, func(t *testing.T) {
			srv := imaptest.Replay(t, nil, os.DirFS("imaptest/testdata/brands"), test.file)
			cfg := srv.Config()
			if test.cfg != nil {
				test.cfg(&cfg)
			}
			_, err := open(t, cfg, srv.Env()).Test(t.Context(), nil) // which tries once
			if !errors.Is(err, test.kind) || connection.RetryAfter(err) != test.after {
				t.Errorf("got %v with a wait of %s, want %v and %s", err, connection.RetryAfter(err), test.kind, test.after)
			}
		})
	}
}
