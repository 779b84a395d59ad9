package gmail_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// A lost answer to an Append is no reason to store the message twice.
func TestG34LostAnswer(t *testing.T) {
	for _, form := range []string{gmail.UploadJSON, gmail.UploadMedia} {
		for name, fault := range map[string]gmailtest.Fault{
			"lost": gmailtest.Lose(), "cut": gmailtest.Cut(3), "no JSON": gmailtest.Short(5), "another answer": gmailtest.Rewrite(func([]byte) []byte { return []byte("{}") }),
		} {
			t.Run(form+", "+name, func(t *testing.T) {
				changing(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Upload = form }, func(t *testing.T, r *changeRig) {
					raw := letterOf("1@out.example", 100)
					r.Fail(gmailtest.On("messages.import").Times(1), fault)
					ref, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{})
					if err != nil {
						t.Fatal(err)
					}
					if m := r.holds(t, r.ann, raw); m == nil || ref.ID != m.ID {
						t.Errorf("got %v, and the mailbox holds %v", ref, m)
					}
					if n := r.Calls("messages.import"); n != 1 {
						t.Errorf("stored %d times", n)
					}
				})
			})
		}
	}
}

// Where it is not known what became of the message the caller is told so, and the next Append looks first.
func TestG34NotFound(t *testing.T) {
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		raw := letterOf("1@out.example", 100)
		lost := gmailtest.On("messages.import").Times(1)
		r.Fail(lost, gmailtest.Lose())
		// The index lags: the message cannot be found yet.
		r.Fail(gmailtest.On("messages.list").Times(1), gmailtest.Rewrite(func([]byte) []byte { return []byte("{}") }))
		_, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{})
		failedRefs(t, err, connection.ErrUncertain)
		if connection.Temporary(err) {
			t.Error("an uncertain outcome is not temporary")
		}
		ref, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if m := r.holds(t, r.ann, raw); m == nil || m.ID != ref.ID || r.Calls("messages.import") != 1 {
			t.Errorf("got %v, the mailbox holds %v, stored %d times", ref, m, r.Calls("messages.import"))
		}
		// That is settled: the same message once more is a second one.
		if _, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{}); err != nil || r.Calls("messages.import") != 2 {
			t.Errorf("once more: %v, stored %d times", err, r.Calls("messages.import"))
		}
	})
}

// A copy of the message that lies elsewhere is not the one that Append was to make.
func TestG34CopyElsewhere(t *testing.T) {
	for name, there := range map[string][]string{"in the trash": {"TRASH"}, "archived": nil, "sent": {"SENT"}} {
		for _, folder := range []string{"INBOX", "Archive"} {
			t.Run(name+", wanted in "+folder, func(t *testing.T) {
				changing(t, nil, nil, func(t *testing.T, r *changeRig) {
					raw := letterOf("1@out.example", 100)
					r.DeliverWith(r.ann, raw, gmailtest.Delivery{Labels: append([]string{}, there...)})
					r.Fail(gmailtest.On("messages.import").Times(1), gmailtest.Refuse(500, "backendError", "Backend Error"))
					ref, err := appendTo(t, r, folder, raw, connection.AppendOptions{})
					if folder == "Archive" && there == nil {
						if err != nil || ref.ID != r.Messages(r.ann)[0].ID {
							t.Errorf("got %v, %v; want the message that is there", ref, err)
						}
						return
					}
					failedRefs(t, err, connection.ErrUncertain)
				})
			})
		}
	}
}

// Two messages with one Message-ID are two: that which is there does not pass for that which was lost. Fields that the server
// puts in front make no difference.
func TestG34SameMessageID(t *testing.T) {
	raw := letterOf("1@out.example", 100)
	for name, test := range map[string]struct {
		there []byte
		found bool
	}{
		"another body": {append(bytes.Clone(raw[:len(raw)-3]), "!\r\n"...), false},
		"shorter":      {raw[:len(raw)-2], false},
		"more behind":  {append(bytes.Clone(raw), "more\r\n"...), false},
		"traced":       {append([]byte("Received: by gmailapi.google.com\r\n"), raw...), true},
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, nil, func(t *testing.T, r *changeRig) {
				ids := r.Deliver(r.ann, test.there)
				r.Fail(gmailtest.On("messages.import").Times(1), gmailtest.Refuse(500, "backendError", "Backend Error"))
				ref, err := appendTo(t, r, "INBOX", raw, connection.AppendOptions{})
				if test.found {
					if err != nil || ref.ID != ids[0] {
						t.Errorf("got %v, %v; want %s", ref, err, ids[0])
					}
					return
				}
				failedRefs(t, err, connection.ErrUncertain)
			})
		})
	}
}

// What breaks before the message's last octet has left is no doubt: the message is not there.
func TestAppendBrokenUpload(t *testing.T) {
	changing(t, &gmailtest.Options{AllowBadRequests: true}, nil, func(t *testing.T, r *changeRig) {
		// The second chunk of a resumable upload never gets through.
		r.Fail(gmailtest.On("messages.import").Nth(2), gmailtest.Refuse(503, "backendError", "Backend Error"))
		_, err := appendTo(t, r, "INBOX", letterOf("1@out.example", 12<<20), connection.AppendOptions{})
		failedRefs(t, err, connection.ErrUnavailable)
		if n := r.Calls("messages.list"); n != 0 {
			t.Errorf("looked %d times for what cannot be there", n)
		}
	})
}

// A label that has another name by now is not taken for the one it was.
func TestAppendAfterRename(t *testing.T) {
	changing(t, nil, nil, func(t *testing.T, r *changeRig) {
		id := r.AddLabel(r.ann, "Old")
		if _, err := appendTo(t, r, "Old", letterOf("1@out.example", 10), connection.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		r.RenameLabel(r.ann, id, "New")
		<-time.After(2 * time.Minute)
		_, err := appendTo(t, r, "Old", letterOf("2@out.example", 10), connection.AppendOptions{})
		failedRefs(t, err, connection.ErrNotFound)
	})
}

// Without a Message-ID that can be searched for there is nothing to find, and nothing is asked.
func TestG34NoMessageID(t *testing.T) {
	for name, raw := range map[string]string{
		"none": "Subject: x\r\n\r\ny\r\n", "an operator": "Message-ID: <a OR in:inbox@b>\r\n\r\ny\r\n", "quotes": "Message-ID: <\"a\"@b>\r\n\r\ny\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			changing(t, nil, nil, func(t *testing.T, r *changeRig) {
				r.Fail(gmailtest.On("messages.import").Times(1), gmailtest.Lose())
				_, err := appendTo(t, r, "INBOX", []byte(raw), connection.AppendOptions{})
				failedRefs(t, err, connection.ErrUncertain)
				if n := r.Calls("messages.list"); n != 0 {
					t.Errorf("looked %d times", n)
				}
			})
		})
	}
}
