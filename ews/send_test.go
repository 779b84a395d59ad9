package ews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// mailTo returns a message from alice with header fields of its own.
func mailTo(fields string) string {
	return "From: Alice <alice@corp.test>\r\n" + fields + "Subject: hello\r\nMessage-ID: <one@corp.test>\r\n\r\nHello.\r\n"
}

// send sends raw to the recipients.
func send(t testing.TB, c *ews.Conn, raw string, opts *connection.SendOptions, to ...string) (*connection.Receipt, error) {
	t.Helper()
	return c.Send(t.Context(), connection.Envelope{From: alice, To: to}, strings.NewReader(raw), opts)
}

func TestSend(t *testing.T) {
	r := newRig(t, nil)
	carol := r.AddMailbox("carol@corp.test", ewstest.MailboxOptions{})
	r.AddMailbox(bob, ewstest.MailboxOptions{})
	c := r.open(t)
	raw := mailTo("To: Bob <BOB@corp.test>\r\nCc: carol@corp.test\r\n")
	receipt, err := send(t, c, raw, &connection.SendOptions{Size: int64(len(raw))}, bob, "carol@corp.test")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(receipt.Accepted, []string{bob, "carol@corp.test"}) || len(receipt.Rejected)+len(receipt.Rewritten) > 0 || receipt.MessageID != "<one@corp.test>" || receipt.Reply == "" {
		t.Errorf("got receipt %+v", receipt)
	}
	sent := r.Sent()
	if len(sent) != 1 || string(sent[0].Raw) != raw || sent[0].Mailbox != alice || sent[0].Saved {
		t.Errorf("sent %+v, want it octet for octet", sent)
	}
	if got := r.Messages(carol.Address(), "Inbox"); len(got) != 1 || string(got[0].Raw) != raw {
		t.Errorf("carol has %+v", got)
	}
}

func TestSendSavesACopy(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.SaveSent = true
	if _, err := send(t, r.open(t), mailTo("To: bob@corp.test\r\n"), nil, bob); err != nil {
		t.Fatal(err)
	}
	if got := r.Messages(alice, "Sent Items"); len(got) != 1 || got[0].Draft || !got[0].Read {
		t.Errorf("Sent Items has %+v", got)
	}
}

// Recipients that the header does not name are added as Bcc, and nothing else is changed.
func TestSendAddsBcc(t *testing.T) {
	r := newRig(t, nil)
	auditor := r.AddMailbox("auditor@corp.test", ewstest.MailboxOptions{})
	receipt, err := send(t, r.open(t), mailTo("To: bob@corp.test\r\n"), nil, bob, "auditor@corp.test")
	if err != nil {
		t.Fatal(err)
	}
	if len(receipt.Rewritten) != 1 || !strings.Contains(receipt.Rewritten[0], "Bcc") {
		t.Errorf("got notes %q", receipt.Rewritten)
	}
	if got := string(r.Sent()[0].Raw); got != "Bcc: auditor@corp.test\r\n"+mailTo("To: bob@corp.test\r\n") {
		t.Errorf("sent %q", got)
	}
	if got := r.Messages(auditor.Address(), "Inbox"); len(got) != 1 || strings.Contains(string(got[0].Raw), "auditor") {
		t.Errorf("the auditor has %+v, want the message without its Bcc", got)
	}
}

// Recipients of the header that are not those of the envelope cannot be kept from getting the message: it is not sent.
func TestE55EnvelopeDiffers(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	for name, fields := range map[string]string{
		"another":               "To: eve@corp.test\r\n",
		"one more":              "To: bob@corp.test, Eve <eve@corp.test>\r\n",
		"one more in Bcc":       "To: bob@corp.test\r\nBcc: eve@corp.test\r\n",
		"folded":                "To: bob@corp.test,\r\n eve@corp.test\r\n",
		"behind a broken line":  "no field\r\nCc: eve@corp.test\r\n",
		"behind a bare CR":      "X: y\rCc: eve@corp.test\r\n",
		"a list that is broken": "To: 'eve@corp.test' <bob@corp.test>\r\n",
		"two Bcc":               "Bcc: bob@corp.test\r\nBcc: bob@corp.test\r\n",
	} {
		_, err := send(t, c, mailTo(fields), nil, bob)
		if e := theError(t, err, connection.ErrUnsupported); e.Op != "send" || !strings.Contains(e.Hint, "smtp") || strings.Contains(err.Error(), "eve@") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := r.Calls("CreateItem"); n > 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestSendNewMessageID(t *testing.T) {
	r := newRig(t, nil)
	receipt, err := send(t, r.open(t), mailTo("To: bob@corp.test\r\n"), &connection.SendOptions{NewMessageID: true}, bob)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^<[A-Z2-7]{26}@corp\.test>$`).MatchString(receipt.MessageID) || len(receipt.Rewritten) != 1 {
		t.Errorf("got receipt %+v", receipt)
	}
	want := strings.Replace(mailTo("To: bob@corp.test\r\n"), "Message-ID: ", "Message-ID: "+receipt.MessageID+"\r\nX-Original-Message-ID: ", 1)
	if got := string(r.Sent()[0].Raw); got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// Exchange drops what has an id that it holds in the same store; a new id is what helps.
func TestSendTwice(t *testing.T) {
	r := newRig(t, nil)
	r.AddMailbox(bob, ewstest.MailboxOptions{})
	c := r.open(t)
	for range 2 {
		if _, err := send(t, c, mailTo("To: bob@corp.test\r\n"), nil, bob); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.Messages(bob, "Inbox")); n != 1 {
		t.Fatalf("bob has %d messages of the same id", n)
	}
	if _, err := send(t, c, mailTo("To: bob@corp.test\r\n"), &connection.SendOptions{NewMessageID: true}, bob); err != nil {
		t.Fatal(err)
	}
	if n := len(r.Messages(bob, "Inbox")); n != 2 {
		t.Errorf("bob has %d messages", n)
	}
}

// A reply that is lost leaves it open whether the message is on its way, and it is not sent again.
func TestE37SendReplyLost(t *testing.T) {
	for name, fault := range map[string]ewstest.Fault{
		"connection closed":    ewstest.Lose(),
		"cut":                  ewstest.CutAfter(300),
		"reset":                ewstest.ResetAfter(10),
		"not to be read":       ewstest.Unclosed(),
		"internal error":       ewstest.Refuse("ErrorInternalServerError", "An internal server error occurred."),
		"internal, unknown":    ewstest.InnerError("ErrorWhoKnows"),
		"transient":            ewstest.Refuse("ErrorInternalServerTransientError", "Try later."),
		"failover":             ewstest.Refuse("ErrorMailboxFailover", "The mailbox was taken over by another server."),
		"connection failed":    ewstest.FailItem(0, "ErrorConnectionFailed"),
		"gateway":              ewstest.Page(524, "A timeout occurred."),
		"timeout":              ewstest.FailItem(0, "ErrorTimeoutExpired"),
		"fault without a code": ewstest.Refuse("", "Something went wrong."),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.Fail(ewstest.On("CreateItem"), fault)
			receipt, err := send(t, r.open(t), mailTo("To: bob@corp.test\r\n"), nil, bob)
			mustBe(t, err, connection.ErrUncertain)
			if receipt != nil || connection.Temporary(err) {
				t.Errorf("got receipt %+v, temporary %t", receipt, connection.Temporary(err))
			}
			if n := r.Calls("CreateItem"); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A refusal is no doubt: nothing was sent.
func TestSendRefused(t *testing.T) {
	for code, kind := range map[string]connection.Kind{
		"ErrorSendAsDenied":             connection.ErrPermission,
		"ErrorMissingRecipients":        connection.ErrRejected,
		"ErrorInvalidRecipients":        connection.ErrRejected,
		"ErrorMessageSizeExceeded":      connection.ErrTooLarge,
		"ErrorQuotaExceeded":            connection.ErrQuota,
		"ErrorSubmissionQuotaExceeded":  connection.ErrUnknown,
		"ErrorMessageDispositionSomeID": connection.ErrUnknown,
	} {
		r := newRig(t, nil)
		r.Fail(ewstest.On("CreateItem"), ewstest.FailItem(0, code))
		_, err := send(t, r.open(t), mailTo("To: bob@corp.test\r\n"), nil, bob)
		if e := theError(t, err, kind); e.Code != code || connection.Temporary(err) {
			t.Errorf("%s: got %v", code, err)
		}
		if n := r.Calls("CreateItem"); n != 1 {
			t.Errorf("%s: %d requests", code, n)
		}
	}
}

// The sender in the header needs the right Send As.
func TestSendAs(t *testing.T) {
	r := newRig(t, nil)
	raw := strings.Replace(mailTo("To: bob@corp.test\r\n"), "alice@corp.test", "boss@corp.test", 1)
	_, err := send(t, r.open(t), raw, nil, bob)
	if e := theError(t, err, connection.ErrPermission); e.Code != "ErrorSendAsDenied" || e.Hint == "" {
		t.Errorf("got %v", err)
	}
}

// With impersonation a mailbox of the settings sends as itself.
func TestSendImpersonated(t *testing.T) {
	r := newRig(t, nil).impersonating()
	r.cfg.Mailboxes = []string{alice}
	receipt, err := send(t, r.open(t), mailTo("To: bob@corp.test\r\n"), nil, bob)
	if err != nil {
		t.Fatal(err)
	}
	if sent := r.Sent(); len(sent) != 1 || sent[0].Mailbox != alice || sent[0].Account != svc || len(receipt.Accepted) != 1 {
		t.Errorf("sent %+v, receipt %+v", sent, receipt)
	}
}

func TestSendUnsupported(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	for name, opts := range map[string]*connection.SendOptions{"TLS": {RequireTLS: true}, "DSN": {DSN: &connection.DSN{Notify: []string{"FAILURE"}}}} {
		_, err := send(t, c, mailTo("To: bob@corp.test\r\n"), opts, bob)
		if e := theError(t, err, connection.ErrUnsupported); e.Hint == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := c.Send(t.Context(), connection.Envelope{From: "alice@corp.test>\r\nX: y", To: []string{bob}}, strings.NewReader(mailTo("")), nil)
	mustBe(t, err, connection.ErrInvalid)
	_, err = send(t, c, mailTo("To: bob@corp.test\r\n"), nil)
	mustBe(t, err, connection.ErrInvalid)
	_, err = send(t, c, strings.Repeat("X: y\r\n", 200_000)+"\r\n", nil, bob)
	mustBe(t, err, connection.ErrTooLarge)
	_, err = send(t, c, " folded\r\nX: y\r\n\r\n", nil, bob)
	mustBe(t, err, connection.ErrUnsupported)
	if n := r.Calls("CreateItem"); n > 0 {
		t.Errorf("%d requests were made", n)
	}
	receipt, err := c.Send(t.Context(), connection.Envelope{To: []string{bob}}, strings.NewReader(mailTo("To: bob@corp.test\r\n")), nil)
	if err != nil || len(receipt.Rewritten) != 1 {
		t.Errorf("null reverse-path: got receipt %+v, error %v", receipt, err)
	}
}

// A large message is sent as it is read, with an edited header in front of it; its octets are sent once.
func TestSendLarge(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 60_000)
	for name, read := range map[string]io.Reader{
		"in place": strings.NewReader(mailTo("To: bob@corp.test\r\n") + body),
		"spooled":  io.MultiReader(strings.NewReader(mailTo("To: bob@corp.test\r\n")), strings.NewReader(body)),
	} {
		_, err := c.Send(t.Context(), connection.Envelope{From: alice, To: []string{bob, "carol@corp.test"}}, read, nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := r.Sent()
		if want := "Bcc: carol@corp.test\r\n" + mailTo("To: bob@corp.test\r\n") + body; string(sent[len(sent)-1].Raw) != want {
			t.Errorf("%s: %d octets arrived, want %d as they were", name, len(sent[len(sent)-1].Raw), len(want))
		}
	}
	if n := r.UploadedBytes(); n > 3*int64(len(body)) {
		t.Errorf("%d octets were uploaded for two messages of %d", n, len(body))
	}
}

// Whatever happens to a Send whose context ends, a message that may be on its way is uncertain.
func TestSendEnds(t *testing.T) {
	r := newRig(t, nil)
	r.Fail(ewstest.On("CreateItem"), ewstest.StallAfter(0))
	c := r.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(t, "the request", func() bool { return r.Calls("CreateItem") > 0 })
		cancel()
	}()
	_, err := c.Send(ctx, connection.Envelope{From: alice, To: []string{bob}}, strings.NewReader(mailTo("To: bob@corp.test\r\n")), nil)
	mustBe(t, err, connection.ErrUncertain)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ctx.Err() in its chain", err)
	}
	_, err = c.Send(ctx, connection.Envelope{From: alice, To: []string{bob}}, strings.NewReader(mailTo("To: bob@corp.test\r\n")), nil)
	mustBe(t, err, connection.ErrCanceled)
}

// Several may send at once over one connection.
func TestSendConcurrent(t *testing.T) {
	r := newRig(t, nil)
	c := r.open(t)
	errs := make(chan error)
	const n = 12
	for i := range n {
		go func() {
			raw := strings.Replace(mailTo("To: bob@corp.test\r\n"), "one@", fmt.Sprint(i, "@"), 1)
			_, err := send(t, c, raw, nil, bob)
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	ids := map[string]bool{}
	for _, s := range r.Sent() {
		_, id, _ := bytes.Cut(s.Raw, []byte("Message-ID: "))
		id, _, _ = bytes.Cut(id, []byte("\r\n"))
		ids[string(id)] = true
	}
	if len(ids) != n || len(r.Sent()) != n {
		t.Errorf("%d messages were sent, %d different", len(r.Sent()), len(ids))
	}
}
