package audit_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"reflect"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/audit"
)

const inner = "From: Eve <eve@out.example>\r\nTo: ann@corp.example\r\nSubject: lunch\r\n\r\nAt noon?\r\n--not-ours\r\n"

const head = "Return-Path: <bounce@google.example>\r\nFrom: Ann <ann@corp.example>\r\nTo: journal@corp.example, Bob <bob@corp.example>\r\nCc: =?x-unknown?q?Carl?= <carl@out.example>\r\n" +
	"Subject: a very long\r\n subject\r\nContent-Type: multipart/mixed;\r\n boundary=\"b 1\"\r\n\r\n"

const note = "Content-Type: text/plain\r\n\r\nA copy of a message.\r\n"

func wrap(parts ...string) string {
	return head + "--b 1\r\n" + strings.Join(parts, "\r\n--b 1\r\n") + "\r\n--b 1--\r\n"
}

func message(encoding, body string) string {
	if encoding != "" {
		encoding = "Content-Transfer-Encoding: " + encoding + "\r\n"
	}
	return "Content-Type: message/rfc822; name=\"x.eml\"\r\nContent-Disposition: attachment\r\n" + encoding + "\r\n" + body
}

func lines(s string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return b.String() + s
}

func TestUnwrapPlainCopies(t *testing.T) {
	long := "Subject: long\r\n\r\n" + strings.Repeat("x", 32<<10-18) + "\r\n" + strings.Repeat("y", 100_000) + "\r\n\r\n"
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	w.Binary = true
	if _, err := w.Write([]byte(inner)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ raw, want string }{
		"note and message":    {wrap(note, message("", inner)), inner},
		"message alone":       {wrap(message("7bit", inner)), inner},
		"8bit":                {wrap(note, message("8bit", "A: \xff\r\n\r\nb\xc3\xa4")), "A: \xff\r\n\r\nb\xc3\xa4"},
		"base64":              {wrap(note, message("BASE64", lines(base64.StdEncoding.EncodeToString([]byte(inner))))), inner},
		"quoted-printable":    {wrap(note, message("quoted-printable", qp.String())), inner},
		"bare line feeds":     {strings.ReplaceAll(wrap(note, message("", inner)), "\r\n", "\n"), strings.ReplaceAll(inner, "\r\n", "\n")},
		"preamble":            {strings.Replace(wrap(note, message("", inner)), "--b 1", "This is a message in MIME format.\r\n--b 1", 1), inner},
		"blank epilogue":      {wrap(note, message("", inner)) + "\r\n\r\n", inner},
		"blanks at delimiter": {strings.ReplaceAll(wrap(note, message("", inner)), "--b 1\r\n", "--b 1 \t\r\n"), inner},
		"lines over a buffer": {wrap(note, message("", long)), long},
		"no line end":         {wrap(message("", "A: b")), "A: b"},
		"a copy of a copy":    {wrap(message("", strings.ReplaceAll(wrap(message("", inner)), "b 1", "c"))), strings.ReplaceAll(wrap(message("", inner)), "b 1", "c")},
		"delimiter within":    {wrap(message("", "A: b\r\n\r\n --b 1\r\nx--b 1--\r\n--b 1x\r\n")), "A: b\r\n\r\n --b 1\r\nx--b 1--\r\n--b 1x\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := audit.Unwrap(strings.NewReader(test.raw), "journal@corp.example")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err := io.ReadAll(c.Body())
				if err != nil || string(got) != test.want {
					t.Fatalf("got %d octets %.200q (%v), want %d %.200q", len(got), got, err, len(test.want), test.want)
				}
			}
			if c.Size != int64(len(test.want)) {
				t.Errorf("size: got %d, want %d", c.Size, len(test.want))
			}
			want := &connection.Envelope{From: "ann@corp.example", To: []string{"bob@corp.example", "carl@out.example"}}
			if !reflect.DeepEqual(c.Envelope, want) {
				t.Errorf("envelope: got %+v, want %+v", c.Envelope, want)
			}
		})
	}
}

// For every length of a line around the size of the buffer, its end is the delimiter's and not the message's.
func TestUnwrapLineEndAcrossTheBuffer(t *testing.T) {
	for n := 32<<10 - 400; n < 32<<10+20; n++ {
		want := "A: b\r\n\r\n" + strings.Repeat("x", n)
		c, err := audit.Unwrap(strings.NewReader(wrap(message("", want))), "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c.Body()); err != nil || string(got) != want {
			t.Fatalf("a line of %d: got %d octets (%v), want %d", n, len(got), err, len(want))
		}
	}
}

func TestUnwrapEnvelopeFallsBack(t *testing.T) {
	mixed := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + message("", inner) + "\r\n--b--\r\n"
	for name, test := range map[string]struct {
		head string
		want *connection.Envelope
	}{
		"sender":          {"Sender: ann@corp.example\r\nX-Gm-Original-To: bob@corp.example\r\n", &connection.Envelope{From: "ann@corp.example", To: []string{"bob@corp.example"}}},
		"return path":     {"From: nonsense\r\nReturn-Path: <ann@corp.example>\r\n", &connection.Envelope{From: "ann@corp.example"}},
		"nothing":         {"To: journal@corp.example\r\n", nil},
		"the destination": {"From: journal@corp.example\r\nTo: journal@corp.example\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := audit.Unwrap(strings.NewReader(test.head+mixed), "Journal@Corp.Example")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c.Envelope, test.want) {
				t.Errorf("got %+v, want %+v", c.Envelope, test.want)
			}
		})
	}
}

func TestUnwrapOdd(t *testing.T) {
	plain := wrap(note, message("", inner))
	for name, raw := range map[string]string{
		"empty":                    "",
		"no header end":            "From: ann@corp.example\r\n",
		"plain text":               "From: ann@corp.example\r\n\r\nhello\r\n",
		"the message itself":       "Content-Type: message/rfc822\r\n\r\n" + inner,
		"no rfc822 part":           wrap(note),
		"two messages":             wrap(message("", inner), message("", inner)),
		"two notes":                wrap(note, note, message("", inner)),
		"a note behind":            wrap(message("", inner), note),
		"another attachment":       wrap("Content-Type: image/png\r\n\r\nx", message("", inner)),
		"an attached text":         wrap("Content-Type: text/plain\r\nContent-Disposition: Attachment; filename=a.txt\r\n\r\nx", message("", inner)),
		"nested":                   wrap("Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" + message("", inner) + "\r\n--c--"),
		"headers only":             wrap(note, "Content-Type: text/rfc822-headers\r\n\r\n"+inner),
		"alternative":              strings.Replace(plain, "multipart/mixed", "multipart/alternative", 1),
		"no boundary":              strings.Replace(plain, "boundary", "bound", 1),
		"two Content-Types":        "Content-Type: text/plain\r\n" + plain,
		"encoded as a whole":       "Content-Transfer-Encoding: base64\r\n" + plain,
		"no last delimiter":        strings.TrimSuffix(plain, "\r\n--b 1--\r\n"),
		"cut within":               plain[:len(plain)-40],
		"an epilogue":              plain + "Bcc: eve@out.example\r\n",
		"no message in it":         wrap(note, message("", "hello\r\n")),
		"an empty message":         wrap(note, message("", "")),
		"a mailbox file":           wrap(note, message("", "From ann Mon Jan 1\r\n"+inner)),
		"illegal base64":           wrap(note, message("base64", "QTogYg0K!!!!")),
		"cut base64":               wrap(note, message("base64", "QTogYg0KDQpj"+"Y")),
		"base64 behind its end":    wrap(note, message("base64", "QTogYg==\r\nQTogYg==")),
		"broken quoted-printable":  wrap(note, message("quoted-printable", "A: b\r\n\r\n=zz")),
		"quoted-printable goes on": wrap(note, message("quoted-printable", "A: b\r\n\r\nc=")),
		"cut quoted-printable":     wrap(note, message("quoted-printable", "A: b\r\n\r\n=4")),
		"8bit in quoted-printable": wrap(note, message("quoted-printable", "A: b\r\n\r\n\xff")),
		"unknown encoding":         wrap(note, message("x-uue", inner)),
		"a note too long":          wrap("Content-Type: text/plain\r\n\r\n"+strings.Repeat("note\r\n", 20_000), message("", inner)),
		"a header too long":        "X: " + strings.Repeat("x", 300<<10) + "\r\n" + plain,
		"a header of many fields":  strings.Repeat("X: y\r\n", 60_000) + plain,
		"no fields":                "hello\r\n" + plain,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := audit.Unwrap(strings.NewReader(raw), "journal@corp.example"); !errors.Is(err, audit.ErrOdd) {
				t.Errorf("got %v, want an odd message", err)
			}
		})
	}
}

// failing is a message that cannot be read from some octet on.
type failing struct {
	io.ReadSeeker
	at, from int64
}

var errDisk = errors.New("the disk is gone")

func (f *failing) Read(p []byte) (int, error) {
	if f.at >= f.from {
		return 0, errDisk
	}
	n, err := f.ReadSeeker.Read(p[:min(int64(len(p)), f.from-f.at)])
	f.at += int64(n)
	return n, err
}

func (f *failing) Seek(offset int64, whence int) (int64, error) {
	at, err := f.ReadSeeker.Seek(offset, whence)
	f.at = at
	return at, err
}

// A reader that fails is no odd message: its error comes back.
func TestUnwrapReaderFails(t *testing.T) {
	for _, encoding := range []string{"", "base64"} {
		body := inner
		if encoding == "base64" {
			body = base64.StdEncoding.EncodeToString([]byte(inner))
		}
		raw := wrap(note, message(encoding, body))
		for from := range int64(len(raw)) {
			_, err := audit.Unwrap(&failing{ReadSeeker: strings.NewReader(raw), from: from}, "")
			if !errors.Is(err, errDisk) || errors.Is(err, audit.ErrOdd) {
				t.Fatalf("%q from octet %d on: got %v, want the reader's error", encoding, from, err)
			}
		}
	}
}

// Whatever comes, an opened copy is a piece of the wrapper, and the same each time.
func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(wrap(note, message("", inner))))
	f.Add([]byte(wrap(message("base64", base64.StdEncoding.EncodeToString([]byte(inner))))))
	f.Add([]byte(wrap(message("quoted-printable", "A: b=3D\r\n\r\n=\r\n"))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := audit.Unwrap(bytes.NewReader(raw), "journal@corp.example")
		if err != nil {
			if !errors.Is(err, audit.ErrOdd) {
				t.Fatalf("got %v, want an odd message", err)
			}
			return
		}
		got, err := io.ReadAll(c.Body())
		if err != nil || int64(len(got)) != c.Size || len(got) == 0 || len(got) > len(raw) {
			t.Fatalf("got %d octets of %d (%v), said to have %d", len(got), len(raw), err, c.Size)
		}
	})
}
