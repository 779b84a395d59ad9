package audit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// Limits on a wrapper. Its own parts are held in memory or passed over; the message inside streams.
const (
	maxHeader = 256 << 10 // octets of the wrapper's header
	maxCover  = 64 << 10  // octets of what stands beside the message: the note and the parts' headers
	maxParts  = 2         // the note and the message
)

// ErrOdd is in the chain of the error of [Unwrap] for a message that is not certainly a plain copy. It must be handed over
// as it is: an envelope that is lost is worse than one layer too many.
var ErrOdd = errors.New("not a plain copy")

func odd(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOdd, fmt.Sprintf(format, args...))
}

// A Copy is an opened wrapper: the mail with which a monitor delivers a message.
type Copy struct {
	// Envelope is what the wrapper's header tells: From its sender, To all whom it names but the destination. Google
	// does not document the header. It is nil if it tells nothing.
	Envelope *connection.Envelope
	Size     int64 // octets of the message

	r          io.ReadSeeker
	start, end int64
	encoding   string
}

// Unwrap looks for the message in a wrapper that r holds from its first octet, for the mailbox with the address
// destination. A plain copy is a multipart/mixed message with one message/rfc822 part, before which there may be one short
// text. All of r is read, and no more than the wrapper's own parts is kept; r stays in use by the Copy. The error is one with
// ErrOdd in its chain for anything else, else r's own.
func Unwrap(r io.ReadSeeker, destination string) (*Copy, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	s := &scan{r: bufio.NewReaderSize(r, 32<<10)}
	head, err := s.header(maxHeader)
	if err != nil {
		return nil, err
	}
	media, params, err := contentType(head)
	if err != nil {
		return nil, err
	}
	boundary := params["boundary"]
	if media != "multipart/mixed" || boundary == "" || len(boundary) > 70 {
		return nil, odd("it is %.60q", media)
	}
	if e := encodingOf(head); e != "" && e != "7bit" && e != "8bit" && e != "binary" {
		return nil, odd("its parts lie below a transfer encoding")
	}
	c := &Copy{r: r, Envelope: envelope(head, destination)}
	if err := s.parts([]byte("--"+boundary), c); err != nil {
		return nil, err
	}
	if err := c.measure(); err != nil {
		return nil, err
	}
	return c, nil
}

// Body returns a reader of the message's octets. It works on the reader given to Unwrap, so that only one of them may be in
// use at a time.
func (c *Copy) Body() io.Reader {
	return &copyBody{c: c}
}

// copyBody goes to its place with the first Read.
type copyBody struct {
	c *Copy
	r io.Reader
}

func (b *copyBody) Read(p []byte) (int, error) {
	if b.r == nil {
		if _, err := b.c.r.Seek(b.c.start, io.SeekStart); err != nil {
			return 0, err
		}
		b.r = b.c.decoded(io.LimitReader(b.c.r, b.c.end-b.c.start))
	}
	return b.r.Read(p)
}

// decoded undoes the part's transfer encoding.
func (c *Copy) decoded(r io.Reader) io.Reader {
	switch c.encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, r) // it passes over line ends
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	}
	return r
}

// measure counts the message's octets, and refuses what is no message and what cannot be decoded for certain.
func (c *Copy) measure() error {
	if c.encoding == "quoted-printable" {
		if err := c.strict(); err != nil {
			return err
		}
	}
	br := bufio.NewReader(c.Body())
	line, err := br.Peek(1024)
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare one is the end
		return c.broken(err)
	}
	if colon := bytes.IndexByte(line, ':'); colon <= 0 || bytes.ContainsAny(line[:colon], " \t\r\n") {
		return odd("what is attached does not begin with a header")
	}
	c.Size, err = io.Copy(io.Discard, br)
	return c.broken(err)
}

// broken tells a transfer encoding that cannot be undone from a reader that failed.
func (c *Copy) broken(err error) error {
	var illegal base64.CorruptInputError
	if errors.As(err, &illegal) || c.encoding == "base64" && err == io.ErrUnexpectedEOF { //nolint:errorlint // the decoder's own
		return odd("the transfer encoding is broken")
	}
	return err
}

// strict makes sure that quoted-printable has one meaning only: the standard library's reader lets much pass as it is.
func (c *Copy) strict() error {
	if _, err := c.r.Seek(c.start, io.SeekStart); err != nil {
		return err
	}
	s := &scan{r: bufio.NewReaderSize(io.LimitReader(c.r, c.end-c.start), 4<<10)}
	for {
		line, whole, err := s.line()
		if err == io.EOF { //nolint:errorlint // only the bare one is the end
			return nil
		}
		if err != nil {
			return err
		}
		text := bytes.TrimRight(line, "\r\n")
		last := !bytes.HasSuffix(line, []byte("\n"))
		if !whole || !quotable(text) || last && bytes.HasSuffix(text, []byte("=")) { // a soft line break before nothing
			return odd("the transfer encoding is broken")
		}
	}
}

// quotable reports whether a line is in the form of RFC 2045, 6.7.
func quotable(line []byte) bool {
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case b == '=' && i == len(line)-1: // a soft line break
		case b == '=' && i+2 < len(line) && isHex(line[i+1]) && isHex(line[i+2]):
			i += 2
		case b == '=', b >= 0x7f, b < ' ' && b != '\t':
			return false
		}
	}
	return len(line) == 0 || line[len(line)-1] != ' ' && line[len(line)-1] != '\t'
}

func isHex(b byte) bool { return '0' <= b && b <= '9' || 'A' <= b && b <= 'F' || 'a' <= b && b <= 'f' }

// contentType returns the one Content-Type of a header.
func contentType(head textproto.MIMEHeader) (media string, params map[string]string, err error) {
	all := head.Values("Content-Type")
	if len(all) > 1 {
		return "", nil, odd("it has two Content-Type fields")
	}
	if len(all) == 0 {
		return "text/plain", nil, nil
	}
	media, params, err = mime.ParseMediaType(all[0])
	if err != nil {
		return "", nil, odd("its Content-Type is not understood")
	}
	return media, params, nil
}

func encodingOf(head textproto.MIMEHeader) string {
	return strings.ToLower(strings.TrimSpace(strings.Join(head.Values("Content-Transfer-Encoding"), ",")))
}

// envelope reads what a wrapper's header tells of sender and recipients.
func envelope(head textproto.MIMEHeader, destination string) *connection.Envelope {
	var e connection.Envelope
	for _, name := range []string{"From", "Sender", "Return-Path"} {
		if from := addresses(head.Values(name)); len(from) == 1 {
			e.From = from[0]
			break
		}
	}
	for _, name := range []string{"X-Gm-Original-To", "To", "Cc", "Bcc"} {
		for _, to := range addresses(head.Values(name)) {
			if !strings.EqualFold(to, destination) && !slices.Contains(e.To, to) {
				e.To = append(e.To, to)
			}
		}
	}
	if e.From == "" || strings.EqualFold(e.From, destination) {
		return nil
	}
	return &e
}

var addressParser = netmail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil }, // names do not matter
}}

func addresses(fields []string) []string {
	var all []string
	for _, field := range fields {
		list, err := addressParser.ParseList(field)
		if err != nil {
			continue
		}
		for _, a := range list {
			all = append(all, a.Address)
		}
	}
	return all
}
