package gmail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const letterHead = "From: Ann <ann@corp.example>\r\nTo: \"Doe, Bob\" <Bob@Corp.Example>,\r\n carl@out.example\r\nCc: =?utf-8?q?D=C3=B6rte?= <dora@out.example>\r\nMessage-ID: <1@corp.example>\r\nSubject: lunch\r\n"

const letterBody = "\r\nAt noon?\r\n"

func envelope() connection.Envelope {
	return connection.Envelope{From: "ann@corp.example", To: []string{"bob@corp.example", "dora@out.example", "carl@out.example"}}
}

func TestSend(t *testing.T) {
	for _, form := range []string{gmail.UploadJSON, gmail.UploadMedia} {
		for _, size := range []int{0, 6 << 20} {
			t.Run(fmt.Sprintf("%s, %d", form, size), func(t *testing.T) {
				changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Upload = form }, func(t *testing.T, r *changeRig) {
					raw := letterHead + letterBody + strings.Repeat("x", size)
					receipt, err := r.conn.Send(t.Context(), envelope(), io.MultiReader(strings.NewReader(raw)), &connection.SendOptions{Size: int64(len(raw))})
					if err != nil {
						t.Fatal(err)
					}
					if receipt.MessageID != "<1@corp.example>" || !slices.Equal(receipt.Accepted, envelope().To) || len(receipt.Rewritten)+len(receipt.Rejected) > 0 || receipt.Reply == "" {
						t.Errorf("got %+v", receipt)
					}
					sent := r.Sent()
					if len(sent) != 1 || string(sent[0].Raw) != raw || sent[0].From != "ann@corp.example" || len(sent[0].To) != 3 {
						t.Errorf("%d messages were sent", len(sent))
					}
					if n := r.Units(r.ann); n != 100 {
						t.Errorf("%d units, want 100", n)
					}
				})
			})
		}
	}
}

// A user's own token needs no directory, and sends from whom it is.
func TestSendFromOneMailbox(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	env := srv.Env()
	secret := connection.NewSecret(srv.Token("ann@corp.example"))
	env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) { return secret, nil }
	c, err := gmail.Open(gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true, Verbs: []string{gmail.VerbSend}}, env)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	to := envelope()
	to.From = ""
	receipt, err := c.Send(t.Context(), to, strings.NewReader(letterHead+letterBody), nil)
	if err != nil || len(receipt.Rewritten) != 1 {
		t.Fatalf("got %+v, %v", receipt, err)
	}
	if sent := srv.Sent(); len(sent) != 1 || srv.Calls("users.get") != 0 {
		t.Errorf("%d were sent; the directory was asked %d times", len(sent), srv.Calls("users.get"))
	}
}

func TestSendNewMessageID(t *testing.T) {
	for name, test := range map[string]struct{ before, after string }{ // ID stands for the new one
		"replaced":    {letterHead + letterBody, strings.Replace(letterHead, "Message-ID: <1@corp.example>\r\n", "Message-ID: ID\r\nX-Original-Message-ID: <1@corp.example>\r\n", 1) + letterBody},
		"folded":      {"To: bob@corp.example\nmessage-id :\n <1@b>\n\nx", "To: bob@corp.example\nMessage-ID: ID\nX-Original-Message-ID:\n <1@b>\n\nx"},
		"added":       {"To: bob@corp.example\r\n\r\nx", "Message-ID: ID\r\nTo: bob@corp.example\r\n\r\nx"},
		"twice":       {"Message-ID: <1@b>\r\nTo: bob@corp.example\r\nMessage-ID: <2@b>\r\n\r\nx", "Message-ID: ID\r\nX-Original-Message-ID: <1@b>\r\nTo: bob@corp.example\r\nX-Original-Message-ID: <2@b>\r\n\r\nx"},
		"header only": {"To: bob@corp.example\r\n", "Message-ID: ID\r\nTo: bob@corp.example\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, nil, func(t *testing.T, r *changeRig) {
				to := envelope()
				if name != "replaced" {
					to.To = []string{"bob@corp.example"}
				}
				receipt, err := r.conn.Send(t.Context(), to, strings.NewReader(test.before), &connection.SendOptions{NewMessageID: true})
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasSuffix(receipt.MessageID, "@corp.example>") || len(receipt.MessageID) < 30 || len(receipt.Rewritten) != 1 {
					t.Errorf("got %+v", receipt)
				}
				if got, want := string(r.Sent()[0].Raw), strings.Replace(test.after, "ID: ID", "ID: "+receipt.MessageID, 1); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}

func TestG66EnvelopeDiffers(t *testing.T) {
	const bob = "bob@corp.example"
	for name, test := range map[string]struct {
		head string
		to   []string
		want []string // what the error names; nothing = it is sent
	}{
		"the same":            {"To: Bob <BOB@corp.example>", []string{bob}, nil},
		"in three fields":     {"To: a@x\r\nCc: b@x\r\nBcc: c@x", []string{"c@x", "a@x", "b@x"}, nil},
		"named twice":         {"To: bob@corp.example, bob@corp.example", []string{bob, "Bob@Corp.Example"}, nil},
		"a group":             {"To: team: bob@corp.example, c@x;", []string{"c@x", bob}, nil},
		"an empty field":      {"To: bob@corp.example\r\nCc: undisclosed-recipients:;\r\nBcc:", []string{bob}, nil},
		"one more in it":      {"To: bob@corp.example, eve@out.example", []string{bob}, []string{"eve@out.example"}},
		"one in Bcc":          {"To: bob@corp.example\r\nBcc: eve@out.example", []string{bob}, []string{"eve@out.example"}},
		"one less":            {"To: bob@corp.example", []string{bob, "carl@out.example"}, []string{"carl@out.example"}},
		"both":                {"To: eve@out.example", []string{bob}, []string{bob, "eve@out.example"}},
		"nobody":              {"Subject: x", []string{bob}, []string{bob}},
		"two To fields":       {"To: bob@corp.example\r\nTo: carl@out.example", []string{bob, "carl@out.example"}, []string{"two to fields"}},
		"no list":             {"To: bob@corp.example, <eve", []string{bob}, []string{"not understood"}},
		"a line without name": {"To: bob@corp.example\r\nhello\r\nCc: eve@out.example", []string{bob}, []string{"no field"}},
		"a bare CR":           {"To: bob@corp.example\rCc: eve@out.example", []string{bob}, []string{"bare CR"}},
		"a NUL":               {"To: bob@corp.example\r\nX: a\x00Bcc: eve@out.example", []string{bob}, []string{"NUL"}},
		"a byte order mark":   {"\ufeffTo: eve@out.example\r\nTo: bob@corp.example", []string{bob}, []string{"no field"}},
		"very many":           {"To: bob@corp.example" + strings.Repeat(", eve@out.example, mallory@out.example", 2000), []string{bob}, []string{"eve@out.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, nil, func(t *testing.T, r *changeRig) {
				_, err := r.conn.Send(t.Context(), connection.Envelope{From: "ann@corp.example", To: test.to}, strings.NewReader(test.head+"\r\n\r\nx\r\n"), nil)
				if len(test.want) == 0 {
					if err != nil || len(r.Sent()) != 1 {
						t.Errorf("got %v, %d were sent", err, len(r.Sent()))
					}
					return
				}
				failedRefs(t, err, connection.ErrUnsupported)
				for _, word := range test.want {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("got %v, want it to name %s", err, word)
					}
				}
				if len(err.Error()) > 1000 {
					t.Errorf("an error of %d octets", len(err.Error()))
				}
				if n := r.Calls("messages.send"); n != 0 {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

func TestSendRefuses(t *testing.T) {
	change := func(f func(*connection.Envelope)) connection.Envelope {
		e := envelope()
		f(&e)
		return e
	}
	raw := letterHead + letterBody
	for name, test := range map[string]struct {
		set  func(*gmail.Config, *gmail.Options)
		env  connection.Envelope
		body io.Reader
		opts connection.SendOptions
		kind connection.Kind
	}{
		"no verb":           {set: func(c *gmail.Config, _ *gmail.Options) { c.Verbs = []string{gmail.VerbAppend} }, env: envelope(), kind: connection.ErrConfig},
		"by monitors":       {set: monitored, env: envelope(), kind: connection.ErrUnsupported},
		"TLS on the way":    {env: envelope(), opts: connection.SendOptions{RequireTLS: true}, kind: connection.ErrUnsupported},
		"reports":           {env: envelope(), opts: connection.SendOptions{DSN: &connection.DSN{}}, kind: connection.ErrUnsupported},
		"no sender":         {env: change(func(e *connection.Envelope) { e.From = "" }), kind: connection.ErrUnsupported},
		"a bad sender":      {env: change(func(e *connection.Envelope) { e.From = "ann@corp.example\r\nBcc: eve@x" }), kind: connection.ErrInvalid},
		"an unknown sender": {env: change(func(e *connection.Envelope) { e.From = "eve@corp.example" }), kind: connection.ErrNotFound},
		"no recipient":      {env: change(func(e *connection.Envelope) { e.To = nil }), kind: connection.ErrInvalid},
		"a bad recipient":   {env: change(func(e *connection.Envelope) { e.To = []string{"bob@corp.example>\r\nX: <"} }), kind: connection.ErrInvalid},
		"too large":         {env: envelope(), opts: connection.SendOptions{Size: 36_700_161}, kind: connection.ErrTooLarge},
		"too short":         {env: envelope(), opts: connection.SendOptions{Size: int64(len(raw)) + 1}, kind: connection.ErrInvalid},
		"no header to add":  {env: envelope(), opts: connection.SendOptions{NewMessageID: true}, body: strings.NewReader("\r\nhello"), kind: connection.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, test.set, func(t *testing.T, r *changeRig) {
				body := test.body
				if body == nil {
					body = strings.NewReader(raw)
				}
				_, err := r.conn.Send(t.Context(), test.env, body, &test.opts)
				failedRefs(t, err, test.kind)
				if n := r.Calls("messages.send"); n != 0 || err == nil {
					t.Errorf("asked %d times: %v", n, err)
				}
			})
		})
	}
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		if _, err := r.conn.Send(t.Context(), envelope(), broken([]byte(raw), errHost), nil); !errors.Is(err, errHost) || r.Calls("messages.send") > 0 {
			t.Errorf("got %v, want the reader's error", err)
		}
	})
}

// The size limit is that of what is sent.
func TestSendTooLargeWithNewMessageID(t *testing.T) {
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		to := connection.Envelope{From: "ann@corp.example", To: []string{"bob@corp.example"}}
		head := "To: bob@corp.example\r\n\r\n"
		body := io.MultiReader(strings.NewReader(head), bytes.NewReader(make([]byte, 36_700_160-len(head))))
		_, err := r.conn.Send(t.Context(), to, body, &connection.SendOptions{NewMessageID: true})
		failedRefs(t, err, connection.ErrTooLarge)
		if n := r.Calls("messages.send"); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

// Whatever becomes of the answer, a message is sent once.
func TestG34SentOnce(t *testing.T) {
	for _, form := range []string{gmail.UploadJSON, gmail.UploadMedia} {
		for name, fault := range map[string]gmailtest.Fault{
			"lost": gmailtest.Lose(), "cut": gmailtest.Cut(3), "at fault": gmailtest.Refuse(500, "backendError", "Backend Error"),
			"gateway": gmailtest.Status(504, "<html>Gateway Timeout</html>"), "no JSON": gmailtest.Short(3),
		} {
			t.Run(form+", "+name, func(t *testing.T) {
				changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Upload = form }, func(t *testing.T, r *changeRig) {
					r.Fail(gmailtest.On("messages.send"), fault)
					_, err := r.conn.Send(t.Context(), envelope(), strings.NewReader(letterHead+letterBody), nil)
					failedRefs(t, err, connection.ErrUncertain)
					if n := r.Calls("messages.send"); n != 1 || connection.Temporary(err) {
						t.Errorf("asked %d times: %v", n, err)
					}
				})
			})
		}
	}
}

func TestSendAfterRefusal(t *testing.T) {
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		r.Fail(gmailtest.On("messages.send").Times(2), gmailtest.Refuse(403, "userRateLimitExceeded", "User Rate Limit Exceeded"))
		if _, err := r.conn.Send(t.Context(), envelope(), strings.NewReader(letterHead+letterBody), nil); err != nil {
			t.Fatal(err)
		}
		if len(r.Sent()) != 1 || r.Calls("messages.send") != 3 {
			t.Errorf("%d were sent by %d requests", len(r.Sent()), r.Calls("messages.send"))
		}
	})
}

func TestSendCanceled(t *testing.T) {
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		ctx, cancel := context.WithCancel(t.Context())
		arrived := make(chan struct{})
		r.Fail(gmailtest.On("messages.send"), gmailtest.Do(func(gmailtest.Request) { close(arrived) }), gmailtest.StallAfter(0))
		go func() {
			<-arrived
			synctest.Wait()
			cancel()
		}()
		_, err := r.conn.Send(ctx, envelope(), strings.NewReader(letterHead+letterBody), nil)
		failedRefs(t, err, connection.ErrUncertain)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want it to be canceled", err)
		}
	})
}

func FuzzSendHeader(f *testing.F) {
	f.Add([]byte(letterHead + letterBody))
	f.Add([]byte("To: bob@corp.example\r\rX: y\n\n"))
	srv := gmailtest.NewServer(f, &gmailtest.Options{AllowBadRequests: true})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	cfg := srv.Config()
	cfg.Verbs = []string{gmail.VerbSend}
	c, err := gmail.Open(cfg, srv.Env())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := c.Close(); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := len(srv.Sent())
		receipt, err := c.Send(t.Context(), connection.Envelope{From: "ann@corp.example", To: []string{"bob@corp.example"}}, bytes.NewReader(raw), &connection.SendOptions{NewMessageID: true})
		sent := srv.Sent()[before:]
		if err != nil {
			if len(sent) > 0 && !errors.Is(err, connection.ErrUncertain) {
				t.Errorf("sent, and told %v", err)
			}
			return
		}
		for _, s := range sent {
			if len(s.To) != 1 || !strings.EqualFold(s.To[0], "bob@corp.example") {
				t.Errorf("went to %q", s.To)
			}
			if !bytes.Contains(s.Raw, []byte("Message-ID: "+receipt.MessageID)) {
				t.Errorf("sent without the id %s", receipt.MessageID)
			}
		}
	})
}
