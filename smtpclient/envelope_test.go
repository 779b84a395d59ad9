package smtpclient_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// Edge cases 20 and 21: addresses.
func TestAddresses(t *testing.T) {
	srv, cfg := plainServer(t, nil)
	c := open(t, cfg, nil)
	for _, good := range []string{bob, `"a b"@example.org`, `"a\"<b>"@example.org`, "a+b=c@example.org", "a..b.@docomo.example", "x@[192.0.2.1]", "x@[IPv6:2001:db8::1]", "postmaster", "jörg@example.org", "x@exämple.org"} {
		if _, err := send(t, c, connection.Envelope{From: ann, To: []string{good}}, letter); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	before := len(srv.Messages())
	for _, bad := range []string{
		"", "bob", "@example.org", "bob@", "bob@example.org\r\nDATA", "bob@exa mple.org", "b ob@example.org", "<bob@example.org>", "bob@example.org>", "bob@example.org> NOTIFY=NEVER",
		`"bob@example.org`, `"a"b"@example.org`, `"a\"@example.org`, "a\x00b@example.org", "a@b\x7f.org", "a@[1.2.3.4", "a@[]", "a,b@example.org", "a@b@example.org,", "bob@example.org\xff", "<>", strings.Repeat("x", 600) + "@example.org",
	} {
		_, err := send(t, c, connection.Envelope{From: ann, To: []string{bob, bad}}, letter)
		if err == nil {
			t.Errorf("recipient %q was taken", bad)
			continue
		}
		_ = wantKind(t, err, connection.ErrInvalid)
	}
	if got := len(srv.Messages()); got != before {
		t.Errorf("%d messages arrived, want %d", got, before)
	}
	for _, null := range []string{"", "<>"} {
		mustSend(t, c, connection.Envelope{From: null, To: []string{bob}}, letter)
	}
	all := srv.Messages()
	if all[before].From != "" || all[before+1].From != "" || srv.Commands("MAIL FROM:<> ")[0].Args == "" {
		t.Errorf("got %+v", all[before:])
	}
	cfg.FromAddress = "<>"
	if from := open(t, cfg, nil).From(); from != "" {
		t.Errorf("From: got %q", from)
	}
}

// Edge case 17: SMTPUTF8.
func TestSMTPUTF8(t *testing.T) {
	srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = []string{"SMTPUTF8"} })
	_, err := send(t, open(t, cfg, nil), connection.Envelope{From: ann, To: []string{"jörg@example.org"}}, letter)
	_ = wantKind(t, err, connection.ErrUnsupported, "SMTPUTF8")
	if got := srv.Commands("MAIL"); len(got) > 0 {
		t.Errorf("got %v, want no MAIL", got)
	}
	srv, cfg = plainServer(t, nil)
	mustSend(t, open(t, cfg, nil), connection.Envelope{From: ann, To: []string{"jörg@example.org"}}, letter)
	if _, ok := srv.Messages()[0].Params["SMTPUTF8"]; !ok {
		t.Error("MAIL has no SMTPUTF8")
	}
}

func TestDeliveryReports(t *testing.T) {
	srv, cfg := plainServer(t, nil)
	cfg.DSN = &connection.DSN{Notify: []string{"NEVER"}}
	c := open(t, cfg, nil)
	mustSend(t, c, toBob, letter)
	_, err := c.Send(t.Context(), toBob, strings.NewReader(letter), &connection.SendOptions{DSN: &connection.DSN{Notify: []string{"success", "DELAY"}, Return: "hdrs", ID: "a+b=c d"}})
	if err != nil {
		t.Fatal(err)
	}
	got := srv.Messages()
	if got[0].RcptParams[0]["NOTIFY"] != "NEVER" || got[1].RcptParams[0]["NOTIFY"] != "SUCCESS,DELAY" || got[1].RcptParams[0]["ORCPT"] != "rfc822;bob@example.org" ||
		got[1].Params["RET"] != "HDRS" || got[1].Params["ENVID"] != "a+2Bb+3Dc+20d" {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []connection.DSN{{ID: "a\r\nb"}, {Return: "ALL"}, {Notify: []string{"DELAY", "delay"}}} {
		_, err := c.Send(t.Context(), toBob, strings.NewReader(letter), &connection.SendOptions{DSN: &bad})
		_ = wantKind(t, err, connection.ErrInvalid)
	}
	_, cfg = plainServer(t, func(o *smtptest.Options) { o.Without = []string{"DSN"} })
	cfg.DSN = &connection.DSN{Return: "FULL"}
	_, err = send(t, open(t, cfg, nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrUnsupported, "dsn")
}

func TestRequireTLS(t *testing.T) {
	srv := smtptest.NewServer(t, nil)
	o := &connection.SendOptions{RequireTLS: true}
	if _, err := open(t, srv.Config(), nil).Send(t.Context(), toBob, strings.NewReader(letter), o); err != nil {
		t.Fatal(err)
	}
	if _, ok := srv.Messages()[0].Params["REQUIRETLS"]; !ok {
		t.Error("MAIL has no REQUIRETLS")
	}
	cfg := srv.Config()
	cfg.AcceptAnyCertificate, cfg.CAPEM = true, ""
	_, err := open(t, cfg, nil).Send(t.Context(), toBob, strings.NewReader(letter), o)
	_ = wantKind(t, err, connection.ErrUnsupported, "REQUIRETLS")
	_, cfg = plainServer(t, func(o *smtptest.Options) { o.Advertise = []string{"REQUIRETLS"} })
	_, err = open(t, cfg, nil).Send(t.Context(), toBob, strings.NewReader(letter), o)
	_ = wantKind(t, err, connection.ErrUnsupported, "REQUIRETLS")
}

// Edge case 25: LMTP says for each recipient what became of the message.
func TestLMTP(t *testing.T) {
	dave := "dave@example.org"
	for name, without := range map[string][]string{"BDAT": nil, "DATA": {"CHUNKING", "BINARYMIME"}} {
		t.Run(name, func(t *testing.T) {
			srv, cfg := plainServer(t, func(o *smtptest.Options) { o.LMTP, o.Without = true, without })
			c := open(t, cfg, nil)
			srv.Fail("END "+carol, "552 5.2.2 mailbox full", 1)
			r := mustSend(t, c, connection.Envelope{From: ann, To: []string{bob, carol, dave}}, letter)
			if !slices.Equal(r.Accepted, []string{bob, dave}) || len(r.Rejected) != 1 || r.Rejected[0].Address != carol || connection.KindOf(r.Rejected[0].Err) != connection.ErrQuota {
				t.Errorf("got receipt %+v", r)
			}
			srv.Fail("END", "450 4.2.0 busy", 2)
			_, err := send(t, c, toBoth, letter)
			if _ = wantKind(t, err, connection.ErrUnavailable); !connection.Temporary(err) {
				t.Errorf("got %v, want it to be temporary", err)
			}
			srv.LoseReply("END "+carol, 1)
			r, err = send(t, c, toBoth, letter)
			_ = wantKind(t, err, connection.ErrUncertain, carol)
			if r == nil || len(r.Accepted) > 1 {
				t.Errorf("got receipt %+v, want bob at most", r)
			}
			mustSend(t, c, connection.Envelope{From: ann, To: []string{"a-mailbox"}}, letter)
			if got := srv.Messages(); len(got) != 3 || got[0].Raw == nil {
				t.Errorf("%d messages arrived, want 3", len(got))
			}
		})
	}
	srv := smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeInsecure})
	cfg := srv.Config()
	cfg.LMTP = true
	_, err := open(t, cfg, nil).Test(t.Context(), nil)
	_ = wantKind(t, err, connection.ErrProtocol, "lmtp: ")
	if smtpclient.DriverName != "smtp" {
		t.Error("the name in settings has changed")
	}
}
