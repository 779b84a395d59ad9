package journal_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/journal"
)

// opened is all that can be told of a message that was given to Unwrap.
type opened struct {
	err      string
	envelope string
	bodies   []string
	end      string
}

func openAll(r io.Reader) (o opened, size int) {
	report, err := journal.Unwrap(r)
	if err != nil {
		o.err = err.Error()
	}
	o.envelope = strings.Join(append([]string{report.Envelope.From}, report.Envelope.To...), "\n")
	for {
		body, err := io.ReadAll(report.Body)
		size += len(body)
		o.bodies = append(o.bodies, string(body))
		if err != nil {
			o.end = err.Error()
		}
		if !errors.Is(err, journal.ErrMore) {
			return o, size
		}
		if err := report.Next(); err != nil {
			o.end = "next: " + err.Error()
			return o, size
		}
	}
}

// Whatever comes, nothing is lost and nothing invented: what cannot be opened comes back whole, the messages of a report
// are no longer than it, and the pieces in which it comes make no difference.
func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(report("Sender: a@x.org\r\nTo: b@x.org, Expanded: \"c, d\" <c@x.org>;e\r\n", inner)))
	f.Add([]byte(strings.ReplaceAll(report("Sender: a@x.org\nRecipients:\n\tb <b@x.org>\n", inner), "\r\n", "\n")))
	f.Add([]byte(strings.Replace(report("Absender: a@x.org\r\nAn: b@x.org\r\n", inner), "--b--", "--b\r\nContent-Type: message/rfc822\r\n\r\nx\r\n--b--", 1)))
	f.Add([]byte("Content-Identifer: ExJournalReport\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n--b\r\n\r\n\r\nx\r\n--b--"))
	f.Add([]byte("X-MS-Journal-Report:\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=\"b--\"\n\n--b--\n\nSender: <>\nTo: x\n--b----\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n=41=\n\n--b--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, size := openAll(bytes.NewReader(raw))
		if whole.err != "" && (len(whole.bodies) != 1 || whole.bodies[0] != string(raw) || whole.end != "") {
			t.Fatalf("%s: got %q, %s, want all octets back", whole.err, whole.bodies, whole.end)
		}
		if size > len(raw) {
			t.Fatalf("got %d octets of messages from %d", size, len(raw))
		}
		if pieces, _ := openAll(iotest.OneByteReader(bytes.NewReader(raw))); !same(whole, pieces) {
			t.Fatalf("whole: %+v\nin pieces: %+v", whole, pieces)
		}
	})
}

func same(a, b opened) bool {
	if a.err != b.err || a.envelope != b.envelope || a.end != b.end || len(a.bodies) != len(b.bodies) {
		return false
	}
	for i := range a.bodies {
		// How much came before an encoding broke is the decoder's business.
		if a.bodies[i] != b.bodies[i] && !strings.Contains(a.end, connection.ErrCorrupt.Error()) {
			return false
		}
	}
	return true
}
