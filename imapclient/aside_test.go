package imapclient_test

import (
	"context"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// foldersServer has a message in each of its folders A, Bad, INBOX and Z, whose text is the folder's name.
func foldersServer(t *testing.T) *imaptest.Server {
	srv := imaptest.NewServer(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "A"}, {Name: "Bad"}, {Name: "Z"}}})
	for _, name := range []string{"A", "Bad", "INBOX", "Z"} {
		srv.DeliverTo(name, imaptest.Message{Raw: []byte(name)})
	}
	return srv
}

// A folder that cannot be read is reported, and does not keep the others from it, unless the settings name it and it
// was never there.
func TestFetchBadFolder(t *testing.T) {
	for _, test := range []struct {
		name, command, reply string
		folders              []string
		want                 []string
		kind                 connection.Kind
	}{
		{"not permitted", "EXAMINE Bad", "NO [NOPERM] not you", []string{"*"}, []string{"INBOX", "A", "Z"}, connection.ErrPermission},
		{"gone", "EXAMINE Bad", "NO no", []string{"*"}, []string{"INBOX", "A", "Z"}, connection.ErrNotFound},
		{"damaged", "EXAMINE Bad", "NO [SERVERBUG] internal error", []string{"*"}, []string{"INBOX", "A", "Z"}, connection.ErrUnavailable},
		{"in use", "EXAMINE Bad", "NO [INUSE] somebody has it", []string{"*"}, []string{"INBOX", "A", "Z"}, connection.ErrThrottled},
		{"named and damaged", "EXAMINE Bad", "NO [SERVERBUG] internal error", []string{"A", "Bad", "Z"}, []string{"A", "Z"}, connection.ErrUnavailable},
		{"named and not permitted", "EXAMINE Bad", "NO [NOPERM] not you", []string{"A", "Bad", "Z"}, []string{"A"}, connection.ErrPermission},
		{"named, and no more than opened", "UID SEARCH", "NO [CORRUPTION] not readable", []string{"Bad", "Z"}, []string{"Z"}, connection.ErrCorrupt},
		{"a matter of the account", "EXAMINE Bad", "NO [LIMIT] back-off time: 200000 milliseconds", []string{"*"}, []string{"INBOX", "A"}, connection.ErrThrottled},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := foldersServer(t)
			times := []int{}
			if test.command == "UID SEARCH" {
				times = append(times, 1)
			}
			srv.Fail(test.command, test.reply, times...)
			cfg := srv.Config()
			cfg.Folders = test.folders
			var got []string
			failed := 0
			for m, err := range open(t, cfg, srv.Env()).Fetch(t.Context(), nil) {
				if err == nil {
					got = append(got, m.Folder)
					continue
				}
				failed++
				if e := theError(t, err, test.kind); e.Ref != (connection.Ref{Folder: "Bad"}) && e.RetryAfter == 0 {
					t.Errorf("got %v, want an error of the folder", e)
				}
			}
			if failed != 1 || !slices.Equal(got, test.want) {
				t.Errorf("got %q and %d errors, want %q and one", got, failed, test.want)
			}
		})
	}
}

// Follow goes on with the other folders, tells of a bad one once, and takes a refusal without a reason for a passing one.
func TestFollowBadFolder(t *testing.T) {
	for _, test := range []struct {
		name, reply string
		times       int
		folders     []string
	}{
		{"damaged for ever", "NO [SERVERBUG] internal error", -1, []string{"Bad", "INBOX"}},
		{"removed", "NO [NONEXISTENT] no such folder", -1, []string{"Bad", "INBOX"}},
		{"not permitted", "NO [NOPERM] not you", -1, []string{"*"}},
		{"refused once without a reason", "NO cannot", 1, []string{"INBOX"}},
		{"refused some times without a reason", "NO cannot", 3, []string{"INBOX", "A"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := foldersServer(t)
			cfg := srv.Config()
			cfg.Folders = test.folders
			bad := test.folders[0]
			if bad == "*" {
				bad = "Bad"
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			failed, came := 0, 0
			for m, err := range open(t, cfg, srv.Env()).Fetch(ctx, &connection.FetchOptions{Follow: true}) {
				switch {
				case err != nil && ctx.Err() == nil:
					failed++
					if e := theError(t, err, connection.KindOf(err)); e.Ref != (connection.Ref{Folder: bad}) {
						t.Fatalf("got %v, want an error of the folder", e)
					}
				case err == nil && m.Folder == "INBOX":
					switch came++; came {
					case 1:
						srv.Fail("EXAMINE "+bad, test.reply, test.times)
						srv.Deliver([]byte("more"))
					case 2:
						srv.Deliver([]byte("and more"))
					case 3:
						cancel()
					}
				}
			}
			want := 0
			if test.times < 0 {
				want = 1
			}
			if came != 3 || failed != want {
				t.Errorf("got %d messages and %d errors, want 3 and %d", came, failed, want)
			}
		})
	}
}
