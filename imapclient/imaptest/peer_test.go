package imaptest_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// goLogin connects with go-imap, as an independent reader of what the server says.
func goLogin(t testing.TB, srv *imaptest.Server, handler *goclient.UnilateralDataHandler) *goclient.Client {
	t.Helper()
	cfg := srv.Config()
	opts := &goclient.Options{UnilateralDataHandler: handler}
	dial := goclient.DialInsecure
	if cfg.Mode != connection.ModeInsecure {
		opts.TLSConfig = clientTLS(t, cfg)
		dial = goclient.DialTLS
	}
	if cfg.Mode == connection.ModeSTARTTLS {
		dial = goclient.DialStartTLS
	}
	c, err := dial(cfg.Server, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it may have logged out
	if err := c.Login(cfg.Username, cfg.Password.Reveal()).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGoIMAP(t *testing.T) {
	for _, mode := range []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeInsecure} {
		t.Run(string(mode), func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Mode: mode, Folders: []imaptest.Folder{{Name: "Papierkörbe", Attributes: []string{`\Trash`}}}})
			raws := slices.Collect(imaptest.SampleMessages(60, 3))
			srv.Deliver(raws...)
			c := goLogin(t, srv, nil)

			selected, err := c.Select("INBOX", nil).Wait()
			if err != nil {
				t.Fatal(err)
			}
			if selected.NumMessages != 60 || selected.UIDNext != 61 || selected.UIDValidity != srv.UIDValidity("INBOX") {
				t.Errorf("SELECT: got %+v", selected)
			}
			goFetch(t, c, raws)
			goFolders(t, c)
			goChanges(t, c, srv)
			if err := c.Logout().Wait(); err != nil {
				t.Errorf("LOGOUT: %v", err)
			}
		})
	}
}

func goFetch(t *testing.T, c *goclient.Client, raws [][]byte) {
	t.Helper()
	section := &goimap.FetchItemBodySection{Peek: true}
	all := goimap.UIDSet{{Start: 1, Stop: 0}}
	messages, err := c.Fetch(all, &goimap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true, BodySection: []*goimap.FetchItemBodySection{section},
	}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for i, raw := range raws {
		m := messages[i]
		if got := m.FindBodySection(section); !bytes.Equal(got, raw) || m.UID != goimap.UID(i+1) || m.RFC822Size != int64(len(raw)) || len(m.Flags) != 0 || m.InternalDate.IsZero() {
			t.Fatalf("message %d is not what was delivered", i+1)
		}
		if m.Envelope == nil || m.Envelope.MessageID == "" && bytes.Contains(raw, []byte("\nMessage-ID:")) {
			t.Errorf("message %d: got envelope %+v", i+1, m.Envelope)
		}
	}
	found, err := c.UIDSearch(&goimap.SearchCriteria{
		NotFlag: []goimap.Flag{goimap.FlagSeen}, UID: []goimap.UIDSet{{{Start: 10, Stop: 20}}}, Since: time.Now().AddDate(0, 0, -2),
	}, nil).Wait()
	if err != nil || len(found.AllUIDs()) != 11 {
		t.Errorf("UID SEARCH: got %v, %v, want 11 UIDs", found, err)
	}
}

func goFolders(t *testing.T, c *goclient.Client) {
	t.Helper()
	folders, err := c.List("", "*", &goimap.ListOptions{ReturnSpecialUse: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range folders {
		got = append(got, fmt.Sprint(f.Mailbox, string(f.Delim), slices.Contains(f.Attrs, goimap.MailboxAttrTrash)))
	}
	if want := []string{"INBOX/false", "Papierkörbe/true"}; !slices.Equal(got, want) {
		t.Errorf("LIST: got %q, want %q", got, want)
	}
	if err := c.Create("Neu & schön", nil).Wait(); err != nil {
		t.Errorf("CREATE: %v", err)
	}
	status, err := c.Status("Neu & schön", &goimap.StatusOptions{NumMessages: true, UIDNext: true}).Wait()
	if err != nil || *status.NumMessages != 0 || status.UIDNext != 1 {
		t.Errorf("STATUS: got %+v, %v", status, err)
	}
	if _, err := c.Namespace().Wait(); err != nil {
		t.Errorf("NAMESPACE: %v", err)
	}
	if _, err := c.ID(&goimap.IDData{Name: "test"}).Wait(); err != nil {
		t.Errorf("ID: %v", err)
	}
}

func goChanges(t *testing.T, c *goclient.Client, srv *imaptest.Server) {
	t.Helper()
	const raw = "appended, with a NUL \x00 and no line end"
	cmd := c.Append("Neu & schön", int64(len(raw)), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagDraft}, Time: time.Unix(1e9, 0)})
	if _, err := io.WriteString(cmd, raw); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	appended, err := cmd.Wait()
	if err != nil || appended.UID != 1 || appended.UIDValidity != srv.UIDValidity("Neu & schön") {
		t.Errorf("APPEND: got %+v, %v", appended, err)
	}
	if got := srv.MessagesIn("Neu & schön"); len(got) != 1 || string(got[0].Raw) != raw || !got[0].Received.Equal(time.Unix(1e9, 0)) {
		t.Errorf("APPEND: got %+v", got)
	}
	three := goimap.UIDSetNum(1, 2, 3)
	if err := c.Store(three, &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close(); err != nil {
		t.Errorf("UID STORE: %v", err)
	}
	if gone, err := c.UIDExpunge(goimap.UIDSetNum(1, 2)).Collect(); err != nil || len(gone) != 2 {
		t.Errorf("UID EXPUNGE: got %v, %v", gone, err)
	}
	copied, err := c.Copy(goimap.UIDSetNum(10, 11), "Papierkörbe").Wait()
	if err != nil || copied.DestUIDs.String() != "1:2" {
		t.Errorf("UID COPY: got %+v, %v", copied, err)
	}
	moved, err := c.Move(goimap.UIDSetNum(12), "Papierkörbe").Wait()
	if err != nil || fmt.Sprint(moved.DestUIDs) != "3" {
		t.Errorf("UID MOVE: got %+v, %v", moved, err)
	}
	if in, trash := len(srv.Messages()), len(srv.MessagesIn("Papierkörbe")); in != 57 || trash != 3 {
		t.Errorf("got %d messages in INBOX and %d in the trash, want 57 and 3", in, trash)
	}
	if err := c.Unselect().Wait(); err != nil {
		t.Errorf("UNSELECT: %v", err)
	}
}

func TestGoIMAPIdle(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	exists := make(chan uint32, 10)
	c := goLogin(t, srv, &goclient.UnilateralDataHandler{Mailbox: func(data *goclient.UnilateralDataMailbox) {
		if data.NumMessages != nil {
			exists <- *data.NumMessages
		}
	}})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	srv.Deliver([]byte(small))
	select {
	case n := <-exists:
		if n != 1 {
			t.Errorf("got EXISTS %d, want 1", n)
		}
	case <-time.After(patience):
		t.Error("IDLE told nothing")
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
	if err := idle.Wait(); err != nil {
		t.Error(err)
	}
}

// fill returns a server with n messages of about 4 KB and their octets in all.
func fill(t testing.TB, mode connection.Mode, n int) (*imaptest.Server, int64) {
	t.Helper()
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: mode})
	var total int64
	for raw := range imaptest.SampleMessages(n, 1) {
		srv.Deliver(raw)
		total += int64(len(raw))
	}
	return srv, total
}

// TestIsNoBottleneck reads 20,000 messages and deletes them in batches, in a time that only something quadratic or an
// octet at a time would exceed.
func TestIsNoBottleneck(t *testing.T) {
	const n, batch, allowed = 20_000, 50, 30 * time.Second
	raw := []byte(strings.Repeat(strings.Repeat("x", 998)+"\r\n", 4))
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	for range n {
		srv.Deliver(raw)
	}
	total := int64(n * len(raw))
	p := login(t, srv)
	p.ok("SELECT INBOX")
	start := time.Now()
	if err := p.conn.SetDeadline(start.Add(allowed)); err != nil {
		t.Fatal(err)
	}
	var got int64
	for first := 1; first <= n; first += batch {
		got += readAll(p, fmt.Sprintf("UID FETCH %d:%d (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])", first, first+batch-1))
		p.ok(fmt.Sprintf(`UID STORE %d:%d +FLAGS.SILENT (\Deleted)`, first, first+batch-1))
		if first%(10*batch) == 1 {
			p.ok(fmt.Sprintf("UID EXPUNGE 1:%d", first+batch-1))
		}
	}
	t.Logf("%d messages, %d octets: %v", n, got, time.Since(start))
	if got < total {
		t.Errorf("got %d octets, want at least the %d of the messages", got, total)
	}
	if left := len(srv.Messages()); left != 9*batch {
		t.Errorf("%d messages are left, want %d", left, 9*batch)
	}
}

// readAll sends a command and counts the octets up to its tagged reply, without looking at bodies.
func readAll(p *peer, command string) int64 {
	p.t.Helper()
	p.tag++
	tag := fmt.Sprintf("a%d", p.tag)
	p.send(tag + " " + command + "\r\n")
	end := []byte(tag + " OK")
	var n int64
	for {
		line, err := p.r.ReadSlice('\n')
		n += int64(len(line))
		if err != nil {
			if len(line) > 0 && len(line) == p.r.Size() {
				continue // a line longer than the buffer
			}
			p.t.Fatal(err)
		}
		if bytes.HasPrefix(line, end) {
			return n
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	const n = 20_000
	for _, mode := range []connection.Mode{connection.ModeInsecure, connection.ModeTLS} {
		b.Run(string(mode), func(b *testing.B) {
			srv, total := fill(b, mode, n)
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				p := login(b, srv)
				p.ok("EXAMINE INBOX")
				readAll(p, "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
			}
		})
	}
}
