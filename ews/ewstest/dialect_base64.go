package ewstest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// base64Lines are what stands between the lines of a form of base64, of 76 characters each.
var base64Lines = map[Base64]string{
	Base64LF: "\n", Base64CRLF: "\r\n", Base64References: "&#xD;\n", Base64Spaces: " ", Base64Tabs: "\t",
}

// base64 writes a payload. It holds a few KiB of it.
func (w *writer) base64(p payload) error {
	if w.d.Base64 == Base64Empty {
		return nil
	}
	if w.d.Base64 == Base64CDATA {
		w.say("<![CDATA[")
	}
	const lines = 128
	raw, text := make([]byte, 57*lines), make([]byte, 76*lines)
	between := base64Lines[w.d.Base64]
	for off, size := int64(0), p.Size(); off < size; {
		part := raw[:min(int64(len(raw)), size-off)]
		if n, err := p.ReadAt(part, off); n < len(part) {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("the message ends at octet %d of %d", off+int64(n), size)
			}
			return err
		}
		off += int64(len(part))
		encoded := text[:base64.StdEncoding.EncodedLen(len(part))]
		base64.StdEncoding.Encode(encoded, part)
		if w.d.Base64 == Base64NoPadding {
			encoded = []byte(strings.TrimRight(string(encoded), "="))
		}
		for len(encoded) > 0 {
			line := encoded
			if between != "" {
				line = encoded[:min(76, len(encoded))]
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
			w.say(between)
			encoded = encoded[len(line):]
		}
	}
	if w.d.Base64 == Base64CDATA {
		w.say("]]>")
	}
	return nil
}
