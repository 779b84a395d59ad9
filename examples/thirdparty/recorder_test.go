package recorder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"

	"example.com/recorder"
)

// stored returns all that vault holds, sorted.
func stored(t *testing.T, vault connection.ObjectStore) (all [][]byte) {
	t.Helper()
	for info, err := range vault.List(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		object, err := vault.Get(t.Context(), info.Key, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(object.Body)
		if err = errors.Join(err, object.Body.Close()); err != nil {
			t.Fatal(err)
		}
		all = append(all, raw)
	}
	slices.SortFunc(all, bytes.Compare)
	return all
}

func wantStored(t *testing.T, vault connection.ObjectStore, want [][]byte) {
	t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, bytes.Compare)
	if got := stored(t, vault); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("the vault holds %d messages, want %d, or they differ", len(got), len(want))
	}
}

func closing(t *testing.T, c connection.Connection) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// An IMAP server loses its connection in the middle of the work: nothing is lost, and nothing is left.
func TestRecordFromIMAP(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	var sent [][]byte
	for raw := range imaptest.SampleMessages(40, 1) {
		srv.Deliver(raw)
		sent = append(sent, raw)
	}
	config := srv.Config()
	config.DeleteMode = imapclient.DeleteExpunge
	src, err := imapclient.Open(config, &connection.Env{
		Dial: connectiontest.FaultyDial(nil, connectiontest.First(2, connectiontest.CutAfter(20_000))),
	})
	if err != nil {
		t.Fatal(err)
	}
	vault := connectiontest.NewObjectStore()
	stats, err := (&recorder.Recorder{Vault: vault}).Record(t.Context(), src)
	if err != nil {
		t.Fatalf("%v (%+v)", err, stats)
	}
	wantStored(t, vault, sent)
	if err := src.Close(); err != nil { // it expunges what is marked
		t.Error(err)
	}
	if left := srv.Messages(); len(left) > 0 {
		t.Errorf("%d messages are left on the server", len(left))
	}
}

// An Exchange server is busy now and then, and a notification goes out by SMTP.
func TestRecordFromExchangeAndNotify(t *testing.T) {
	exchange := ewstest.NewServer(t, nil)
	journal := exchange.AddMailbox("journal@corp.test", ewstest.MailboxOptions{Password: "correct horse"})
	var sent [][]byte
	for i := range 20 {
		raw := fmt.Appendf(nil, "Subject: message %d\r\n\r\nHello.\r\n", i)
		journal.Deliver("Inbox", raw)
		sent = append(sent, raw)
	}
	config := exchange.Config()
	config.DeleteMode = ews.DeleteHard
	src, err := ews.Open(config, exchange.Env())
	if err != nil {
		t.Fatal(err)
	}
	closing(t, src)

	post := smtptest.NewServer(t, nil)
	out, err := smtpclient.Open(post.Config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, out)

	vault := connectiontest.NewObjectStore()
	r := &recorder.Recorder{Vault: vault, Notify: out, From: out.From(), To: "auditor@example.org"}
	if stats, err := r.Record(t.Context(), src); err != nil {
		t.Fatalf("%v (%+v)", err, stats)
	}
	wantStored(t, vault, sent)
	mails := post.Messages()
	if len(mails) != 1 || !strings.Contains(string(mails[0].Raw), "20 stored, 20 deleted") || !slices.Contains(mails[0].To, "auditor@example.org") {
		t.Errorf("got the notifications %+v", mails)
	}
}

// Folders that are called alike: no message takes the place of another, which would be gone at the source by then.
func TestMessagesOfFoldersThatAreCalledAlike(t *testing.T) {
	src := alike{connectiontest.NewMailbox(), make(map[connection.Ref][]byte)}
	var sent [][]byte
	for i, ref := range []connection.Ref{
		{Folder: "a/b", ID: "1"}, {Folder: "a-b", ID: "1"}, {Folder: "a", ID: "b-1"}, {Folder: "a:b", ID: "1"}, {Mailbox: "a", Folder: "b", ID: "1"},
	} {
		raw := fmt.Appendf(nil, "Subject: message %d\r\n\r\n", i)
		src.messages[ref] = raw
		sent = append(sent, raw)
	}
	vault := connectiontest.NewObjectStore()
	if stats, err := (&recorder.Recorder{Vault: vault}).Record(t.Context(), src); err != nil || stats.Stored != int64(len(sent)) {
		t.Fatalf("%+v, error %v", stats, err)
	}
	wantStored(t, vault, sent)
}

// An alike is a source of the messages given.
type alike struct {
	*connectiontest.Mailbox
	messages map[connection.Ref][]byte
}

func (a alike) Fetch(context.Context, *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	return func(yield func(*connection.Message, error) bool) {
		for ref, raw := range a.messages {
			if !yield(&connection.Message{Ref: ref, Folder: ref.Folder, Size: int64(len(raw)), Body: bytes.NewReader(raw)}, nil) {
				return
			}
		}
	}
}

func (a alike) Delete(context.Context, ...connection.Ref) error { return nil }

// A vault that fails: nothing may leave the mailbox.
func TestNothingIsDeletedUnstored(t *testing.T) {
	src := connectiontest.NewMailbox([]byte("Subject: one\r\n\r\n"), []byte("Subject: two\r\n\r\n"))
	full := errors.New("the disk is full")
	r := &recorder.Recorder{Vault: failing{connectiontest.NewObjectStore(), &connection.Error{Kind: connection.ErrQuota, Err: full}}}
	if _, err := r.Record(t.Context(), src); !errors.Is(err, full) {
		t.Errorf("got error %v, want the vault's", err)
	}
	if left := src.Messages(); len(left) != 2 {
		t.Errorf("%d messages are left, want 2", len(left))
	}
}

// A failing store takes nothing.
type failing struct {
	connection.ObjectStore
	err error
}

func (f failing) Put(context.Context, string, io.Reader, *connection.PutOptions) (connection.ObjectInfo, error) {
	return connection.ObjectInfo{}, f.err
}
