package soap

import (
	"encoding/base64"
	"fmt"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// Content is what is uploaded in a request: Size octets of R from its beginning, turned into base64 while they are sent. R
// must give the same octets each time and bear concurrent reads. The zero Content is none.
type Content struct {
	R    io.ReaderAt
	Size int64
}

// maxContent is far above what any server takes, and keeps sums of lengths from overflowing.
const maxContent = 1 << 50

// Encoding of Header.As.Kind: the element of ConnectingSID.
const (
	ByPrimaryAddress = "PrimarySmtpAddress"
	ByAnyAddress     = "SmtpAddress"
	ByPrincipalName  = "PrincipalName"
	BySID            = "SID"
)

// An Identity is whom a request impersonates. The zero Identity is nobody.
type Identity struct {
	Kind  string // ByPrimaryAddress, ByAnyAddress, ByPrincipalName or BySID
	Value string
}

// A Header is what all operations have in common.
type Header struct {
	Version Version
	As      Identity
}

// An Operation is one of the request structs of this package.
type Operation interface {
	// Name returns the operation's name: "GetItem".
	Name() string
	// write writes the element of the operation.
	write(w *writer)
}

// A Body is one request, ready to be sent. It never changes: its methods may be called concurrently.
type Body struct {
	op    string
	parts []part
	size  int64
}

// A part is either text or content that is still to be turned into base64.
type part struct {
	text    []byte
	content Content
}

// Encode makes the request. An operation, or a part of it that matters, which the header's version does not have gives
// ErrUnsupported; a value that the schema does not allow or XML cannot hold gives ErrInvalid. Switches that only older
// versions lack, such as SuppressReadReceipts, are left out for them. Nothing is read from any Content.
func Encode(h Header, op Operation) (*Body, error) {
	w := &writer{version: h.Version}
	if !h.Version.Valid() {
		w.fail(connection.ErrInvalid, "unknown version %q", h.Version)
	}
	w.buf = append(w.buf, envelope...)
	w.open("s:Header")
	w.empty("t:RequestServerVersion", "Version", string(h.Version))
	if h.As != (Identity{}) {
		w.oneOf("identity", h.As.Kind, ByPrimaryAddress, ByAnyAddress, ByPrincipalName, BySID)
		w.some("identity", len(h.As.Value))
		w.open("t:ExchangeImpersonation")
		w.open("t:ConnectingSID")
		w.leaf("t:"+h.As.Kind, h.As.Value)
		w.end("t:ConnectingSID")
		w.end("t:ExchangeImpersonation")
	}
	w.end("s:Header")
	w.open("s:Body")
	op.write(w)
	w.end("s:Body")
	w.end("s:Envelope")
	if w.err != nil {
		return nil, w.err
	}
	b := &Body{op: op.Name(), parts: append(w.parts, part{text: w.buf})}
	for _, p := range b.parts {
		b.size += int64(len(p.text)) + encodedLen(p.content.Size)
	}
	return b, nil
}

const envelope = `<?xml version="1.0" encoding="utf-8"?>` +
	`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"` +
	` xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"` +
	` xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages">`

func encodedLen(n int64) int64 { return (n + 2) / 3 * 4 }

// Op returns the name of the operation.
func (b *Body) Op() string { return b.op }

// Len returns how many octets a reader of Open gives.
func (b *Body) Len() int64 { return b.size }

// Open returns a reader of the whole request, from its beginning each time it is called. It ends in io.EOF after Len octets;
// if a Content has fewer than it promised, in an error before.
func (b *Body) Open() io.Reader { return &bodyReader{parts: b.parts} }

// A bodyReader reads the parts of a Body, one after the other.
type bodyReader struct {
	parts []part
	off   int64  // into the first part's text, or into its content's octets
	raw   []byte // octets to be encoded
	rest  []byte // of the quantum that did not fit
	quad  [4]byte
	err   error
}

func (r *bodyReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && r.err == nil {
		switch {
		case len(r.rest) > 0:
			k := copy(p[n:], r.rest)
			n, r.rest = n+k, r.rest[k:]
		case len(r.parts) == 0:
			r.err = io.EOF
		default:
			n += r.part(p[n:])
		}
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, r.err
}

// part reads from the first part into p, which is not empty, and goes on to the next part at its end.
func (r *bodyReader) part(p []byte) int {
	first := r.parts[0]
	if left := first.content.Size - r.off; left > 0 {
		return r.encode(p, first.content, left)
	}
	k := 0
	if r.off < int64(len(first.text)) {
		k = copy(p, first.text[r.off:])
		r.off += int64(k)
	}
	if r.off >= int64(len(first.text)) {
		r.parts, r.off = r.parts[1:], 0
	}
	return k
}

// encode turns up to left octets into base64. Only the last quantum of a content may be a short one.
func (r *bodyReader) encode(p []byte, c Content, left int64) int {
	if r.raw == nil {
		r.raw = make([]byte, 24<<10)
	}
	want := max(3, min(len(p)/4*3, len(r.raw)))
	raw := r.raw[:min(int64(want), left)]
	n, err := c.R.ReadAt(raw, r.off)
	if n < len(raw) {
		if err == nil || err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end: what wraps it is a failure
			err = io.ErrUnexpectedEOF
		}
		r.err = fmt.Errorf("content ends at octet %d of %d: %w", r.off+int64(n), c.Size, err)
		return 0
	}
	r.off += int64(n)
	if len(p) < 4 {
		base64.StdEncoding.Encode(r.quad[:], raw)
		k := copy(p, r.quad[:])
		r.rest = r.quad[k:]
		return k
	}
	base64.StdEncoding.Encode(p, raw)
	return base64.StdEncoding.EncodedLen(n)
}
